/** Curves, the circle against its closed form, and results from a run to the page. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { accuracyAt, secondsTo } from '../../../bench/paper/curves.js'
import { judge, type Context, type Result } from '../../../bench/paper/experiment.js'
import { closedForm, descend, eigenvalue, halfTimes, spread } from '../../../bench/paper/experiments/dynamics.js'
import { experiments } from '../../../bench/paper/experiments/index.js'
import { frontOf } from '../../../bench/paper/experiments/pareto.js'
import { perform } from '../../../bench/paper/perform.js'
import { paperReport, readResults, writeResult } from '../../../bench/paper/report.js'
import { Runs } from '../../../bench/runs/runs.js'
import { resolveConfig } from '../../../train/config/config.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'
import { contextOf, named, reading, tiny } from './made_up.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('curves', () => {
  const curve = [reading(1, 10, 0.2), reading(2, 20, 0.4), reading(3, 30, 0.5)]
  test('give the accuracy at a time', () => {
    expect(accuracyAt(curve, 5)).toBeNaN()
    expect(accuracyAt(curve, 10)).toBeCloseTo(20)
    expect(accuracyAt(curve, 15)).toBeCloseTo(30)
    expect(accuracyAt(curve, 99)).toBeCloseTo(50)
    expect(accuracyAt([], 5)).toBeNaN()
  })
  test('give the time to an accuracy', () => {
    expect(secondsTo(curve, 10)).toBe(10)
    expect(secondsTo(curve, 30)).toBeCloseTo(15)
    expect(secondsTo(curve, 51)).toBe(Infinity)
  })
  test('have a front: what no other beats in both', () => {
    const points = [
      { x: 2, y: 5 },
      { x: 1, y: 6 },
      { x: 3, y: 5 },
      { x: 1, y: 7 },
      { x: 4, y: 1 },
    ]
    expect(frontOf(points)).toEqual([points[1], points[0], points[4]])
  })
})

describe('the circle', () => {
  test('closed form of the scales', () => {
    expect(eigenvalue(1)).toBeCloseTo(Math.sin(0.4) / 0.4, 12)
    expect(closedForm(8, 0.1)).toBe(0)
    expect(closedForm(4, 5)).toBeCloseTo(1 - (1 - Math.sin(1.6) / 1.6) ** 2 / 10, 12)
  })

  test('gradient descent on the engine ends at it', async () => {
    const setting = { name: '', beta: 0.3, step: 0.15, readings: 20, stride: 12 }
    const { scales: over, times } = await descend(await engine(), 9, 3, setting)
    expect(times).toHaveLength(20)
    const last = over[over.length - 1]
    expect(last).toHaveLength(4)
    last.forEach((value, i) => expect(Math.abs(value - closedForm(i + 1, 0.3))).toBeLessThan(1e-3))
  })

  test('the experiment has both claims on its side, low β one after another', async () => {
    const { context } = await contextOf(tiny)
    const { claims } = await named('dynamics').run({ ...context, seeds: [1, 2] })
    expect(claims.map((claim) => judge(claim).verdict)).toEqual(['agrees', 'agrees'])
    for (const error of claims[0].perSeed) expect(error).toBeLessThan(1e-5)
    for (const difference of claims[1].perSeed) expect(difference).toBeGreaterThan(0.9)
  })

  test('half-times are interpolated, and their spread is relative', () => {
    const trajectory = { times: [0, 1, 2], scales: [[0, 0], [0.5, 0.25], [0.8, 1]] } // prettier-ignore
    expect(halfTimes(trajectory, [1, 2])).toEqual([0.8, 1 + 0.25 / 0.75])
    expect(spread([1, 3])).toBe(1)
  })
})

test('a result is written, read again with its open interval, and stands in a page that fetches nothing', async () => {
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
      splits: () => Promise.reject(new Error('not asked for')),
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
  const page = await paperReport(read)
  expect(page).toContain("default-src 'none'")
  expect(page).not.toMatch(/(src|href)="(?!data:)/)
  for (const text of ['a &lt; b', '86.43', '12.3', 'a note', '<svg', 'inconclusive', 'one seed: no interval'])
    expect(page).toContain(text)
})

test('runs are made once, read at every checkpoint, and a failing one is said and left out of the statistic', async () => {
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
  expect(results[0].failures[0]).toMatch(/^wild, seed 1: the loss is /)
  expect(results[0].verdict).toBe('inconclusive')
  expect(results[0].notes).toEqual([
    ': there is no value of seeds 1 and 2, and fewer than two seeds are left, and nothing follows.',
  ])
  expect(results[0].adapter).toBe(options.engine.description)

  // A run of the cache that another adapter made: its minutes are not this one's.
  const { folder: elsewhere } = await new Runs({ ...options, root: options.cache }).run({
    config: resolveConfig({ ...arms[0].config, seed: 1 }),
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
  expect(results[2].notes.at(-1)).toMatch(/^The runs were made on more than one adapter \(.*another.*\): their minutes/)
})
