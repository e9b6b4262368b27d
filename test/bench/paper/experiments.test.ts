/** What experiments compute of readings, which runs they share, and the circle against its closed form. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { viewsArm } from '../../../bench/paper/arms.js'
import { accuracyAt, secondsTo } from '../../../bench/paper/curves.js'
import { scales, type ArmResult, type Context, type Result } from '../../../bench/paper/experiment.js'
import { closedForm, descend, eigenvalue, halfTimes, spread } from '../../../bench/paper/experiments/dynamics.js'
import { experiments } from '../../../bench/paper/experiments/index.js'
import { frontOf } from '../../../bench/paper/experiments/pareto.js'
import { perform } from '../../../bench/paper/perform.js'
import { paperReport, readResults, writeResult } from '../../../bench/paper/report.js'
import { keyOf, type Reading } from '../../../bench/runs.js'
import { resolveConfig } from '../../../train/config.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

const reading = (epoch: number, seconds: number, top1: number): Reading => ({
  step: 10 * epoch,
  epoch,
  seconds,
  views: 1,
  top1,
  top5: 1,
  testCount: 100,
})

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

describe('the experiments', () => {
  test.each(scales)('name runs at scale %s that the configuration takes, each with 1 to 5 seeds', (scale) => {
    for (const { arms, seeds } of experiments) {
      expect(seeds[scale]).toBeGreaterThanOrEqual(1)
      expect(seeds[scale]).toBeLessThanOrEqual(5)
      for (const arm of arms(scale)) expect(() => resolveConfig({ ...arm.config, seed: 1 })).not.toThrow()
    }
  })

  test('have the paper’s λ for views and shares of the data', () => {
    const lambda = (views: number, share: number) => viewsArm('full', views, share).config.lambda
    expect([lambda(2, 1), lambda(4, 1), lambda(8, 1), lambda(4, 0.5), lambda(8, 0.25)]).toEqual([
      0.02, 0.01, 0.01, 0.01, 0.006,
    ])
    expect(() => viewsArm('full', 3)).toThrow('no λ for 3 views')
  })

  test('share runs: the tiny set is smaller than the sum of its parts', () => {
    const keys = experiments.flatMap(({ arms }) =>
      arms('tiny').map(({ config }) => keyOf(resolveConfig({ ...config, seed: 1 }))),
    )
    const named = (name: string) => experiments.find((e) => e.name === name)!.arms('tiny')
    expect(new Set(keys).size).toBeLessThan(keys.length - 5)
    // All of time-to's runs are of views, fraction and projector.
    const others = ['views', 'fraction', 'projector'].flatMap(named).map(({ config }) => keyOf(resolveConfig(config)))
    for (const { config } of named('time-to')) expect(others).toContain(keyOf(resolveConfig(config)))
  })

  /** Every run ends at an accuracy that grows with the views and the epochs, and a little with the seed. */
  const contextOf = async (): Promise<Context> => {
    const made = async (arms: Parameters<Context['runs']>[0]): Promise<ArmResult[]> =>
      arms.map((arm) => ({
        arm,
        seeds: [1, 2, 3].map((seed) => ({
          seed,
          readings: [1, 2, 3, 4].map((epoch) =>
            reading(
              epoch,
              10 * epoch * arm.config.views!,
              0.1 + 0.02 * epoch + 0.05 * arm.config.views! + 0.001 * seed,
            ),
          ),
        })),
      }))
    return {
      engine: await engine(),
      scale: 'tiny',
      seeds: [1, 2, 3],
      runs: made,
      atHand: made,
      onProgress: () => undefined,
      signal: new AbortController().signal,
    }
  }

  test('compute their statistics seed by seed', async () => {
    const context = await contextOf()
    const claims = async (name: string) => (await experiments.find((e) => e.name === name)!.run(context)).claims
    const [epochs] = await claims('views')
    for (const value of epochs.perSeed) expect(value).toBeCloseTo(30)
    const [half, quarter] = await claims('fraction')
    for (const value of half.perSeed) expect(value).toBeCloseTo(10)
    for (const value of quarter.perSeed) expect(value).toBeCloseTo(30)
    // 80 s for the baseline; 4 views have its accuracy at their first checkpoint, after 40 s.
    const [four] = await claims('time-to')
    for (const value of four.perSeed) expect(value).toBeCloseTo(1)
    const [equal] = await claims('fidelity')
    for (const value of equal.perSeed) expect(value).toBeCloseTo(0)
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
      engine: await engine(),
      scale: 'tiny',
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
    engine: await engine(),
    scale: 'tiny' as const,
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
})
