/** Claims with their verdicts, as values and as text. */
import { interval, together, verdictOf, type Bound, type Verdict } from '../report/intervals.js'
import { finite } from '../report/statistics.js'
import { figure } from '../report/text.js'
import type { Claim, JudgedClaim } from './experiment.js'

/** The claim with its interval over the seeds that have a value. */
export function judge(claim: Claim): JudgedClaim {
  const values = finite(claim.perSeed)
  const over = values.length ? interval(values) : { mean: NaN, low: -Infinity, high: Infinity }
  return { ...claim, interval: over, verdict: verdictOf(over, claim.bound) }
}

export const verdictOfAll = (claims: readonly JudgedClaim[]): Verdict => together(claims.map(({ verdict }) => verdict))

/** The seeds for which a statistic has no value. */
export const seedsWithout = ({ perSeed }: Pick<Claim, 'perSeed'>, seeds: readonly number[]): number[] =>
  seeds.filter((_, i) => !Number.isFinite(perSeed[i]))

/** `seeds 1 and 3`, `seed 2`. */
export const seedList = (seeds: readonly number[]): string =>
  `seed${seeds.length > 1 ? 's' : ''} ${seeds.join(', ').replace(/, (\d+)$/, ' and $1')}`

/** `above 0`, `within ±2`. */
export const boundText = (bound: Bound): string =>
  'above' in bound ? `above ${bound.above}` : 'below' in bound ? `below ${bound.below}` : `within ±${bound.within}`

/**
 * `+2.30 [1.80, 2.80] points (3 seeds)`. Names the seeds without a value. A single value has no interval.
 *
 * @param seeds all seeds of the experiment
 */
export function intervalText(claim: JudgedClaim, seeds: readonly number[]): string {
  const { mean, low, high } = claim.interval
  const without = seedsWithout(claim, seeds)
  const count = seeds.length - without.length
  const seedText = without.length
    ? `${count} of ${seeds.length} seeds; no value for ${seedList(without)}`
    : count === 1
      ? 'one seed'
      : `${count} seeds`
  if (count === 0) return `– (${seedText})`
  const range = Number.isFinite(low) ? ` [${signed(low)}, ${signed(high)}]` : ''
  const unit = claim.unit && ` ${claim.unit}`
  // A statistic with an upper bound is a magnitude; the others are differences, which get a sign.
  const plus = 'below' in claim.bound || mean < 0 ? '' : '+'
  return `${plus}${signed(mean)}${range}${unit} (${seedText}${range ? '' : ': no interval'})`
}

const signed = (value: number): string => `${value < 0 ? '−' : ''}${figure(Math.abs(value))}`
