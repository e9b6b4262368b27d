/** Student's t, paired intervals over seeds, and the verdict that follows from one. */

/** Share of the intervals that hold the true mean. */
const CONFIDENCE = 0.95

/**
 * P(|T| ≤ t) of Student's t with a whole number of degrees of freedom: the finite sums of Abramowitz and Stegun,
 * 26.7.3 and 26.7.4.
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

/** The t that |T| does not pass with a probability of `central`: 12.706 for one degree of freedom and .95. */
export function studentQuantile(freedom: number, central = CONFIDENCE): number {
  if (!Number.isInteger(freedom) || freedom < 1)
    throw new RangeError(`studentQuantile: ${freedom} degrees of freedom are no positive whole number`)
  let [low, high] = [0, 1]
  while (studentCentral(high, freedom) < central) high *= 2
  for (let i = 0; i < 200 && high - low > 1e-12 * high; i++) {
    const middle = (low + high) / 2
    if (studentCentral(middle, freedom) < central) low = middle
    else high = middle
  }
  return high
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

/** Of a sample: divisor n − 1; 0 for a single value. */
export function deviation(values: readonly number[]): number {
  const centre = mean(values)
  return Math.sqrt(values.reduce((a, v) => a + (v - centre) ** 2, 0) / Math.max(1, values.length - 1))
}

/** A mean and its 95 % interval; one seed says nothing of the spread, and its interval is everything. */
export interface Interval {
  mean: number
  low: number
  high: number
}

/** The 95 % interval of a mean, by Student's t: mean ± t(n − 1) · s / √n. Of differences by seed it is the paired one. */
export function interval(values: readonly number[]): Interval {
  const centre = mean(values)
  const n = values.length
  const half = n < 2 ? Infinity : (studentQuantile(n - 1) * deviation(values)) / Math.sqrt(n)
  return { mean: centre, low: centre - half, high: centre + half }
}

export type Verdict = 'agrees' | 'contradicts' | 'inconclusive'

/** What a statistic must be for the paper to be right: above a number, below one, or within ± of zero. */
export type Bound = { above: number } | { below: number } | { within: number }

/** The paper is right or wrong only where the whole interval says so. */
export function verdictOf({ low, high }: Interval, bound: Bound): Verdict {
  const least = 'above' in bound ? bound.above : 'within' in bound ? -bound.within : -Infinity
  const most = 'below' in bound ? bound.below : 'within' in bound ? bound.within : Infinity
  if (low > least && high < most) return 'agrees'
  return high < least || low > most ? 'contradicts' : 'inconclusive'
}

/** Of several claims: one that is contradicted contradicts all; all must agree. */
export function together(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes('contradicts')) return 'contradicts'
  return verdicts.length > 0 && verdicts.every((v) => v === 'agrees') ? 'agrees' : 'inconclusive'
}
