/** `pretrain` as a user runs it: in its own process, on a folder of CIFAR-10 records. */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { Purpose, RandomStream } from '../../../engine/index.js'
import { decodeSafetensors } from '../../../models/index.js'
import { encodeRecords } from '../../../train/data/cifar_records.js'

const IMAGES = 24
let folder: string
let data: string
/** A path in the temporary folder. */
const at = (...names: string[]) => join(folder, ...names)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-pretrain-'))
  data = at('data')
  await mkdir(data)
  const stream = new RandomStream(1, Purpose.subset)
  const pixels = Uint8Array.from({ length: IMAGES * 3072 }, () => stream.integer(256))
  const labels = Array.from({ length: IMAGES }, (_, i) => i % 10)
  const records = encodeRecords(pixels, labels)
  await writeFile(join(data, 'data_batch_1.bin'), records)
  await mkdir(at('truncated'))
  await writeFile(at('truncated', 'data_batch_1.bin'), records.subarray(0, 5000))
})
afterAll(() => rm(folder, { recursive: true }))

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** @param watch called with all of stderr so far whenever it grows */
function pretrain(args: string[], watch?: (stderr: string, child: ChildProcess) => void): Promise<Ended> {
  const env = { ...process.env, WEBGPU_SSL_DEBUG: '' }
  const child = spawn(process.execPath, ['--import', 'tsx', 'train/cli/pretrain.ts', ...args, '--no-tune'], {
    env,
    timeout: 110_000,
  })
  const ended: Ended = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (text: Buffer) => (ended.stdout += text.toString()))
  child.stderr.on('data', (text: Buffer) => {
    ended.stderr += text.toString()
    watch?.(ended.stderr, child)
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ ...ended, code }))
  })
}

/** What follows the adapter's note, which comes after whatever a driver has to say. */
const ownLines = (stderr: string) => stderr.replace(/^[^]*^Adapter: .*\n/m, '')

function expectOneLine({ code, stdout, stderr }: Ended, line: RegExp) {
  expect(ownLines(stderr)).toMatch(/^error: [^\n]+\n$/)
  expect(stderr).toMatch(line)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
}

/** The smallest network and views. */
const tiny = (...more: string[]) =>
  ['--data-dir', data, '--width', '4', '--image-size', '8', '--views', '2', '--projector-dim', '8'].concat(more)

const checkpoints = (run: string) => readdir(join(run, 'checkpoints'))
const configOf = async (run: string) => parse(await readFile(join(run, 'config.yaml'), 'utf8')) as object

describe('a run that is interrupted', () => {
  const STEPS = 180
  // Three steps per epoch, and no checkpoint before the last step: only the signal can save an earlier one.
  const options = () => tiny('--batch', '8', '--epochs', String(STEPS / 3), '--checkpoint-every', '1000')

  test('is saved, continues with --resume, and ends with the same state as an uninterrupted run', async () => {
    const [whole, parts] = [at('whole'), at('parts')]
    let asked = false
    const [uninterrupted, first] = await Promise.all([
      pretrain([...options(), '--out', whole]),
      pretrain([...options(), '--out', parts], (stderr, child) => {
        if (!asked && /^step 1\//m.test(stderr)) asked = child.kill('SIGINT')
      }),
    ])
    expect(uninterrupted, uninterrupted.stderr).toMatchObject({ code: 0 })
    expect(uninterrupted.stdout).toMatch(/^done: 180 steps, 60 epochs in /)

    expect(first, first.stderr).toMatchObject({ code: 0 })
    expect(first.stdout).toMatch(/^stopped by a signal: .*; saved in .*parts\n$/)
    expect(first.stderr).not.toContain('error: ')
    expect(first.stderr).toContain('stopping after the steps in flight; press Ctrl-C again to quit at once\n')
    const [saved, ...others] = await checkpoints(parts)
    expect(others).toEqual([])
    // The lines under "Next:" are commands that work as they stand; the first one continues the run.
    const next = first.stderr.split('\nNext:\n')[1].trimEnd().split('\n')
    const [resume] = next.map((line) => line.replace(/^ {2}(npm run (\w+) --|npx webgpu-ssl (\w+)) /, '$2$3 '))
    expect(resume).toBe(`pretrain --resume --out ${parts}`)
    const step = Number(/^step-(\d+)$/.exec(saved)?.[1])
    expect(step).toBeGreaterThanOrEqual(1)
    expect(step).toBeLessThan(STEPS)

    const second = await pretrain(resume.split(' ').slice(1))
    expect(second, second.stderr).toMatchObject({ code: 0 })
    expect(second.stderr).toContain(`resumed ${parts} at step ${step}\n`)
    expect(second.stdout).toMatch(/^done: 180 steps, 60 epochs in /)
    const [a, b] = await Promise.all(
      [whole, parts].map((run) => readFile(join(run, 'checkpoints', 'step-00000180', 'state.safetensors'))),
    )
    expect(a.length).toBeGreaterThan(4 * 44_000)
    expect(a.equals(b)).toBe(true)
    // Every step has one line, in order.
    const lines = (await readFile(join(parts, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n')
    const steps = lines.map((line) => (JSON.parse(line) as { step: number }).step)
    expect(steps).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))
  })
})

test('a limit that has no effect is named, at the start and when a run is resumed', async () => {
  const out = at('limits')
  const begun = await pretrain(tiny('--batch', '8', '--steps', '2', '--epochs', '3', '--out', out))
  expect(begun, begun.stderr).toMatchObject({ code: 0 })
  expect(begun.stderr).toContain('\n--steps 2 ends the run: --epochs 3 would be 9 steps\n')
  // Epochs are counted from 1.
  expect(begun.stderr).toMatch(/^step 1\/2 · epoch 1 · loss /m)
  const [longer, shorter] = [
    await pretrain(['--resume', '--epochs', '5', '--out', out]),
    await pretrain(['--resume', '--epochs', '1', '--steps', '50', '--out', out]),
  ]
  expect(longer.stderr).toContain('\n--steps 2 ends the run: --epochs 5 would be 15 steps\n')
  expect(longer.stdout).toBe('already complete: 2 steps, 0 epochs; --resume continues it with more --steps\n')
  expect(shorter.stderr).toContain('\n--epochs 1 ends the run after 3 steps, before --steps 50\n')
  expect(shorter.stdout).toMatch(/^done: 3 steps, 1 epoch/)
})

test('SIGTERM saves, writes the report, and ends with exit code 143', async () => {
  const out = at('terminated')
  let asked = false
  const ended = await pretrain(tiny('--batch', '8', '--epochs', '1000', '--out', out), (stderr, child) => {
    if (!asked && /^step 1 of 3000 running$/m.test(stderr)) asked = child.kill('SIGTERM')
  })
  expect(ended, ended.stderr).toMatchObject({ code: 143 })
  expect(ended.stdout).toMatch(/^stopped by a signal: /)
  expect(await checkpoints(out)).toHaveLength(1)
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', 'train/cli/report.ts', out])
  expect(stdout).toBe(`${join(out, 'report.html')}\n`)
  const page = await readFile(join(out, 'report.html'), 'utf8')
  expect(page).toContain('The run was stopped')
  expect(page).toContain('src="data:image/png;base64,')
  expect(page).toContain('augmentation.size')
})

test('--checkpoint-minutes saves within an epoch; only the last two of these checkpoints stay', async () => {
  const out = at('by-time')
  const options = tiny('--batch', '2', '--steps', '8', '--checkpoint-minutes', '0.000001', '--out', out)
  const ended = await pretrain(options)
  expect(ended, ended.stderr).toMatchObject({ code: 0 })
  expect((await checkpoints(out)).sort()).toEqual(['step-00000007', 'step-00000008'])
  // A run from before the option resumes, with the default.
  const config = at('by-time', 'config.yaml')
  const text = await readFile(config, 'utf8')
  expect(text).toContain('checkpointMinutes: 0.000001\n')
  await writeFile(config, text.replace(/^checkpointMinutes.*\n/m, ''))
  const resumed = await pretrain(['--resume', '--steps', '9', '--out', out])
  expect(resumed, resumed.stderr).toMatchObject({ code: 0 })
  expect(await configOf(out)).toMatchObject({ checkpointMinutes: 10, steps: 9 })
  expect((await checkpoints(out)).sort()).toEqual(['step-00000008', 'step-00000009'])
})

describe('--config', () => {
  const file = (zeroInitResidual: boolean) =>
    `width: 4\nviews: 3\nprojectorDim: 8\nbatch: 8\nzeroInitResidual: ${zeroInitResidual}\naugmentation:\n  size: 8\n  flip: 0.25\n`
  const scaleOf = async (run: string) => {
    const path = join(run, 'checkpoints', 'step-00000001', 'model.safetensors')
    return (decodeSafetensors(await readFile(path), path).tensors['layer1.0.bn2.weight'].data as Float32Array)[0]
  }

  test('is used, and the command line overrides it', async () => {
    await writeFile(at('off.yaml'), file(false))
    await writeFile(at('on.yaml'), file(true))
    const [fromFile, fromLine] = [at('from-file'), at('from-line')]
    const common = ['--data-dir', data, '--steps', '1']
    const ends = await Promise.all([
      pretrain([
        ...[...common, '--config', at('off.yaml'), '--views', '2', '--image-size', '9', '--out', fromFile],
        ...['--bn', 'per-view', '--view-chunk', '1'],
      ]),
      pretrain([...common, '--config', at('on.yaml'), '--no-zero-init-residual', '--out', fromLine]),
    ])
    for (const ended of ends) {
      expect(ended, ended.stderr).toMatchObject({ code: 0 })
      expect(ended.stderr).toMatch(
        /^recorded in [\d.]+ s: [\d,]+ dispatches of \d+ kernels, \d+ MiB beside the weights$/m,
      )
    }
    expect(await configOf(fromFile)).toMatchObject({
      width: 4,
      views: 2,
      viewChunk: 1,
      batch: 8,
      steps: 1,
      zeroInitResidual: false,
      augmentation: { size: 9, flip: 0.25 },
    })
    expect(await configOf(fromLine)).toMatchObject({ views: 3, zeroInitResidual: false, augmentation: { size: 8 } })
    // The option has an effect: blocks that start as identities have scales near 0 after a step.
    expect(await scaleOf(fromFile)).toBeGreaterThan(0.9)
    expect(await scaleOf(fromLine)).toBeGreaterThan(0.9)

    const resumed = await pretrain(['--resume', '--steps', '2', '--out', fromFile])
    expect(resumed, resumed.stderr).toMatchObject({ code: 0 })
    expect(resumed.stdout).toMatch(/^done: 2 steps/)
  })

  test('blocks start as identities unless the file says otherwise', async () => {
    const out = at('identities')
    await writeFile(at('on.yaml'), file(true))
    const ended = await pretrain(['--data-dir', data, '--steps', '1', '--config', at('on.yaml'), '--out', out])
    expect(ended, ended.stderr).toMatchObject({ code: 0 })
    expect(await configOf(out)).toMatchObject({ zeroInitResidual: true })
    expect(Math.abs(await scaleOf(out))).toBeLessThan(0.1)
  })
})

test('--init says what the network is; config.yaml records it, and the run goes on without it', async () => {
  const [first, second, file] = [at('init-first'), at('init-second'), at('init.safetensors')]
  const common = ['--data-dir', data, '--views', '2', '--image-size', '8', '--projector-dim', '8', '--batch', '8']
  const begun = await pretrain([...common, '--width', '4', '--no-stem-relu', '--steps', '1', '--out', first])
  expect(begun, begun.stderr).toMatchObject({ code: 0 })
  await copyFile(join(first, 'checkpoints', 'step-00000001', 'model.safetensors'), file)

  const frozen = ['--init', file, '--freeze-stages', '2']
  const ended = await pretrain([...common, ...frozen, '--steps', '2', '--out', second])
  expect(ended, ended.stderr).toMatchObject({ code: 0 })
  expect(ended.stderr).toMatch(/^resnet18, width 4: [\d,]+ parameters, [\d,]+ of them frozen$/m)
  expect(ended.stderr).toMatch(/^2 steps of 8 images × 2 views; an epoch has 3$/m)
  expect(ended.stderr).toContain(`initial weights of the backbone: ${file}\n`)
  expect(await configOf(second)).toMatchObject({ init: file, freezeStages: 2, width: 4, stemRelu: false })

  const fromRun = await pretrain([...common, '--init', first, '--width', '8', '--out', at('init-third')])
  expectOneLine(fromRun, /--width 8: .*init-first.* holds a resnet18 of width 4 with the cifar stem; leave --width out/)
  expect(existsSync(at('init-third'))).toBe(false)

  await rm(file)
  const resumed = await pretrain(['--resume', '--steps', '3', '--out', second])
  expect(resumed, resumed.stderr).toMatchObject({ code: 0 })
  expect(resumed.stdout).toMatch(/^done: 3 steps/)
})

test('BYOL uses two views by default', async () => {
  const out = at('byol')
  const objective = ['--objective', 'byol', '--predictor-hidden', '16', '--batch', '8', '--steps', '4', '--stream']
  const size = ['--data-dir', data, '--width', '4', '--image-size', '8', '--projector-dim', '8', '--online-probe']
  await writeFile(join(data, 'test_batch.bin'), await readFile(join(data, 'data_batch_1.bin')))
  const ended = await pretrain([...size, ...objective, '--out', out])
  expect(ended, ended.stderr).toMatchObject({ code: 0 })
  expect(ended.stdout).toMatch(
    /^done: 4 steps, 1 epoch in \d+ s at [\d.]+ images\/s(, [^;]* waiting for images.*)?; saved in /,
  )
  expect(ended.stderr).toMatch(/^step 1\/4 .* · … images\/s · … left$/m)
  expect(ended.stderr).toMatch(/^step 4\/4 .* · probe \d+ % \(batch\) · [\d.]+ images\/s · 0 s left$/m)
  expect(ended.stderr).not.toContain('nothing will be saved')
  expect(await configOf(out)).toMatchObject({ views: 2, predictorHidden: 16 })
  const path = join(out, 'checkpoints', 'step-00000004', 'model.safetensors')
  expect(decodeSafetensors(await readFile(path), path).tensors['predictor.0.weight'].shape).toEqual([16, 8])
})

test('--online-probe on a split without labels reads nearest neighbours among the labelled training images', async () => {
  const [stl, out] = [at('stl10'), at('stl10-run')]
  await mkdir(stl)
  const stream = new RandomStream(2, Purpose.subset)
  const some = (images: number) => Uint8Array.from({ length: images * 3 * 96 * 96 }, () => stream.integer(256))
  for (const [split, images] of Object.entries({ train: 6, test: 5, unlabeled: 8 }))
    await writeFile(join(stl, `${split}_X.bin`), some(images))
  await writeFile(join(stl, 'train_y.bin'), Uint8Array.of(1, 2, 3, 1, 2, 3))
  await writeFile(join(stl, 'test_y.bin'), Uint8Array.of(1, 2, 3, 1, 2))
  const options = ['--data', 'stl10', '--data-dir', stl, '--width', '4', '--image-size', '8', '--projector-dim', '8']
  const ended = await pretrain([...options, '--batch', '8', '--epochs', '1', '--online-probe', '--out', out])
  expect(ended, ended.stderr).toMatchObject({ code: 0 })
  expect(ended.stderr).toContain(
    '--online-probe: the unlabelled images of stl10 have no labels: nearest neighbours are read among the train images at every checkpoint, and no linear probe is trained\n',
  )
  expect(ended.stderr).toMatch(/^epoch 1: kNN-20 top-1 [\d.]+ % \(5 test images among 6, 1 clean view\)$/m)
})

test('a run without --out says that nothing is saved, and one step has no rate', async () => {
  const ended = await pretrain(tiny('--batch', '8', '--steps', '1'))
  expect(ended, ended.stderr).toMatchObject({ code: 0 })
  expect(ended.stderr).toMatch(/^nothing will be saved: give --out FOLDER to keep the run$/m)
  expect(ended.stderr).toMatch(/^step 1\/1 .* · … images\/s · 0 s left$/m)
  expect(ended.stdout).toMatch(/^done: 1 step, 0 epochs in 0 s\n$/)
})

describe('a wrong option gives one line, and nothing is written', () => {
  const rows: [what: string, args: () => string[], line: RegExp][] = [
    ['an unknown data set', () => ['--data', 'mnist'], /unknown data set "mnist"; known: .*cifar10/],
    ['a missing folder', () => ['--data-dir', at('nowhere')], /data folder .*nowhere does not exist/],
    ['a truncated file', () => ['--data-dir', at('truncated')], /data_batch_1\.bin: truncated .*5000 bytes/],
    ['--width 0', () => tiny('--width', '0'), /--width 0: must be at least 1/],
    ['--views 1', () => tiny('--views', '1'), /--views 1: must be at least 2/],
    ['--lambda abc', () => tiny('--lambda', 'abc'), /--lambda: 'abc' is not a number/],
    ['--arch vgg', () => tiny('--arch', 'vgg'), /--arch 'vgg': choose one of resnet18, /],
    [
      'a batch larger than the data set',
      () => tiny('--batch', '25'),
      /--batch 25 is larger than the data set: 24 images of cifar10: lower --batch to at most 24/,
    ],
    [
      'chunks of views under joint batch-norm',
      () => tiny('--view-chunk', '1'),
      /--view-chunk 1: joint batch-norm needs all views at once; .* --bn per-view/,
    ],
    [
      'an unknown option',
      () => tiny('--view', '2'),
      /unknown option '--view'\. Did you mean --views\? \(--help lists all\)\n/,
    ],
    ['a missing --config', () => tiny('--config', at('none.yaml')), /--config .*none\.yaml: there is no such file/],
    [
      'an unknown field in --config',
      () => tiny('--config', at('wrong.yaml')),
      /--config .*wrong\.yaml: unknown option 'widht' in the configuration; did you mean width\?/,
    ],
    [
      'a wrong value in --config',
      () => tiny('--config', at('value.yaml')),
      /--config .*value\.yaml: --batch 1: must be/,
    ],
    ['--image-size 5000', () => tiny('--image-size', '5000'), /--image-size 5000: must be at most 4096/],
    ['--max-minutes -1', () => tiny('--max-minutes', '-1'), /--max-minutes -1: must be more than 0/],
    [
      'a network that no buffer holds',
      () => ['--data-dir', data, '--batch', '8', '--projector-dim', '1e9'],
      /--projector-dim 1000000000: the weights of the projector take [\d.,]+ GiB, over the adapter's largest buffer.*: use --projector-dim \d{4,}$/m,
    ],
    ['a missing --init', () => tiny('--init', at('none.safetensors')), /none\.safetensors: there is no such file/],
    ['--freeze-stages alone', () => tiny('--freeze-stages', '1'), /--freeze-stages 1: .*; give weights with --init/],
    ['--resume of nothing', () => ['--resume'], /holds no run/],
  ]
  const ends: Ended[] = []

  beforeAll(async () => {
    await writeFile(at('wrong.yaml'), 'widht: 4\n')
    await writeFile(at('value.yaml'), 'batch: 1\n')
    for (let i = 0; i < rows.length; i += 2) {
      const pair = rows.slice(i, i + 2).map(([, args], j) => pretrain([...args(), '--out', at(`bad-${i + j}`)]))
      ends.push(...(await Promise.all(pair)))
    }
  })

  test.each(rows.map(([what, , line], i) => [what, i, line] as const))('%s', (_, i, line) => {
    expectOneLine(ends[i], line)
    expect(existsSync(at(`bad-${i}`))).toBe(false)
  })

  test('a run is unchanged when it is resumed with another width or started again', async () => {
    const out = at('kept')
    const begun = await pretrain(tiny('--batch', '8', '--steps', '1', '--out', out))
    expect(begun, begun.stderr).toMatchObject({ code: 0 })
    const contents = async () => {
      const files = (await readdir(out, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
      const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort()
      return Promise.all(paths.map(async (path) => [path, (await readFile(path)).toString('base64')]))
    }
    const before = await contents()
    expect(before.length).toBeGreaterThanOrEqual(5)
    const [wider, again] = await Promise.all([
      pretrain(['--resume', '--width', '8', '--out', out]),
      pretrain(tiny('--batch', '8', '--steps', '1', '--out', out)),
    ])
    expectOneLine(wider, /--resume: the run in .*kept has width 4, not 8: start another run with another --out/)
    expectOneLine(again, /--out .*kept holds a run already: continue it with --resume/)
    expect(await contents()).toEqual(before)
  })
})
