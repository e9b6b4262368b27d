/** Student's t distribution, 95 % intervals over seeds, and the verdict that follows from an interval. */
import { deviation, mean } from './statistics.js'

/** Probability that an interval contains the true mean. */
const CONFIDENCE = 0.95

/**
 * P(|T| ≤ t) of Student's t distribution, by the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
 *
 * @param freedom degrees of freedom, a positive integer
 */
export function studentCentral(t: number, freedom: number): number {
  const angle = Math.atan(Math.abs(t) / Math.sqrt(freedom))
  const [sine, cosine] = [Math.sin(angle), Math.cos(angle)]
  const odd = freedom % 2 === 1
  let term = odd ? cosine : 1
  let total = 0
  for (let power = odd ? 1 : 0; power <= freedom - 2; power += 2) {
    total += term
    term *= (cosine * cosine * (power + 1)) / (power + 2)
  }
  return odd ? (2 / Math.PI) * (angle + sine * total) : sine * total
}

/** The t for which P(|T| ≤ t) = `central`: 12.706 for one degree of freedom and 0.95. */
export function studentQuantile(freedom: number, central = CONFIDENCE): number {
  if (!Number.isInteger(freedom) || freedom < 1)
    throw new RangeError(`studentQuantile: ${freedom} degrees of freedom: must be a positive integer`)
  let [low, high] = [0, 1]
  while (studentCentral(high, freedom) < central) high *= 2
  for (let i = 0; i < 200 && high - low > 1e-12 * high; i++) {
    const middle = (low + high) / 2
    if (studentCentral(middle, freedom) < central) low = middle
    else high = middle
  }
  return high
}

/** A mean and its 95 % interval. One value alone gives no estimate of the spread: its interval is infinite. */
export interface Interval {
  mean: number
  low: number
  high: number
}

/**
 * The 95 % interval of a mean, by Student's t: mean ± t(n − 1) · s / √n. For differences by seed this is the paired
 * interval.
 */
export function interval(values: readonly number[]): Interval {
  const centre = mean(values)
  const n = values.length
  const half = n < 2 ? Infinity : (studentQuantile(n - 1) * deviation(values)) / Math.sqrt(n)
  return { mean: centre, low: centre - half, high: centre + half }
}

export type Verdict = 'agrees' | 'contradicts' | 'inconclusive'

/** The range in which the paper expects a statistic: above a number, below one, or within ± of zero. */
export type Bound = { above: number } | { below: number } | { within: number }

/** `agrees` if the whole interval lies in the expected range, `contradicts` if none of it does. */
export function verdictOf({ low, high }: Interval, bound: Bound): Verdict {
  const least = 'above' in bound ? bound.above : 'within' in bound ? -bound.within : -Infinity
  const most = 'below' in bound ? bound.below : 'within' in bound ? bound.within : Infinity
  if (low > least && high < most) return 'agrees'
  return high < least || low > most ? 'contradicts' : 'inconclusive'
}

/** The verdict over several claims: `contradicts` if one does, `agrees` only if all do. */
export function together(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes('contradicts')) return 'contradicts'
  return verdicts.length > 0 && verdicts.every((v) => v === 'agrees') ? 'agrees' : 'inconclusive'
}
