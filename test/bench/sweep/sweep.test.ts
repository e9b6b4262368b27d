/** Sweeps on small images: the grid, failures, and that finished runs are not repeated. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { adaptersOf, nameOfReadout } from '../../../bench/runs/cached_runs.js'
import { Interrupted, Runs, type RunsOptions, type Splits } from '../../../bench/runs/runs.js'
import type { Engine } from '../../../engine/index.js'
import { combinations, nested, parseSweep } from '../../../bench/sweep/file.js'
import { performSweep, type SweepOptions } from '../../../bench/sweep/perform.js'
import { sweepPlots, sweepTable } from '../../../bench/sweep/report.js'
import { recipes } from '../../../train/augment/recipe.js'
import type { PretrainConfig } from '../../../train/config/config.js'
import { encodeRecords } from '../../../train/data/cifar_records.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

const labelled = (count: number, split: 'train' | 'test') => {
  const { images, height, width } = colourfulImages(count)
  const labels = Uint32Array.from({ length: count }, (_, i) => i % 3)
  return fromArrays({ images, height, width, labels, classes: ['a', 'b', 'c'], split })
}
const train = labelled(24, 'train')
const all: Splits = { pretraining: train, train, test: labelled(12, 'test') }
const splits = (): Promise<Splits> => Promise.resolve(all)

const text = `
base: { data: own images, width: 4, batch: 8, epochs: 2, checkpointEvery: 1, projectorDim: 8, augmentation: { size: 8 } }
grid:
  views: [2, 3]
  lr: [0.001, 1.0e+30]
seeds: [1]
readout: { epochs: 3 }
`

describe('a grid', () => {
  test('has every combination; the last option varies fastest', () => {
    expect(combinations({ a: [1, 2], b: ['x', 'y'] })).toEqual([
      { a: 1, b: 'x' },
      { a: 1, b: 'y' },
      { a: 2, b: 'x' },
      { a: 2, b: 'y' },
    ])
    expect(combinations({})).toEqual([{}])
  })

  test('sets nested options by dots', () => {
    expect(nested({ 'a.b': 1, 'a.c': 2, d: 3 })).toEqual({ a: { b: 1, c: 2 }, d: 3 })
    const { points } = parseSweep('base: { augmentation: { flip: 0 } }\ngrid: { augmentation.size: [16, 24] }', 'f')
    const found = points.map(({ configs }) => 'error' in configs || configs[0].augmentation)
    expect(found).toMatchObject([
      { size: 16, flip: 0 },
      { size: 24, flip: 0 },
    ])
  })

  test("applies the base's changes of the augmentation to the grid's recipes", () => {
    const { points } = parseSweep(
      'base: { augmentation: { recipe: imagenet100, size: 16, jitter: { hue: 0 } } }\ngrid: { augmentation.recipe: [cifar, stl], augmentation.flip: [0] }',
      'f',
    )
    const found = points.map(({ configs }) => ('error' in configs ? undefined : configs[0].augmentation))
    const changes = { size: 16, flip: 0 }
    for (const [i, { mean, jitter }] of [recipes.cifar, recipes.stl].entries())
      expect(found[i]).toMatchObject({ ...changes, mean, jitter: { ...jitter, hue: 0 } })
    expect(found[0]).not.toEqual(found[1])
  })

  test('reads a moving average only if the runs keep one', () => {
    const { points, readout } = parseSweep('grid: { emaRate: [0.9] }\nreadout: { average: true }', 'f')
    expect([points[0].configs, readout]).toMatchObject([[{ emaRate: 0.9 }], { average: true }])
    expect(nameOfReadout(readout)).not.toBe(nameOfReadout({ ...readout, average: false }))
  })

  test('does not give the parameters of one objective to another', () => {
    const { points } = parseSweep('base: { lambda: 0.02 }\ngrid: { objective: [barlow-twins, simclr] }', 'f')
    expect(points.map(({ configs }) => 'error' in configs || configs[0].lambda)).toEqual([0.02, undefined])
  })

  test('an invalid value is the error of its point', () => {
    const { points } = parseSweep('grid: { batch: [64, 1] }', 'f')
    expect(points[1].configs).toEqual({ error: '`batch` 1: must be at least 2' })
  })

  const sevenValuesOfSixOptions =
    'seeds: [1, 2, 3]\ngrid:\n' +
    ['views', 'batch', 'epochs', 'width', 'lr', 'seed0'].map((name) => `  ${name}: [2, 4, 6, 8, 10, 12, 14]`).join('\n')

  test.each([
    ['grid: {views: [2', 'f: not valid YAML'],
    ['grids: { views: [2] }', "f: unknown field 'grids'; a sweep has base, grid, seeds and readout"],
    ['grid: { vews: [2, 4] }', "f: unknown option 'vews' in the configuration; did you mean views?"],
    ['base: { vews: 2 }', "f: unknown option 'vews'"],
    ['grid: { views: 2 }', 'f: grid.views'],
    ['base: { batch: 1 }', 'f: `batch` 1: must be at least 2'],
    ['grid: { seed: [1, 2] }', "f: seed: list the seeds under 'seeds'"],
    ['- 1', 'f: '],
    ['grid: { __proto__.polluted: [1] }', "f: unknown option '__proto__.polluted'"],
    ['grid: { augmentation.__proto__.polluted: [1] }', "f: unknown option 'augmentation.__proto__.polluted'"],
    ['grid: { constructor.prototype.polluted: [1] }', "f: unknown option 'constructor' in the configuration"],
    ['base: { __proto__: { polluted: 1 } }', "f: not valid YAML: '__proto__' is not the name of an option"],
    ['base: { augmentation: null }', 'f: `augmentation` null: must be a mapping'],
    ['grid: { views: [2], views.x: [2] }', "f: grid: 'views.x' and 'views' exclude each other"],
    [sevenValuesOfSixOptions, 'f: the grid and the seeds make 352,947 runs, at most 10,000 are allowed'],
    ['readout: { average: true }', 'f: readout.average: the runs keep no moving average; set emaRate in base or grid'],
    ['readout: { averge: true }', "f: readout: unknown field 'averge'; it takes views, seeds, epochs, knn, average"],
  ])('%j is refused in one line', (bad, line) => {
    expect(() => parseSweep(bad, 'f')).toThrow(line)
    try {
      parseSweep(bad, 'f')
    } catch (error) {
      expect((error as Error).message).not.toContain('\n')
    }
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })
})

/** Makes runs in this process. */
const maker =
  (device: Engine, root: string, signal?: AbortSignal, of: RunsOptions['splits'] = splits): SweepOptions['runs'] =>
  (onProgress) =>
    new Runs({ engine: device, root, splits: of, signal, onProgress })

test('an interrupted sweep continues, failures do not stop it, and finished runs are not repeated', async () => {
  const sweep = parseSweep(text, 'f')
  const root = join(folder, 'runs')
  const abort = new AbortController()
  const device = await engine()
  const options = { splits, runs: maker(device, root) }
  // The signal stops the sweep in the middle of the first run.
  const stopped = performSweep(sweep, {
    ...options,
    runs: maker(device, root, abort.signal),
    onProgress: (_, what, done) => what === 'training' && done === 2 && abort.abort(),
  })
  await expect(stopped).rejects.toBeInstanceOf(Interrupted)
  const [first] = readdirSync(root)
  expect(JSON.parse(readFileSync(join(root, first, 'summary.json'), 'utf8'))).toMatchObject({ stopped: 'signal' })

  const trained: number[] = []
  const runs = await performSweep(sweep, {
    ...options,
    onProgress: (_, what, done) => void (what === 'training' && trained.push(done)),
  })
  // A run has six steps. The first run continues after its two finished steps.
  expect(trained[0]).toBeGreaterThan(2)
  expect(runs).toHaveLength(4)
  expect(runs[0].reading).toMatchObject({ step: 6, epoch: 2, views: 1, testCount: 12 })
  expect(runs[2].reading).toMatchObject({ step: 6 })
  for (const i of [1, 3]) expect(runs[i].error).toMatch(/^the loss is \S+ at step \d+: lower `lr`/)

  const files = () =>
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .sort()
      .map((name) => [name, statSync(join(root, name)).mtimeMs])
  const before = files()
  const called: string[] = []
  const again = await performSweep(sweep, { ...options, onProgress: (label) => called.push(label) })
  expect(again).toEqual(runs)
  expect(called).toEqual([])
  expect(files()).toEqual(before)
  expect(existsSync(join(root, runs[1].folder!.slice(root.length + 1), 'failed.json'))).toBe(true)

  const markdown = sweepTable(sweep, runs)
  expect(markdown.split('\n')[0]).toBe(
    '| views | lr | linear top-1, % | linear top-5, % | kNN-20, % | minutes | seeds | failed |',
  )
  expect(markdown).toContain('| 2 | 1e+30 | – | – | – | – | 0 of 1 | the loss is')
  expect(markdown).toContain('Read with 1 clean view an image')
  expect(markdown).not.toContain('adapter')
  const plots = await sweepPlots(sweep, runs, '2026-01-02')
  expect(Object.keys(plots).sort()).toEqual(['accuracy', 'runtime'])
  for (const svg of Object.values(plots)) {
    expect(svg).toContain('xmlns="http://www.w3.org/2000/svg"')
    expect(svg).toContain(`${device.description}; 2026-01-02`)
  }
})

test('runs on two image folders are two runs', async () => {
  const folders = ['a', 'b'].map((name) => join(folder, 'pictures', name))
  const sweep = parseSweep(
    `
base: { data: folder, width: 4, batch: 8, steps: 1, views: 2, projectorDim: 8, augmentation: { size: 8 } }
grid: { dataDir: ${JSON.stringify(folders)} }
readout: { epochs: 1, knn: false }`,
    'f',
  )
  const other: Splits = { ...all, test: labelled(9, 'test') }
  const ofFolder = ({ dataDir }: PretrainConfig): Promise<Splits> =>
    Promise.resolve(dataDir === folders[0] ? all : other)
  const runs = await performSweep(sweep, {
    splits: ofFolder,
    runs: maker(await engine(), join(folder, 'folders'), undefined, ofFolder),
  })
  expect(runs.map(({ reading }) => reading?.testCount)).toEqual([12, 9])
})

test('table and plots name the adapters if there are several', async () => {
  const sweep = {
    ...parseSweep('grid: { views: [2, 4] }', 'f'),
    readout: { views: 1, seeds: 1, epochs: 1, knn: true, average: true },
  }
  const reading = { step: 1, epoch: 1, seconds: 60, views: 1, top1: 0.5, top5: 1, testCount: 12 }
  const runs = [
    { values: { views: 2 }, seed: 1, reading: { ...reading, adapter: 'one card' } },
    { values: { views: 4 }, seed: 1, reading: { ...reading, adapter: 'another' } },
    { values: { views: 4 }, seed: 2, reading },
  ]
  expect(adaptersOf(runs.map(({ reading }) => reading))).toEqual(['one card', 'another'])
  const markdown = sweepTable(sweep, runs)
  expect(markdown).toMatch(/\n\nThe runs used more than one adapter \(one card; another\): their minutes cannot/)
  expect(markdown).toContain('Read from the moving average of the weights with 1 clean view')
  const { runtime, accuracy } = await sweepPlots(sweep, runs, '2026-01-02')
  expect(runtime).toContain('one card; another; 2026-01-02; minutes on different adapters cannot be compared')
  expect(accuracy).toContain('one card; another; 2026-01-02<')
})

describe('the command', () => {
  /** As `npm run sweep` starts it. */
  const sweep = (...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> => {
    const env = { ...process.env, WEBGPU_SSL_DEBUG: '' }
    const child = spawn(process.execPath, ['engine/node/launch.mjs', 'bench/sweep/cli.ts', ...args], { env })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (text: Buffer) => (stdout += text.toString()))
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()))
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, stdout, stderr }))
    })
  }
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }

  test('makes the runs of a file and writes table, results and plots', async () => {
    const data = join(folder, 'cifar')
    mkdirSync(data)
    for (const [name, count] of Object.entries({ 'data_batch_1.bin': 24, 'test_batch.bin': 12 })) {
      const pixels = Uint8Array.from({ length: count * 3072 }, (_, i) => (i * i) % 251)
      const labels = Array.from({ length: count }, (_, i) => i % 10)
      writeFileSync(join(data, name), encodeRecords(pixels, labels))
    }
    const out = join(folder, 'out')
    const grid = file(
      'grid.yaml',
      `
base: { dataDir: ${JSON.stringify(data)}, width: 4, batch: 8, steps: 2, projectorDim: 8, augmentation: { size: 8 } }
grid: { views: [2, 3] }
readout: { epochs: 2 }`,
    )
    const ended = await sweep(grid, '--out', out)
    expect(ended, ended.stderr).toMatchObject({ code: 0 })
    expect(ended.stderr).toMatch(/^views 2, seed 1 \(0 % done\)$/m)
    expect(ended.stderr).toMatch(/^views 3, seed 1 \(40 % done; about .* left in all\)$/m)
    for (const views of [2, 3])
      expect(ended.stdout).toMatch(new RegExp(`^\\| ${views} \\| .* \\| 1 of 1 \\| +\\|$`, 'm'))
    expect(ended.stdout).toBe(`${readFileSync(join(out, 'table.md'), 'utf8')}\n`)
    const { description } = await engine()
    const figures = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as unknown
    expect(figures).toMatchObject({
      adapters: [description],
      runs: [2, 3].map((views) => ({
        values: { views },
        seed: 1,
        reading: { step: 2, testCount: 12, adapter: description },
      })),
    })
    expect(readdirSync(out).sort()).toEqual(['accuracy.svg', 'results.json', 'runs', 'runtime.svg', 'table.md'])
  })

  test('refuses a malformed file in one line', async () => {
    const bad = file('bad.yaml', 'grid: { vews: [2, 4] }')
    const out = join(folder, 'nothing')
    const { code, stdout, stderr } = await sweep(bad, '--out', out)
    expect({ code, stdout, stderr }).toEqual({
      code: 1,
      stdout: '',
      stderr: `error: ${bad}: unknown option 'vews' in the configuration; did you mean views?\n`,
    })
    expect(existsSync(out)).toBe(false)
    // A missing data set is reported before anything is written.
    const absent = await sweep(file('absent.yaml', `base: { dataDir: ${JSON.stringify(out)} }`), '--out', out)
    expect(absent.code).toBe(1)
    expect(absent.stderr).toMatch(/^error: data folder .*nothing does not exist/m)
    expect(existsSync(out)).toBe(false)
  })
})
