/** Medians and spreads: times on a shared machine have long tails, which means would follow. */

/** The q-quantile, 0 ≤ q ≤ 1, with linear interpolation between the two nearest values. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError('quantile: needs at least one value')
  const sorted = [...values].sort((a, b) => a - b)
  const at = q * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below] + (at - below) * (sorted[above] - sorted[below])
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

/** A median and the quartiles around it, in the unit of the values. */
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
 * How many times slower `theirs` is than `ours`: the ratio of medians, with the quartiles of the ratios of each
 * round, in which both met the same load of the machine.
 */
export function ratio(theirs: readonly number[], ours: readonly number[]): Summary {
  if (theirs.length !== ours.length)
    throw new RangeError(`ratio: ${theirs.length} rounds against ${ours.length}: rounds go in pairs`)
  const { low, high } = summarize(theirs.map((t, i) => t / ours[i]))
  return { median: median(theirs) / median(ours), low, high }
}

/** max |a − b| / max |b|: the largest error, in units of the largest value. NaN where a value is not finite. */
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
