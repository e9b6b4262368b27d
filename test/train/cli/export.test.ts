/** `export`, and the formats of `embed` and `views`, as a user runs them: in their own process. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-web'
import sharp from 'sharp'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Purpose, RandomStream } from '../../../engine/index.js'
import { decodeSafetensors, encodeSafetensors } from '../../../models/index.js'
import { resolveConfig } from '../../../train/config/config.js'
import { loadDataset } from '../../../train/node/data/index.js'
import { pretrain } from '../../../train/node/pretrain.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

const [RECORD, PIXELS, COUNT, WIDTH, SIZE] = [3073, 1024, 5, 4, 8]
const FEATURES = 8 * WIDTH
let folder: string
let run: string
let pixels: Uint8Array

/** Runs a command as npm does. Rejects when it exits with an error. */
const command = (name: string, ...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', `train/cli/${name}.ts`, ...args])
const at = (name: string): string => join(folder, name)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-export-'))
  run = at('run')
  const stream = new RandomStream(3, Purpose.subset)
  // Every block of 4×4 pixels has one colour, so that resizing from 32 to 8 pixels means the same to every filter.
  pixels = Uint8Array.from({ length: COUNT * RECORD }, () => stream.integer(256))
  for (let i = 0; i < COUNT; i++) {
    pixels[i * RECORD] = i
    for (let k = 0; k < 3 * PIXELS; k++) {
      const [row, column] = [Math.floor((k % PIXELS) / 32), k % 32]
      const block = k - (k % PIXELS) + 32 * (row - (row % 4)) + column - (column % 4)
      pixels[i * RECORD + 1 + k] = pixels[i * RECORD + 1 + block]
    }
  }
  await writeFile(at('data_batch_1.bin'), pixels)
  await writeFile(at('test_batch.bin'), pixels)
  const config = resolveConfig({
    dataDir: folder,
    width: WIDTH,
    projectorDim: 6,
    augmentation: { size: SIZE },
    batch: 4,
    steps: 2,
  })
  const dataset = await loadDataset('cifar10', 'pretraining', { dataDir: folder })
  await pretrain({ engine: await engine(), dataset, config, out: run })
  await writeFile(
    at('head.safetensors'),
    encodeSafetensors({
      'fc.weight': { dtype: 'F32', shape: [3, FEATURES], data: formulaTensor('fc.weight', [3, FEATURES]) },
      'fc.bias': { dtype: 'F32', shape: [3], data: formulaTensor('fc.bias', [3]) },
    }),
  )
}, 60_000)
afterAll(() => rm(folder, { recursive: true }))

test('an exported run computes what embed does, from pixels in [0, 1]', async () => {
  const out = at('model.onnx')
  const { stdout } = await command(
    'export',
    '--run',
    run,
    '--projector',
    '--head',
    at('head.safetensors'),
    '--out',
    out,
  )
  expect(stdout).toBe(
    `${out}: resnet18 of width 4, images [N, 3, 8, 8] in RGB from 0 to 1 → features [N, 32], embeddings [N, 6], logits [N, 3]\n`,
  )
  await command('embed', '--run', run, '--split', 'test', '--out', at('f.safetensors'))
  const features = decodeSafetensors(await readFile(at('f.safetensors'))).tensors.features.data as Float32Array

  const images = Float32Array.from({ length: COUNT * 3 * SIZE * SIZE }, (_, k) => {
    const [image, channel, row, column] = [192, 64, 8, 1].map((unit, i) => Math.floor(k / unit) % [COUNT, 3, 8, 8][i])
    return pixels[image * RECORD + 1 + channel * PIXELS + 4 * row * 32 + 4 * column] / 255
  })
  const session = await InferenceSession.create(await readFile(out), { executionProviders: ['wasm'] })
  const found = await session.run({ images: new Tensor('float32', images, [COUNT, 3, SIZE, SIZE]) })
  expectClose('features', found.features.data as Float32Array, features, 1e-4)
  expect(found.embeddings.dims).toEqual([COUNT, 6])
  const [weight, bias] = [formulaTensor('fc.weight', [3, FEATURES]), formulaTensor('fc.bias', [3])]
  const logits = Float64Array.from({ length: COUNT * 3 }, (_, k) => {
    const [image, c] = [Math.floor(k / 3), k % 3]
    return weight
      .subarray(c * FEATURES, (c + 1) * FEATURES)
      .reduce((sum, w, d) => sum + w * features[image * FEATURES + d], bias[c])
  })
  expectClose('logits', found.logits.data as Float32Array, logits, 1e-4)
  await session.release()
})

test('probe saves its linear probe for export', async () => {
  const head = at('probe.safetensors')
  await command('probe', '--run', run, '--no-untrained', '--save-head', head)
  const { tensors, metadata } = decodeSafetensors(await readFile(head))
  expect(tensors['fc.weight'].shape).toEqual([10, FEATURES])
  expect(tensors['fc.bias'].shape).toEqual([10])
  expect(JSON.parse(metadata.classes)).toHaveLength(10)
  const out = at('classifier.onnx')
  const { stdout } = await command('export', '--run', run, '--head', head, '--out', out)
  expect(stdout).toContain('logits [N, 10]')
})

test('embed writes the same numbers as safetensors, .npy and .csv', async () => {
  const names = ['e.safetensors', 'e.npy', 'e.csv'].map(at)
  for (const name of names) await command('embed', '--run', run, '--split', 'test', '--limit', '3', '--out', name)
  const { tensors } = decodeSafetensors(await readFile(names[0]))
  const features = Array.from(tensors.features.data as Float32Array)

  // The header of .npy ends at a multiple of 64 bytes.
  const npy = await readFile(names[1])
  const end = 10 + npy.readUInt16LE(8)
  expect(npy.subarray(0, 8)).toEqual(Buffer.from('\x93NUMPY\x01\x00', 'latin1'))
  expect(npy.toString('latin1', 10, end).trimEnd()).toBe("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 32), }")
  expect(end % 64).toBe(0)
  expect(Array.from({ length: 96 }, (_, i) => npy.readFloatLE(end + 4 * i))).toEqual(features)
  expect(npy).toHaveLength(end + 4 * 96)
  const labels = await readFile(at('e.labels.npy'))
  expect([0, 1, 2].map((i) => labels.readBigInt64LE(labels.length - 8 * (3 - i)))).toEqual([0n, 1n, 2n])
  expect(labels.toString('latin1')).toContain("'<i8', 'fortran_order': False, 'shape': (3,), }")

  const [header, ...rows] = (await readFile(names[2], 'utf8')).trimEnd().split('\n')
  expect(header).toMatch(/^label,class,feature_0,feature_1,.*,feature_31$/)
  expect(rows.map((row) => row.split(',').slice(0, 2))).toEqual([
    ['0', 'airplane'],
    ['1', 'automobile'],
    ['2', 'bird'],
  ])
  expect(
    rows.flatMap((row) =>
      row
        .split(',')
        .slice(2)
        .map((text) => Math.fround(Number(text))),
    ),
  ).toEqual(features)
}, 60_000)

test('views draws PNG and JPEG files', async () => {
  for (const [name, format] of [
    ['v.png', 'png'],
    ['v.jpeg', 'jpeg'],
  ] as const) {
    await command(
      'views',
      '--data-dir',
      folder,
      '--images',
      '1',
      '--views',
      '1',
      '--image-size',
      '8',
      '--out',
      at(name),
    )
    expect((await sharp(at(name)).metadata()).format).toBe(format)
  }
}, 60_000)

test('wrong input gives one line and exit code 1, and nothing is written', async () => {
  const wide = at('wide.safetensors')
  await writeFile(
    wide,
    encodeSafetensors({
      'fc.weight': { dtype: 'F32', shape: [3, 64], data: new Float32Array(192) },
      'fc.bias': { dtype: 'F32', shape: [3], data: new Float32Array(3) },
    }),
  )
  const model = join(run, 'checkpoints/step-00000002/model.safetensors')
  const none = at('none.onnx')
  const cases: [command: string, args: string[], message: string][] = [
    ['export', ['--run', run, '--out', at('none.pt')], 'none.pt: the name must end in .onnx'],
    ['export', ['--run', run, '--head', wide, '--out', none], 'is for 64 features, and this network has 32'],
    ['export', ['--run', run, '--head', model, '--out', none], 'has no fc.weight'],
    ['export', ['--weights', model, '--projector', '--out', none], '--projector: needs --run'],
    ['export', ['--run', run, '--average', '--out', none], 'keeps no moving average'],
    ['embed', ['--run', run, '--out', at('none.txt')], 'none.txt: the name must end in .safetensors, .npy or .csv'],
    ['probe', ['--run', run, '--save-head', at('none.bin')], 'none.bin: the name must end in .safetensors'],
    ['views', ['--out', at('none.gif')], 'none.gif: the name must end in .png, .jpg or .jpeg'],
  ]
  const refused = async ([name, args, message]: (typeof cases)[number]) => {
    const { code, stderr } = await command(name, ...args).then(
      () => expect.unreachable(args.join(' ')),
      (error: { code: number; stderr: string }) => error,
    )
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^error: [^\n]*\n$/) })
    expect(stderr).toContain(message)
    for (const file of args.filter((arg) => arg.includes('none'))) expect(existsSync(file)).toBe(false)
  }
  await Promise.all(cases.map(refused))
})
