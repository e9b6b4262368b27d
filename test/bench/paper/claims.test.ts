/** Statistics and verdicts of the experiments against values computed by hand. */
import { describe, expect, test } from 'vitest'
import { intervalText, judge, verdictOfAll } from '../../../bench/paper/claims.js'
import type { Context } from '../../../bench/paper/experiment.js'
import { interval, type Bound, type Verdict } from '../../../bench/report/intervals.js'
import { contextOf, experimentNamed, tiny } from './synthetic_results.js'

/** Compares the verdict and the values by seed of each claim with expected ones. */
async function expectClaims(name: string, expected: [Verdict, (seed: number) => number][]) {
  const { claims } = await experimentNamed(name).run((await contextOf(tiny)).context)
  expect(claims).toHaveLength(expected.length)
  claims.forEach((claim, i) => {
    const [verdict, value] = expected[i]
    claim.perSeed.forEach((v, s) => expect(v, `${claim.statement}, seed ${s + 1}`).toBeCloseTo(value(s + 1), 9))
    expect(judge(claim).verdict, claim.statement).toBe(verdict)
  })
}

const { log2, log10 } = Math

describe('statistics by seed equal the values computed by hand', () => {
  test('views', () =>
    expectClaims('views', [
      // Two doublings of the views give two points each; λ is 0.01 instead of 0.02.
      ['agrees', (seed) => 4 - 2 * log10(2) + 0.2 * seed],
      // 4 epochs with two views take as long as 2 epochs with four views.
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
      // The wide projector is better with its best λ of 0.002, five times the baseline's, and has two points for its width.
      ['agrees', () => 2 * log10(100) - (2 * log10(5) + 2)],
      ['agrees', () => 2 * log10(37.5)],
      ['contradicts', () => 2 * log10(37.5) - (2 * log10(30) + 2)],
    ]))

  test('fidelity: all accidents, then each alone, then those of BYOL', () =>
    expectClaims('fidelity', [
      ['agrees', () => -1.5],
      ...[0, -1.5, 0, 0, 0, 0.7, 0].map((points): [Verdict, () => number] => ['agrees', () => points]),
    ]))

  test('time-to', () => {
    // The baseline ends after 160 s. Above 42 + 0.3 · seed: two points for its width, five times λ, 4 epochs.
    const goal = 2 + 2 * log10(5) + 4
    // The epochs that four views need for the goal.
    const epochs = (seed: number) => goal - (2 + 1 + 2 * log10(25) + 0.1 * seed)
    return expectClaims('time-to', [
      ['agrees', (seed) => log2(160 / (50 * epochs(seed)))],
      // Eight views reach the goal at their first checkpoint, after 100 s.
      ['agrees', () => log2(160 / 100)],
    ])
  })

  // Within the time of two views, the best reading of more views is that of eight views after one epoch.
  const eight = (seed: number) => 4 + 1 + 2 * log10(25) + 1 + 0.2 * seed
  test('pareto', () => expectClaims('pareto', [['agrees', (seed) => eight(seed) - (1 + 2 * log10(50) + 4)]]))
})

test('a run that never reaches the goal counts with twice its whole time', async () => {
  const { context } = await contextOf(tiny)
  const timedRuns: Context['timedRuns'] = async (arms) =>
    (await context.timedRuns(arms)).map((result) => ({
      ...result,
      seeds: result.arm.config.views === 4 ? result.seeds.map((s) => ({ ...s, readings: s.readings.slice(0, 1) })) : result.seeds, // prettier-ignore
    }))
  const { claims, table } = await experimentNamed('time-to').run({ ...context, timedRuns })
  claims[0].perSeed.forEach((v) => expect(v).toBeCloseTo(log2(160 / (2 * 50)), 9))
  expect(table.rows.find(([name]) => name === '4 views')![1]).toBe('never')
})

describe('the text of a claim', () => {
  const claim = (perSeed: number[], bound: Bound = { above: 0 }) =>
    judge({ statement: 'x', unit: 'points', perSeed, bound })
  test('states the number of seeds', () => {
    expect(intervalText(claim([2.1, 2.3, 2.5]), [1, 2, 3])).toBe('+2.30 [1.80, 2.80] points (3 seeds)')
    expect(intervalText(claim([-2, -2, -2], { below: 0 }), [1, 2, 3])).toBe('−2.00 [−2.00, −2.00] points (3 seeds)')
    expect(intervalText(claim([1], { below: 2 }), [1])).toBe('1.00 points (one seed: no interval)')
  })
  test('names the seeds without a value', () => {
    expect(intervalText(claim([2, NaN, 2]), [1, 2, 3])).toBe(
      '+2.00 [2.00, 2.00] points (2 of 3 seeds; no value for seed 2)',
    )
    const alone = claim([NaN, 2, NaN])
    expect(intervalText(alone, [1, 2, 3])).toBe('+2.00 points (1 of 3 seeds; no value for seeds 1 and 3: no interval)')
    expect(alone.verdict).toBe('inconclusive')
    expect(intervalText(claim([NaN, NaN]), [1, 2])).toBe('– (0 of 2 seeds; no value for seeds 1 and 2)')
  })
})

test('a verdict leaves out failed seeds, and is inconclusive without any value', () => {
  const claim = { statement: '', unit: '', bound: { above: 0 } }
  expect(judge({ ...claim, perSeed: [1, NaN, 1.1] }).interval).toEqual(interval([1, 1.1]))
  const none = judge({ ...claim, perSeed: [NaN, NaN] })
  expect(none.verdict).toBe('inconclusive')
  expect(verdictOfAll([none])).toBe('inconclusive')
})
