/** Experiments from their runs to the page. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { Context, Result } from '../../../bench/paper/experiment.js'
import { experiments } from '../../../bench/paper/experiments/index.js'
import { paperPage } from '../../../bench/paper/page.js'
import { keyOfRun, launchRuns, missingRuns, type Launcher } from '../../../bench/launch/launcher.js'
import { perform, requestsOf } from '../../../bench/paper/perform.js'
import { readResults, writeResult } from '../../../bench/paper/results.js'
import { Runs } from '../../../bench/runs/runs.js'
import { resolveConfig } from '../../../train/config/config.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'
import { tiny } from './synthetic_results.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('a result is written, read again with its infinite interval, and shown in a page that loads nothing', async () => {
  const [dynamics] = experiments
  const results: Result[] = []
  const short = {
    ...dynamics,
    seeds: { tiny: 1, small: 1, full: 1 },
    run: async () => ({
      claims: [{ statement: 'a < b', unit: 'points', perSeed: [1], bound: { above: 0 } }],
      table: { header: ['', 'x'], rows: [['row', '1']] },
      figures: [{ what: 'figure', paper: '86.43', ours: '12.3' }],
      plots: [{ name: 'plot', title: 'Plot', spec: { mark: 'point', data: { values: [{ x: 1 }] }, encoding: { x: { field: 'x', type: 'quantitative' } } } }], // prettier-ignore
      notes: ['a note'],
    }),
  }
  await perform(
    [short],
    {
      ...tiny,
      engine: await engine(),
      cache: folder,
      splits: () => Promise.reject(new Error('no data set is needed')),
      signal: new AbortController().signal,
      onProgress: () => undefined,
      onRun: () => undefined,
      onMessage: () => undefined,
    },
    async (result) => void results.push(result),
  )
  const written = await writeResult(folder, results[0])
  expect(written.map((path) => path.slice(folder.length + 1))).toEqual(['dynamics.json', 'dynamics-plot.svg'])
  expect(readFileSync(written[1], 'utf8')).toContain('xmlns="http://www.w3.org/2000/svg"')
  const read = await readResults(folder, ['views', 'dynamics'])
  expect(read).toHaveLength(1)
  expect(read[0].claims[0]).toMatchObject({ verdict: 'inconclusive', interval: { low: -Infinity, high: Infinity } })
  expect({ ...read[0], plots: [] }).toEqual({ ...results[0], plots: [] })

  // Damaged results do not keep the page from being written.
  const damages = ['{"experiment": "views"', 'null', '{}', JSON.stringify({ ...results[0], claims: [null] })]
  for (const damage of damages) {
    const said: string[] = []
    writeFileSync(join(folder, 'views.json'), damage)
    expect(await readResults(folder, ['views', 'dynamics'], (line) => said.push(line))).toEqual(read)
    expect(said).toEqual([expect.stringMatching(/^\S*views\.json: .*: it is left out of the page; run the experiment/)])
  }
  const page = await paperPage(read)
  expect(page).toContain("default-src 'none'")
  expect(page).not.toMatch(/(src|href)="(?!data:)/)
  for (const text of ['a &lt; b', '86.43', '12.3', 'a note', '<svg', 'inconclusive', 'one seed: no interval'])
    expect(page).toContain(text)
})

test('runs are made once and read at every checkpoint; a failed run is reported and left out of the statistic', async () => {
  const { images, height, width } = colourfulImages(24)
  const labels = Uint32Array.from({ length: 24 }, (_, i) => i % 3)
  const train = fromArrays({ images, height, width, labels, classes: ['a', 'b', 'c'] })
  const config = { data: 'own images', width: 4, views: 2, batch: 8, epochs: 2, checkpointEvery: 1, projectorDim: 8 }
  const readout = { views: 1, seeds: 1, epochs: 2, knn: false, trainPerClass: 4 }
  const arm = (name: string, changes: object) => ({
    name,
    config: { ...config, augmentation: { size: 8 }, ...changes },
    readout,
    curve: true,
  })
  const arms = [arm('usual', {}), arm('wild', { lr: 1e30 })]
  const made: string[] = []
  const results: Result[] = []
  const experiment = {
    ...experiments[0],
    seeds: { tiny: 2, small: 2, full: 2 },
    arms: () => arms,
    run: async ({ runs }: Context) => {
      const [usual, wild] = await runs(arms)
      expect(usual.seeds.map(({ readings }) => readings.map(({ epoch }) => epoch))).toEqual([
        [1, 2],
        [1, 2],
      ])
      const perSeed = usual.seeds.map(({ readings }, i) => readings[1].top1 - (wild.seeds[i].readings[0]?.top1 ?? NaN))
      const claims = [{ statement: '', unit: '', perSeed, bound: { above: 0 } }]
      return { claims, table: { header: [], rows: [] }, figures: [], plots: [], notes: [] }
    },
  }
  const options = {
    ...tiny,
    engine: await engine(),
    cache: join(folder, 'cache'),
    splits: () => Promise.resolve({ pretraining: train, train, test: { ...train, split: 'test' as const } }),
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onRun: (label: string) => void made.push(label),
    onMessage: () => undefined,
  }
  for (let time = 0; time < 2; time++) await perform([experiment], options, async (result) => void results.push(result))
  expect(made).toHaveLength(4)
  expect(results[1].runs).toEqual(results[0].runs)
  expect(results[0].runs).toHaveLength(2)
  expect(results[0].failures).toHaveLength(2)
  expect(results[0].failures[0]).toMatch(/^wild, seed 4: the loss is /)
  expect(results[0].verdict).toBe('inconclusive')
  expect(results[0].notes).toEqual([
    ': no value for seeds 4 and 5. Fewer than two seeds remain, so there is no verdict.',
  ])
  expect(results[0].adapter).toBe(options.engine.description)

  // A launcher makes the same runs elsewhere, those of all seeds at once, and none is made here.
  const elsewhereRoot = join(folder, 'launched')
  const launcher: Launcher = async (list, { root }) => {
    const runs = new Runs({ ...options, root })
    const failures = new Map<string, string>()
    for (const one of list) {
      const result = await runs.run(one.requests[0])
      if ('error' in result) failures.set(keyOfRun(one), result.error)
    }
    return failures
  }
  const missing = await missingRuns(elsewhereRoot, requestsOf([experiment], options), () => Promise.resolve(1))
  expect(missing).toHaveLength(4)
  const launched = await launchRuns(launcher, missing, {
    ...{ name: 'paper', root: elsewhereRoot, folder, signal: options.signal, say: () => undefined },
  })
  const byLauncher: Result[] = []
  await perform([experiment], { ...options, launched }, async (result) => void byLauncher.push(result))
  expect(made).toHaveLength(4)
  const withoutTimes = ({ runs }: Result) =>
    runs.map((run) => ({ ...run, readings: run.readings.map(({ seconds: _, ...rest }) => rest) }))
  expect(withoutTimes(byLauncher[0])).toEqual(withoutTimes(results[0]))
  expect(byLauncher[0].failures).toEqual(results[0].failures)

  // One of the cached runs was made on another adapter: its minutes cannot be compared.
  const { folder: elsewhere } = await new Runs({ ...options, root: options.cache }).run({
    config: resolveConfig({ ...arms[0].config, seed: 4 }),
    readout,
    curve: true,
  })
  const [file] = readdirSync(join(elsewhere, 'readings'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.json'),
  )
  const path = join(elsewhere, 'readings', file)
  writeFileSync(path, readFileSync(path, 'utf8').replace(options.engine.description, 'another'))
  await perform([experiment], options, async (result) => void results.push(result))
  expect(results[2].adapter.split('; ')).toEqual(expect.arrayContaining(['another', options.engine.description]))
  expect(results[2].notes.at(-1)).toMatch(/^The runs used more than one adapter \(.*another.*\): their minutes/)
})

test('figures are computed once; without runs an experiment whose figures are missing has no result', async () => {
  let computed = 0
  const experiment = {
    ...experiments[0],
    seeds: { tiny: 1, small: 1, full: 1 },
    arms: () => [],
    run: async ({ figures }: Context) => {
      const perSeed = await figures({ part: 'a test' }, async () => [++computed])
      const claims = [{ statement: '', unit: '', perSeed, bound: { above: 0 } }]
      return { claims, table: { header: [], rows: [] }, figures: [], plots: [], notes: [] }
    },
  }
  const said: string[] = []
  const results: Result[] = []
  const options = {
    ...tiny,
    engine: await engine(),
    cache: join(folder, 'figures'),
    splits: () => Promise.reject(new Error('no data set is needed')),
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onRun: () => undefined,
    onMessage: (line: string) => void said.push(line),
  }
  const add = async (result: Result) => void results.push(result)
  await perform([experiment], { ...options, soFar: true }, add)
  expect([computed, results.length, said]).toEqual([0, 0, ['dynamics: figures missing, no result yet']])
  await perform([experiment], options, add)
  await perform([experiment], { ...options, soFar: true }, add)
  expect(computed).toBe(1)
  expect(results.map(({ claims }) => claims[0].perSeed)).toEqual([[1], [1]])
})
