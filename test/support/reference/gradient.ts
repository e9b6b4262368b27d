import type { Tensor64 } from './tensor.js'

/**
 * Up to `limit` of `size` coordinates, spread evenly, with the first and the last. All of them if `limit` allows.
 */
export function coordinates(size: number, limit: number): number[] {
  if (size <= limit) return Array.from({ length: size }, (_, i) => i)
  return Array.from({ length: limit }, (_, i) => Math.round((i * (size - 1)) / (limit - 1)))
}

/**
 * Central differences (f(x + h) - f(x - h)) / 2h with respect to the given coordinates (all by default)
 * of inputs[which], with the other inputs fixed. The error is about h^2 f'''/6 + 1e-16 |f| / h.
 */
export function numericalGradient(
  f: (inputs: Tensor64[]) => number,
  inputs: readonly Tensor64[],
  which: number,
  h = 1e-5,
  at?: readonly number[],
): Float64Array {
  const moved = inputs.map((x) => ({ shape: x.shape, data: x.data.slice() }))
  const { data } = moved[which]
  return Float64Array.from(at ?? data.keys(), (i) => {
    const value = data[i]
    data[i] = value + h
    const above = f(moved)
    data[i] = value - h
    const below = f(moved)
    data[i] = value
    return (above - below) / (2 * h)
  })
}
