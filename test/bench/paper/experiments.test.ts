/** What experiments compute of readings, which runs they share, and the circle against its closed form. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { accuracyAt, secondsTo } from '../../../bench/paper/curves.js'
import {
  datasets,
  judge,
  type Arm,
  type ArmResult,
  type Context,
  type PaperFigure,
  type Result,
  type Setup,
} from '../../../bench/paper/experiment.js'
import { closedForm, descend, eigenvalue, halfTimes, spread } from '../../../bench/paper/experiments/dynamics.js'
import { experiments, experimentsFor } from '../../../bench/paper/experiments/index.js'
import { frontOf } from '../../../bench/paper/experiments/pareto.js'
import { perform } from '../../../bench/paper/perform.js'
import { figuresTable, intervalText, paperReport, readResults, writeResult } from '../../../bench/paper/report.js'
import type { Bound, Verdict } from '../../../bench/paper/statistics.js'
import type { Reading } from '../../../bench/runs.js'
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

/**
 * What a run is worth in %, so that the least difference between two arms shows:
 *
 *   40 + 2 log₂ m + 3 log₂ (images / 20 %) + ½ log₂ (d / 64) + 2 log₁₀ (constraint / the baseline's)
 *      − 1.5 without the stem's ReLU + 0.7 with batch-norm per view + epoch + 0.3 seed + 0.1 seed log₂ (m / 2)
 *
 * The constraint is λ of Barlow Twins (the baseline's .0004) and 1 / λ of VICReg (1 / 750).
 */
function worth(arm: Arm, epoch: number, seed: number): number {
  const { views, fraction, projectorDim, objective, lambda, stemRelu, bn } = resolveConfig(arm.config)
  const constraint = objective === 'vicreg' ? 750 / lambda! : lambda! / 0.0004
  const [more, wider] = [Math.log2(views / 2), Math.log2(projectorDim / 64)]
  const modes = (stemRelu ? 0 : -1.5) + (bn === 'per-view' ? 0.7 : 0)
  const data = 3 * Math.log2(fraction / 0.2)
  return 42 + 2 * more + data + wider / 2 + 2 * Math.log10(constraint) + modes + epoch + 0.3 * seed + 0.1 * seed * more
}

/** Ten seconds an epoch for each view of all images, and twice that at d = 1024. */
function secondsOf(arm: Arm, epoch: number): number {
  const { views, fraction, projectorDim } = resolveConfig(arm.config)
  return 10 * epoch * views * (fraction / 0.2) * (1 + projectorDim / 1024)
}

const tiny: Setup = { scale: 'tiny', dataset: 'cifar10' }

/** @param kept what lies in the cache: all, if it is not said */
async function contextOf(setup: Setup, { kept = () => true }: { kept?: (arm: Arm) => boolean } = {}) {
  const asked: string[] = []
  const made = (arms: readonly Arm[], there: (arm: Arm) => boolean): ArmResult[] =>
    arms.map((arm) => {
      const { epochs, checkpointEvery } = resolveConfig(arm.config)
      const all = Array.from({ length: epochs / checkpointEvery }, (_, i) => (i + 1) * checkpointEvery)
      const seeds = [1, 2, 3].map((seed) => ({
        seed,
        readings: there(arm)
          ? (arm.curve ? all : all.slice(-1)).map((epoch) => ({
              ...reading(epoch, secondsOf(arm, epoch), worth(arm, epoch, seed) / 100),
              views: arm.readout.views,
              knn20: worth(arm, epoch, seed) / 100 - 0.05,
            }))
          : [],
      }))
      return { arm, seeds }
    })
  const context: Context = {
    ...setup,
    engine: await engine(),
    seeds: [1, 2, 3],
    runs: async (arms) => {
      asked.push(...arms.map(({ name }) => name))
      return made(arms, () => true)
    },
    atHand: async (arms) => made(arms, kept),
    onProgress: () => undefined,
    signal: new AbortController().signal,
  }
  return { context, asked }
}

const named = (name: string) => experiments.find((e) => e.name === name)!

/** Each claim's verdict and values by seed against those worked out by hand. */
async function expectClaims(name: string, expected: [Verdict, (seed: number) => number][], kept?: (a: Arm) => boolean) {
  const { claims } = await named(name).run((await contextOf(tiny, { kept })).context)
  expect(claims).toHaveLength(expected.length)
  claims.forEach((claim, i) => {
    const [verdict, value] = expected[i]
    claim.perSeed.forEach((v, s) => expect(v, `${claim.statement}, seed ${s + 1}`).toBeCloseTo(value(s + 1), 9))
    expect(judge(claim).verdict, claim.statement).toBe(verdict)
  })
}

const { log2, log10 } = Math

describe('statistics by seed are those worked out by hand', () => {
  test('views', () =>
    expectClaims('views', [
      // Two doublings of the views at two points each, and λ of .01 for .02.
      ['agrees', (seed) => 4 - 2 * log10(2) + 0.2 * seed],
      // The two views' 4 epochs take as long as the four views' first two.
      ['contradicts', (seed) => 2 - 2 * log10(2) - 2 + 0.1 * seed],
    ]))

  test('fraction', () =>
    expectClaims('fraction', [
      ['inconclusive', (seed) => 2 - 3 - 2 * log10(2) + 0.1 * seed],
      ['contradicts', (seed) => 4 - 6 - 2 * log10(0.02 / 0.006) + 0.2 * seed],
    ]))

  test('projector', () =>
    expectClaims('projector', [
      ['agrees', () => 2 * log10(100)],
      // The wide one is better with its own λ of .002, five times the baseline's, and by two points for its width.
      ['agrees', () => 2 * log10(100) - (2 * log10(5) + 2)],
      ['agrees', () => 2 * log10(37.5)],
      ['contradicts', () => 2 * log10(37.5) - (2 * log10(30) + 2)],
    ]))

  test('fidelity', () => expectClaims('fidelity', [['contradicts', () => -1.5 - 0.7]]))

  test('time-to', () => {
    // The baseline at its end, after 160 s, above 42 + 0.3 seed: two points for its width, λ five times, 4 epochs.
    const goal = 2 + 2 * log10(5) + 4
    // Four views, 50 s an epoch, and how many epochs they need for it.
    const epochs = (seed: number) => goal - (2 + 1 + 2 * log10(25) + 0.1 * seed)
    return expectClaims('time-to', [
      ['agrees', (seed) => log2(160 / (50 * epochs(seed)))],
      // Eight have it at their first checkpoint, after 100 s.
      ['agrees', () => log2(160 / 100)],
    ])
  })

  // Within the time of two views the best reading of more is that of eight after an epoch.
  const eight = (seed: number) => 4 + 1 + 2 * log10(25) + 1 + 0.2 * seed
  test('pareto, with all runs at hand: batch-norm per view is the best of two views', () =>
    expectClaims('pareto', [['inconclusive', (seed) => eight(seed) - (1 + 2 * log10(50) + 4 + 0.7)]]))
  test('pareto, with none at hand but its own', () =>
    expectClaims('pareto', [['agrees', (seed) => eight(seed) - (1 + 2 * log10(50) + 4)]], () => false))
})

test('pareto makes the runs of views and of fewer images, and no others', async () => {
  const { context, asked } = await contextOf(tiny, { kept: () => false })
  await named('pareto').run(context)
  expect(asked).toEqual(['2 views', '4 views', '8 views', '4 views @ 50 %', '8 views @ 25 %'])
  expect(asked).toEqual(
    named('pareto')
      .arms(tiny)
      .map(({ name }) => name),
  )
})

test('a run that never gets there counts with twice its whole time', async () => {
  const { context } = await contextOf(tiny)
  const runs: Context['runs'] = async (arms) =>
    (await context.runs(arms)).map((result) => ({
      ...result,
      seeds: result.arm.config.views === 4 ? result.seeds.map((s) => ({ ...s, readings: s.readings.slice(0, 1) })) : result.seeds, // prettier-ignore
    }))
  const { claims, table } = await named('time-to').run({ ...context, runs })
  claims[0].perSeed.forEach((v) => expect(v).toBeCloseTo(log2(160 / (2 * 50)), 9))
  expect(table.rows.find(([name]) => name === '4 views')![1]).toBe('never')
})

describe('figures beside the paper’s', () => {
  const figuresAt = async (setup: Setup) => {
    const lists: { experiment: string; figure: PaperFigure }[] = []
    for (const experiment of experimentsFor('all', setup).filter(({ name }) => name !== 'dynamics')) {
      const { figures } = await experiment.run((await contextOf(setup)).context)
      const readouts = new Set(experiment.arms(setup).map(({ readout }) => readout.views))
      for (const figure of figures) {
        if (!figure.what.startsWith('minutes of'))
          expect([...readouts], `${experiment.name}: ${figure.what}`).toContain(figure.ourViews)
        lists.push({ experiment: experiment.name, figure })
      }
    }
    return lists
  }
  const full = datasets.map((dataset): Setup => ({ scale: 'full', dataset, dataDir: 'pictures' }))

  test.each(full)('at full scale on $dataset those of its data set are read with as many views', async (setup) => {
    const list = await figuresAt(setup)
    const same = list.filter(({ figure }) => !figure.differs!.some((why) => /^\S+, not (CIFAR|ImageNet)/.test(why)))
    for (const { experiment, figure } of same)
      if (figure.paperViews !== undefined)
        expect(figure.ourViews, `${experiment}: ${figure.what}`).toBe(figure.paperViews)
    const comparable = list.filter(({ figure }) => figure.differs!.length === 0).map(({ figure }) => figure.paper)
    expect(comparable).toEqual(
      {
        cifar10: ['86.43 ± 0.72', '92.71 ± 0.19', 'fewer minutes with 4 and 8 views', 'about as good', '83.75', 'runs with more views are on it'], // prettier-ignore
        stl10: [],
        imagenet100: ['they match'],
      }[setup.dataset],
    )
  })

  test('are ours of the arm that they name', async () => {
    const { figures } = await named('views').run((await contextOf(full[0])).context)
    const [two, eight, ...elsewhere] = figures
    // Over seeds: 42 + 1 + λ, 100 epochs, all images, and 0.3 of the middle seed; the spread is that of the seeds.
    const base = 42 + 1 + 3 * log2(5) + 0.6
    expect(two.ours).toBe(`${(base + 100 + 2 * log10(50)).toFixed(2)} ± 0.30`)
    expect(eight.ours).toBe(`${(base + 100 + 2 * log10(25) + 4 + 0.4).toFixed(2)} ± 0.50`)
    expect(elsewhere.map(({ paper }) => paper)).toEqual(['90.7', '93.1'])
    expect(elsewhere[0].ours).toBe(`${(base + 10 + 2 * log10(25) + 4 + 0.4).toFixed(2)} ± 0.50`)
  })

  test('say at tiny scale what keeps them from comparing', async () => {
    const { figures } = await named('views').run((await contextOf(tiny)).context)
    expect(figures[0]).toMatchObject({
      paperViews: 16,
      ourViews: 1,
      differs: [
        'ResNet-18, not ResNet-50',
        'width 8, not 64',
        '16 px, not 32',
        '20 % of the images, not 100',
        '4 epochs, not 100',
        'views read: 1, not 16',
      ],
    })
    const page = figuresTable({ figures })
    expect(page.rows[0].slice(2, 5)).toEqual(['16', figures[0].ours, '1'])
    expect(page.rows[0][5]).toMatch(/^not comparable: ResNet-18, not ResNet-50; width 8, not 64; /)
  })
})

test('plots and tables of accuracies say how many views were read', async () => {
  for (const [setup, text] of [
    [tiny, '1 view'],
    [{ scale: 'full', dataset: 'cifar10' }, '16 views'],
  ] as const)
    for (const name of ['views', 'fraction', 'time-to', 'pareto']) {
      const { plots, table } = await named(name).run((await contextOf(setup)).context)
      for (const { spec } of plots) expect(JSON.stringify(spec), name).toMatch(new RegExp(`, ${text}"`))
      expect(table.header.at(-1)).toBe('views read')
      for (const row of table.rows) expect(row.at(-1)).toBe(text.split(' ')[0])
    }
  for (const name of ['projector', 'fidelity'])
    for (const { spec } of (await named(name).run((await contextOf(tiny)).context)).plots)
      expect(JSON.stringify(spec), name).toContain(', 1 view"')
})

describe('the text of a claim', () => {
  const claim = (perSeed: number[], bound: Bound = { above: 0 }) =>
    judge({ statement: 'x', unit: 'points', perSeed, bound })
  test('states its seeds', () => {
    expect(intervalText(claim([2.1, 2.3, 2.5]), [1, 2, 3])).toBe('+2.30 [1.80, 2.80] points (3 seeds)')
    expect(intervalText(claim([-2, -2, -2], { below: 0 }), [1, 2, 3])).toBe('−2.00 [−2.00, −2.00] points (3 seeds)')
    expect(intervalText(claim([1], { below: 2 }), [1])).toBe('1.00 points (one seed: no interval)')
  })
  test('names the seeds that have no value', () => {
    expect(intervalText(claim([2, NaN, 2]), [1, 2, 3])).toBe('+2.00 [2.00, 2.00] points (2 of 3 seeds; none of seed 2)')
    const alone = claim([NaN, 2, NaN])
    expect(intervalText(alone, [1, 2, 3])).toBe('+2.00 points (1 of 3 seeds; none of seeds 1 and 3: no interval)')
    expect(alone.verdict).toBe('inconclusive')
    expect(intervalText(claim([NaN, NaN]), [1, 2])).toBe('– (0 of 2 seeds; none of seeds 1 and 2)')
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
})
