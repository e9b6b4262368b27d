/** Means, medians and spreads of measured values. */

/** Arithmetic mean; NaN for an empty list. */
export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

/** Standard deviation of a sample, with divisor n − 1; 0 for a single value. */
export function deviation(values: readonly number[]): number {
  const centre = mean(values)
  return Math.sqrt(values.reduce((a, v) => a + (v - centre) ** 2, 0) / Math.max(1, values.length - 1))
}

/** Ranks from 1; equal values share the mean of their ranks. */
function ranksOf(values: readonly number[]): number[] {
  return values.map((value) => {
    const below = values.filter((other) => other < value).length
    const equal = values.filter((other) => other === value).length
    return below + (equal + 1) / 2
  })
}

/** Spearman's rank correlation of two lists, from −1 to 1; NaN if all values of one are equal. */
export function rankCorrelation(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) throw new RangeError(`rankCorrelation: ${a.length} numbers against ${b.length}`)
  const [x, y] = [ranksOf(a), ranksOf(b)]
  const centre = (a.length + 1) / 2
  const product = (p: readonly number[], q: readonly number[]): number =>
    p.reduce((sum, v, i) => sum + (v - centre) * (q[i] - centre), 0)
  return product(x, y) / Math.sqrt(product(x, x) * product(y, y))
}

/** The values without NaN and infinities. */
export const finite = (values: readonly number[]): number[] => values.filter((v) => Number.isFinite(v))

/** The q-quantile, 0 ≤ q ≤ 1, with linear interpolation between the two nearest values. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError('quantile: needs at least one value')
  const sorted = [...values].sort((a, b) => a - b)
  const at = q * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below] + (at - below) * (sorted[above] - sorted[below])
}

/** Times are stated as medians: on a shared machine their distribution has a long tail, which shifts a mean. */
export const median = (values: readonly number[]): number => quantile(values, 0.5)

/** A median with the lower and upper quartile, in the unit of the values. */
export interface Summary {
  median: number
  low: number
  high: number
}

export const summarize = (values: readonly number[]): Summary => ({
  median: median(values),
  low: quantile(values, 0.25),
  high: quantile(values, 0.75),
})

/**
 * How many times longer `theirs` takes than `ours`: the ratio of the medians. The quartiles are those of the ratios of
 * single rounds, because both sides of a round ran under the same load of the machine.
 *
 * @param theirs one time for each round
 * @param ours one time for each round, in the same order
 */
export function ratio(theirs: readonly number[], ours: readonly number[]): Summary {
  if (theirs.length !== ours.length)
    throw new RangeError(`ratio: ${theirs.length} rounds against ${ours.length}; each round needs a time of both`)
  const { low, high } = summarize(theirs.map((t, i) => t / ours[i]))
  return { median: median(theirs) / median(ours), low, high }
}

/** max |a − b| / max |b|: the largest error relative to the largest value. NaN if a value is not finite. */
export function relativeError(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new RangeError(`relativeError: ${a.length} numbers against ${b.length}`)
  let difference = 0
  let largest = 0
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i])
    if (!Number.isFinite(d)) return NaN
    difference = Math.max(difference, d)
    largest = Math.max(largest, Math.abs(b[i]))
  }
  return difference === 0 ? 0 : difference / largest
}
