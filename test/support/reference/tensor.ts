/**
 * The references: each op as plain f64 loops, which share no code with the engine. Activations are NHWC, convolution
 * weights HWIO, as in the engine.
 */
export interface Tensor64 {
  shape: number[]
  data: Float64Array
}

export const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

export function tensor64(shape: readonly number[], data?: ArrayLike<number>): Tensor64 {
  const size = sizeOf(shape)
  if (data && data.length !== size) throw new Error(`reference: ${data.length} values for shape [${shape.join(', ')}]`)
  return { shape: [...shape], data: data ? Float64Array.from(data) : new Float64Array(size) }
}

export const map = (x: Tensor64, f: (value: number, index: number) => number): Tensor64 => ({
  shape: [...x.shape],
  data: x.data.map(f),
})

export const scalar = (value: number): Tensor64 => ({ shape: [], data: Float64Array.of(value) })

/** Rows and columns of a tensor as a matrix whose columns are its last axis. */
export function asRows(x: Tensor64): { rows: number; columns: number } {
  const columns = x.shape.at(-1)!
  return { rows: x.data.length / columns, columns }
}
