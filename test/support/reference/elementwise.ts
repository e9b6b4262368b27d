import { map, sizeOf, tensor64, type Tensor64 } from './tensor.js'

/** f over two tensors, with NumPy's broadcasting: shapes are aligned at the last axis, and axes of size 1 repeat. */
function broadcast(a: Tensor64, b: Tensor64, f: (x: number, y: number) => number): Tensor64 {
  const rank = Math.max(a.shape.length, b.shape.length)
  const pad = (shape: number[]) => [...Array<number>(rank - shape.length).fill(1), ...shape]
  const [sa, sb] = [pad(a.shape), pad(b.shape)]
  const y = tensor64(sa.map((d, i) => Math.max(d, sb[i])))
  const position = (shape: number[], index: number[]) =>
    shape.reduce((flat, d, axis) => flat * d + (d === 1 ? 0 : index[axis]), 0)
  for (let i = 0; i < y.data.length; i++) {
    const index: number[] = []
    for (let axis = rank - 1, rest = i; axis >= 0; axis--) {
      index[axis] = rest % y.shape[axis]
      rest = Math.floor(rest / y.shape[axis])
    }
    y.data[i] = f(a.data[position(sa, index)], b.data[position(sb, index)])
  }
  return y
}

export const add = (a: Tensor64, b: Tensor64) => broadcast(a, b, (x, y) => x + y)
export const subtract = (a: Tensor64, b: Tensor64) => broadcast(a, b, (x, y) => x - y)
export const multiply = (a: Tensor64, b: Tensor64) => broadcast(a, b, (x, y) => x * y)
export const divide = (a: Tensor64, b: Tensor64) => broadcast(a, b, (x, y) => x / y)
export const affine = (x: Tensor64, factor: number, offset = 0) => map(x, (v) => factor * v + offset)
export const relu = (x: Tensor64) => map(x, (v) => Math.max(0, v))
export const square = (x: Tensor64) => map(x, (v) => v * v)
export const sin = (x: Tensor64) => map(x, Math.sin)
export const cos = (x: Tensor64) => map(x, Math.cos)
export const sqrt = (x: Tensor64) => map(x, Math.sqrt)
export const exp = (x: Tensor64) => map(x, Math.exp)
export const log = (x: Tensor64) => map(x, Math.log)

/** Sum over the given axes (all by default). Summed axes are dropped, or kept with size 1. */
export function sum(x: Tensor64, axes: readonly number[] = x.shape.map((_, i) => i), keepAxes = false): Tensor64 {
  const kept = x.shape.map((d, axis) => (axes.includes(axis) ? 1 : d))
  const y = tensor64(kept)
  for (let i = 0; i < x.data.length; i++) {
    let flat = 0
    for (let axis = x.shape.length - 1, rest = i, stride = 1; axis >= 0; axis--) {
      if (!axes.includes(axis)) flat += (rest % x.shape[axis]) * stride
      rest = Math.floor(rest / x.shape[axis])
      stride *= kept[axis]
    }
    y.data[flat] = y.data[flat] + x.data[i]
  }
  return { shape: keepAxes ? kept : x.shape.filter((_, axis) => !axes.includes(axis)), data: y.data }
}

export function mean(x: Tensor64, axes?: readonly number[], keepAxes = false): Tensor64 {
  const total = sum(x, axes, keepAxes)
  return affine(total, total.data.length / x.data.length)
}

/** Rows (slices of the first axis) of x by index; an index may repeat. */
export function gather(x: Tensor64, indices: ArrayLike<number>): Tensor64 {
  const row = sizeOf(x.shape.slice(1))
  const y = tensor64([indices.length, ...x.shape.slice(1)])
  for (let i = 0; i < indices.length; i++)
    y.data.set(x.data.subarray(indices[i] * row, (indices[i] + 1) * row), i * row)
  return y
}

/** sum(y * r): a random linear functional, which makes a scalar function of an op. */
export const dot = (y: Tensor64, r: ArrayLike<number>): number => y.data.reduce((total, v, i) => total + v * r[i], 0)
