/** `embed`, `probe` and `views` as a user runs them: in their own process, on a folder of CIFAR-10 records. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Purpose, RandomStream, input } from '../../../engine/index.js'
import { decodeSafetensors, encodeSafetensors, resnet, type SafetensorsTensor } from '../../../models/index.js'
import { loadModel } from '../../../train/node/weights.js'
import { resolveConfig } from '../../../train/config/config.js'
import { loadDataset } from '../../../train/node/data/index.js'
import { extractFeatures } from '../../../train/readout/features.js'
import { pretrain } from '../../../train/node/pretrain.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaParameter, formulaTensor } from '../../support/formula.js'
import { readGoldens } from '../../support/goldens.js'
import { withZeroChannel } from '../../support/networks.js'

const RECORD = 3073
const PIXELS = 1024
let folder: string
let weights: string

/** Records with labels and random pixels. */
function records(count: number, seed: number): Uint8Array {
  const stream = new RandomStream(seed, Purpose.subset)
  return Uint8Array.from({ length: count * RECORD }, (_, k) =>
    k % RECORD ? stream.integer(256) : Math.floor(k / RECORD) % 10,
  )
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-readout-'))
  weights = join(folder, 'resnet18.safetensors')
  await writeFile(join(folder, 'data_batch_1.bin'), records(60, 1))
  await writeFile(join(folder, 'test_batch.bin'), records(30, 2))
  // As PyTorch saves the golden network: with torchvision's names, a classifier and batch counters.
  const tensors: Record<string, SafetensorsTensor> = {
    'fc.weight': { dtype: 'F32', shape: [10, 64], data: new Float32Array(640).fill(7) },
    'fc.bias': { dtype: 'F32', shape: [10], data: new Float32Array(10) },
  }
  for (const [name, { torchShape }] of resnet({ arch: 'resnet18', width: 8 }).dict.entries) {
    tensors[name] = { dtype: 'F32', shape: [...torchShape], data: formulaParameter(name, torchShape) }
    if (name.endsWith('running_mean'))
      tensors[name.replace('running_mean', 'num_batches_tracked')] = {
        dtype: 'I64',
        shape: [],
        data: new BigInt64Array([9n]),
      }
  }
  await writeFile(weights, encodeSafetensors(tensors))
})
afterAll(() => rm(folder, { recursive: true }))

/** Runs a command as npm does. Rejects when it exits with an error. */
const command = (name: string, ...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', `train/cli/${name}.ts`, ...args])

describe('embed', () => {
  const embed = (...args: string[]) => command('embed', '--data-dir', folder, '--split', 'test', ...args)

  test('the weights of the tests below are the network of the golden features', async () => {
    const gpu = await engine()
    const backbone = resnet({ arch: 'resnet18', width: 8 })
    await loadModel(gpu, backbone.dict, weights)
    const y = backbone.forward(input('x', [2, 32, 32, 4]), { training: false })
    const program = await gpu.compile({ outputs: { y } })
    await program.run({ x: withZeroChannel(formulaTensor('resnet18.cifar/x', [2, 32, 32, 3])) })
    const golden = readGoldens('resnets.safetensors').get('resnet18.cifar/eval')!
    expectClose('features', await program.read('y'), golden.data, 1e-4)
    program.destroy()
  })

  test('writes features of the clean images in eval mode, and their labels', async () => {
    const out = join(folder, 'features.safetensors')
    // The network is read from the weights.
    const { stdout } = await embed('--weights', weights, '--limit', '7', '--out', out)
    expect(stdout).toBe(`${out}: features [7, 64] of the first 7 test images of cifar10, read at 32×32 pixels\n`)
    const { tensors, metadata } = decodeSafetensors(await readFile(out))
    expect(metadata).toMatchObject({ arch: 'resnet18', width: '8', split: 'test', views: '1 clean view' })
    expect(tensors.labels).toMatchObject({ dtype: 'I64', shape: [7] })
    expect([...(tensors.labels.data as BigInt64Array)]).toEqual([0n, 1n, 2n, 3n, 4n, 5n, 6n])
    expect(tensors.features).toMatchObject({ dtype: 'F32', shape: [7, 64] })

    // The normalisation of the recipe: (byte − mean) / std on the scale 0–255.
    const bytes = records(30, 2)
    const [mean, std] = [
      [125.307, 122.961, 113.8575],
      [51.5865, 50.847, 51.255],
    ]
    const rgb = Float64Array.from({ length: 7 * PIXELS * 3 }, (_, k) => {
      const [image, pixel, channel] = [Math.floor(k / 3 / PIXELS), Math.floor(k / 3) % PIXELS, k % 3]
      return (bytes[image * RECORD + 1 + channel * PIXELS + pixel] - mean[channel]) / std[channel]
    })
    const gpu = await engine()
    const backbone = resnet({ arch: 'resnet18', width: 8 })
    await loadModel(gpu, backbone.dict, weights)
    const program = await gpu.compile({
      outputs: { y: backbone.forward(input('x', [7, 32, 32, 4]), { training: false }) },
    })
    await program.run({ x: withZeroChannel(rgb) })
    expectClose('features', tensors.features.data as Float32Array, await program.read('y'), 1e-4)
    program.destroy()
  })

  test('reads weights with the imagenet stem at 224 pixels, unless the size is given', async () => {
    const [file, out] = [join(folder, 'imagenet.safetensors'), join(folder, 'imagenet-features.safetensors')]
    const { dict } = resnet({ arch: 'resnet18', width: 4, stem: 'imagenet' })
    const tensors = [...dict.entries].map(([name, { torchShape }]): [string, SafetensorsTensor] => [
      name,
      { dtype: 'F32', shape: [...torchShape], data: formulaParameter(name, torchShape) },
    ])
    await writeFile(file, encodeSafetensors(Object.fromEntries(tensors)))
    const limited = ['--weights', file, '--limit', '1', '--stem', 'imagenet', '--force', '--out', out]
    expect((await embed(...limited)).stdout).toContain(', read at 224×224 pixels, normalised as for ImageNet\n')
    const { metadata } = decodeSafetensors(await readFile(out))
    expect(metadata).toMatchObject({ width: '4', stem: 'imagenet', imageSize: '224', mean: '[0.485,0.456,0.406]' })
    const smaller = await embed(...limited, '--image-size', '32')
    expect(smaller.stdout).toContain(', read at 32×32 pixels, normalised')
    expect(smaller.stderr).not.toContain('overrides')
  })

  test('a file of PyTorch is refused with the lines of Python that convert it', async () => {
    const zip = join(folder, "it's.pth")
    await writeFile(zip, Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0))
    const { code, stdout, stderr } = await embed('--weights', zip, '--out', join(folder, 'none.safetensors')).then(
      () => expect.unreachable('the file was taken'),
      (error: { code: number; stdout: string; stderr: string }) => error,
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    const [line, ...python] = stderr.trimEnd().split('\n')
    expect(line).toMatch(/^error: .*it's\.pth: PyTorch wrote this file in its own format; .*Python:$/)
    expect(python).toHaveLength(4)
    expect(python[1]).toContain("it\\'s.pth', map_location='cpu'")
    expect(python[3]).toMatch(/^safetensors\.torch\.save_file\(weights, '.*it\\'s\.safetensors'\)$/)
  })

  test('a file that exists is replaced only with --force', async () => {
    const out = join(folder, 'mine.safetensors')
    await writeFile(out, 'mine')
    const options = ['--weights', weights, '--limit', '1', '--out', out]
    await expect(embed(...options)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error: --out .*mine\.safetensors: exists already; .* --force\n$/),
    })
    expect(await readFile(out, 'utf8')).toBe('mine')
    await embed(...options, '--force')
    expect(decodeSafetensors(await readFile(out)).tensors.features.shape).toEqual([1, 64])
  })

  describe('of a run', () => {
    const config = resolveConfig({
      dataDir: '',
      width: 4,
      views: 2,
      batch: 20,
      projectorDim: 8,
      epochs: 2,
      checkpointEvery: 1,
      stemRelu: false,
      augmentation: { size: 8, mean: [0.1, 0.2, 0.3], std: [0.5, 0.4, 0.3] },
    })
    let run: string
    let own: Float32Array
    const featuresOf = async (...args: string[]) => {
      const out = join(folder, `embedded-${args.length}-${args[1].length}.safetensors`)
      const { stderr } = await command('embed', '--data-dir', folder, '--force', '--out', out, ...args)
      const { tensors, metadata } = decodeSafetensors(await readFile(out))
      return { features: tensors.features.data as Float32Array, metadata, stderr }
    }

    beforeAll(async () => {
      run = join(folder, 'embedded')
      const dataset = await loadDataset('cifar10', 'train', { dataDir: folder })
      const gpu = await engine()
      const { backbone } = await pretrain({ engine: gpu, dataset, config: { ...config, dataDir: folder }, out: run })
      const test = await loadDataset('cifar10', 'test', { dataDir: folder })
      own = await extractFeatures(gpu, backbone, test, { recipe: config.augmentation, seed: 1 })
    })

    test('takes stem, size and normalisation from the run or from the weights', async () => {
      const weights = join(run, 'checkpoints', 'step-00000006', 'model.safetensors')
      for (const source of [
        ['--run', run],
        ['--weights', weights],
      ]) {
        const { features, metadata, stderr } = await featuresOf(...source)
        expectClose('features', features, own, 1e-4)
        expect(metadata).toMatchObject({ arch: 'resnet18', width: '4', stemRelu: 'false', imageSize: '8' })
        expect(metadata).toMatchObject({ mean: '[0.1,0.2,0.3]', std: '[0.5,0.4,0.3]' })
        expect(stderr).not.toContain('the weights were trained with')
      }
    })

    test('takes another checkpoint, and options override the weights with a line that says so', async () => {
      const before = await featuresOf('--run', run, '--checkpoint', '3')
      expect(before.metadata.step).toBe('step-00000003')
      expect(before.features).not.toEqual(own)
      const larger = await featuresOf('--run', run, '--image-size', '12')
      expect(larger.stderr).toContain('--image-size 12 overrides --image-size 8, with which the weights were trained\n')
      expect(larger.metadata).toMatchObject({ imageSize: '12', mean: '[0.1,0.2,0.3]' })
      await expect(featuresOf('--run', run, '--width', '8')).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^error: --width 8: [^\n]* of width 4 with the cifar stem; leave --width out\n$/),
      })
    })
  })

  test('wrong input gives one line and exit code 1, and nothing is written', async () => {
    const out = join(folder, 'none.safetensors')
    const cut = join(folder, 'cut.safetensors')
    await writeFile(cut, (await readFile(weights)).subarray(0, 100_000))
    const changed = async (name: string, change: (tensor: string, data: Float32Array) => void): Promise<string> => {
      const { tensors } = decodeSafetensors(await readFile(weights))
      for (const [tensor, { dtype, data }] of Object.entries(tensors))
        if (dtype === 'F32') change(tensor, data as Float32Array)
      await writeFile(join(folder, name), encodeSafetensors(tensors))
      return join(folder, name)
    }
    const broken = await changed('nan.safetensors', (tensor, data) => {
      if (tensor === 'layer3.0.bn2.bias') data[5] = NaN
    })
    const collapsed = await changed('collapsed.safetensors', (tensor, data) => {
      if (/conv|downsample.0/.test(tensor)) data.fill(0)
    })
    const cases = [
      [
        ['--weights', weights, '--arch', 'resnet34'],
        'holds a resnet18 of width 8 with the cifar stem; leave --arch out',
      ],
      [['--weights', weights, '--stem', 'imagenet'], '--stem imagenet: '],
      [['--weights', cut], 'truncated'],
      [['--weights', join(folder, 'absent')], 'absent: there is no such file'],
      [['--weights', broken], "nan.safetensors: 'layer3.0.bn2.bias' holds NaN (1 of its 32 values are not finite)"],
      [['--weights', collapsed], 'all 30 images have the same features: '],
      [['--weights', weights, '--limit', '0'], '--limit 0: must'],
      [['--weights', weights, '--width', '0'], '--width 0: '],
      [['--weights', weights, '--data', 'mnist'], 'unknown data set "mnist"'],
      [[], '--run or --weights: give exactly one of them'],
      [['--weights', weights, '--checkpoint', '3'], '--checkpoint 3: needs --run'],
    ] as const
    const refused = async ([args, message]: (typeof cases)[number]) => {
      const { code, stderr } = await embed(...args, '--out', out).then(
        () => expect.unreachable(args.join(' ')),
        (error: { code: number; stderr: string }) => error,
      )
      const lines = stderr
        .trimEnd()
        .split('\n')
        .filter((line) => line.startsWith('error: '))
      expect(code).toBe(1)
      expect(lines).toHaveLength(1)
      expect(stderr.trimEnd().split('\n').pop()).toContain(message)
      expect(existsSync(out)).toBe(false)
    }
    await Promise.all(cases.map(refused))
  })
})

describe('probe', () => {
  const config = () =>
    resolveConfig({
      dataDir: folder,
      width: 4,
      views: 2,
      batch: 20,
      projectorDim: 8,
      steps: 2,
      seed: 5,
      augmentation: { size: 8 },
    })

  test('says how long it takes, then prints and writes both readouts and how they were read', async () => {
    const out = join(folder, 'run')
    const dataset = await loadDataset('cifar10', 'train', { dataDir: folder })
    await pretrain({ engine: await engine(), dataset, config: config(), out })
    const json = join(folder, 'figures', 'probe.json')
    const { stdout, stderr } = await command('probe', '--run', out, '--views', '2', '--seeds', '2', '--json', json)
    expect(stderr).toMatch(/60 training and 30 test images .* 1 clean and 1 random view each\. This takes about/)
    expect(stdout).toMatch(
      /^ +step 2 +untrained\nlinear top-1 .*±.*±.*\nlinear top-5 .*\nkNN-20 top-1 .*±.*±.*\nkNN-20 top-5 .*\nkNN-200 top-1 .*\nkNN-200 top-5 .*\nRead with 1 clean and 1 random view/,
    )
    expect(stdout).toMatch(
      /\n +spectrum α +effective rank +RankMe +LiDAR +alignment +uniformity\nstep 2 .* of 32 .*\nuntrained .*\nFrom the features of 30 test images/,
    )
    expect(stdout).toContain('\nkNN-200 votes with all 60 training images.\n')
    const figures = JSON.parse(await readFile(json, 'utf8')) as Record<string, unknown>
    const readout = { views: 2, trainCount: 60, testCount: 30, linear: { perSeed: [{ seed: 1 }, { seed: 2 }] } }
    expect(figures).toMatchObject({ step: 2, views: 2, seeds: [1, 2], pretrained: readout, untrained: readout })
    expect(figures.pretrained).not.toEqual(figures.untrained)
  })

  test('reads a weights file, and leaves the untrained network out', async () => {
    const json = join(folder, 'figures', 'weights.json')
    const options = ['--weights', weights, '--data-dir', folder, '--no-untrained', '--json', json]
    const { stdout, stderr } = await command('probe', ...options)
    expect(stderr).toContain('resnet18 of width 8 from resnet18.safetensors: 60 training and 30 test images of cifar10')
    expect(stderr).not.toContain('untrained')
    expect(stdout).toMatch(/^ +resnet18\.safetensors\nlinear top-1 .*±[^]*\nRead with 1 clean view/)
    expect(stdout).not.toContain('untrained')
    const figures = JSON.parse(await readFile(json, 'utf8')) as object
    expect(figures).toMatchObject({ file: weights, network: { arch: 'resnet18', width: 8, imageSize: 32 } })
    expect(Object.keys(figures)).not.toContain('untrained')
  })

  test('reads out with a share of the labels, on other images, and after fine-tuning', async () => {
    const out = join(folder, 'run')
    const other = join(folder, 'other')
    await mkdir(other)
    await writeFile(join(other, 'data_batch_1.bin'), records(50, 3))
    await writeFile(join(other, 'test_batch.bin'), records(20, 4))
    const json = join(folder, 'figures', 'transfer.json')
    const options = [
      '--checkpoint',
      'step-00000002',
      '--data',
      'cifar10',
      '--data-dir',
      other,
      '--labels',
      '0.4',
      '--fine-tune',
      '--json',
      json,
    ]
    const { stdout, stderr } = await command('probe', '--run', out, ...options)
    expect(stderr).toContain('20 training (40 % of the labels) and 20 test images of cifar10, 1 clean view each.')
    expect(stdout).toMatch(
      /^ +step 2 +untrained\n[^]*\nfine-tuned top-1 .*±.*±.*\nfine-tuned top-5 .*\nRead with 1 clean view per image, fine-tuned /,
    )
    expect(stdout).toContain('Labels: 20 training images of cifar10, 40 % of each class. Pretrained on cifar10.')
    const figures = JSON.parse(await readFile(json, 'utf8')) as Record<'pretrained' | 'untrained', { tuned: object }>
    expect(figures).toMatchObject({ labels: 0.4, data: 'cifar10', pretrainedOn: 'cifar10' })
    for (const { tuned } of [figures.pretrained, figures.untrained])
      expect(Object.keys(tuned)).toEqual(['top1', 'top5', 'standardError', 'top5StandardError'])
    expect(figures.pretrained).toMatchObject({ views: 1, trainCount: 20, testCount: 20 })
  })

  test('reads only the first images of each class, and says so', async () => {
    const json = join(folder, 'figures', 'quick.json')
    const { stdout, stderr } = await command('probe', '--run', join(folder, 'run'), '--per-class', '2', '--json', json)
    expect(stderr).toContain('20 training (the first 2 of each class) and 20 test images of cifar10')
    expect(stdout).toContain(
      'Only the first 2 images of each class, 20 for training and 20 for testing: these figures do not compare with figures on all images.\n',
    )
    const figures = JSON.parse(await readFile(json, 'utf8')) as object
    expect(figures).toMatchObject({ perClass: 2, pretrained: { trainCount: 20, testCount: 20 } })
  })

  test('a folder without a run or a checkpoint, or an impossible count, gives one line', async () => {
    const empty = join(folder, 'empty')
    const started = join(folder, 'started')
    for (const made of [empty, started]) await mkdir(made)
    await writeFile(join(started, 'config.yaml'), JSON.stringify(config()))
    const outer = join(folder, 'outer')
    for (const run of [join(outer, 'a'), join(outer, 'runs', 'b')]) {
      await mkdir(run, { recursive: true })
      await writeFile(join(run, 'config.yaml'), '')
    }
    const cases = [
      [['--run', empty], /^error: .*empty holds no run [^\n]*\n$/],
      [['--run', outer], /^error: .*outer holds no run [^\n]*: name one of those in it: .*a, .*runs.b\n$/],
      [['--run', started, '--per-class', '0'], /^error: --per-class 0: must [^\n]*\n$/],
      [['--run', started, '--per-class', '2', '--labels', '0.1'], /^error: --per-class 2: [^\n]*--labels out\n$/],
      [['--run', started], /^error: .*started: holds no checkpoint [^\n]*\n$/],
      [['--run', join(folder, 'run'), '--checkpoint', '3'], /^error: --checkpoint 3: .* has those of the steps 2\n$/],
      [['--run', started, '--views', '0'], /^error: --views 0: must [^\n]*\n$/],
      [['--run', started, '--labels', '1.5'], /^error: --labels 1.5: must [^\n]*\n$/],
      [['--data-dir', folder], /^error: --run or --weights: give exactly one of them\n$/],
      [['--weights', weights, '--average'], /^error: --average: needs --run\n$/],
      [['--run', started, '--seeds', 'two'], /^error: --seeds: 'two' is not a number\n$/],
      [
        ['--run', started, '--json', weights],
        /^error: --json .*resnet18\.safetensors: exists already; [^\n]* --force\n$/,
      ],
    ] as const
    const refused = ([args, message]: (typeof cases)[number]) =>
      expect(command('probe', ...args)).rejects.toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(message),
      })
    await Promise.all(cases.map(refused))
  })
})

describe('views', () => {
  const views = (...args: string[]) => command('views', '--data-dir', folder, '--images', '2', ...args)

  test('draws the views of a file or of a recipe, in their sizes', async () => {
    const config = join(folder, 'crops.yaml')
    const crops = '[{ views: 2, size: 8, scale: [0.2, 1] }, { views: 3, size: 4, scale: [0.1, 0.2] }]'
    await writeFile(config, `views: 5\naugmentation: { size: 8, crops: ${crops}, blur: { probability: [1, 0] } }\n`)
    const out = join(folder, 'views.png')
    const drawn = await views('--config', config, '--out', out)
    expect(drawn.stdout).toBe(`${out}: 2 images of cifar10, each with 5 views of 8×8 and 4×4 pixels\n`)
    const { width, height } = await sharp(out).metadata()
    expect([width, height]).toEqual([4 + 6 * (128 + 4) + 12, 4 + 2 * (128 + 4)])
    const recipe = await views('--recipe', 'cifar10-bt-d256-v2', '--out', out, '--force')
    expect(recipe.stdout).toContain('each with 2 views of 32×32 pixels')
    const plain = await views('--augmentation', 'stl', '--image-size', '16', '--out', join(folder, 'plain.png'))
    expect(plain.stdout).toContain('each with 4 views of 16×16 pixels')
    await expect(views('--recipe', 'cifar10-bt-d256-v2', '--out', out)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error: --out .*views\.png: exists already; [^\n]* --force\n$/),
    })
    await expect(views('--config', config, '--views', '4', '--out', out, '--force')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('error: augmentation.crops: 2 + 3 views are not the 4 of an image\n'),
    })
  })
})
