/** Statistics, signs, pairings and verdicts of the experiments, against values worked out by hand. */
import { describe, expect, test } from 'vitest'
import { judge, type Arm, type Context } from '../../../bench/paper/experiment.js'
import { intervalText } from '../../../bench/paper/report.js'
import type { Bound, Verdict } from '../../../bench/runs/intervals.js'
import { contextOf, named, tiny } from './made_up.js'

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
