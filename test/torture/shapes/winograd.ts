/**
 * Bounds for Winograd's F(4×4, 3×3): the transforms with the magnitudes of their coefficients, applied to the magnitudes
 * of the operands. The errors are larger than those of plain sums, because the transforms cancel.
 */
import type { Conditions } from './products.js'

type Matrix = readonly (readonly number[])[]

// Lavin & Gray 2016, section 4.1, for the points 0, ±1, ±2 and ∞; magnitudes only.
const BT: Matrix = [
  [4, 0, 5, 0, 1, 0],
  [0, 4, 4, 1, 1, 0],
  [0, 4, 4, 1, 1, 0],
  [0, 2, 1, 2, 1, 0],
  [0, 2, 1, 2, 1, 0],
  [0, 4, 0, 5, 0, 1],
]
const G: Matrix = [
  [1 / 4, 0, 0],
  [1 / 6, 1 / 6, 1 / 6],
  [1 / 6, 1 / 6, 1 / 6],
  [1 / 24, 1 / 12, 1 / 6],
  [1 / 24, 1 / 12, 1 / 6],
  [0, 0, 1],
]
const AT: Matrix = [
  [1, 1, 1, 1, 1, 0],
  [0, 1, 1, 2, 2, 0],
  [0, 1, 1, 4, 4, 0],
  [0, 1, 1, 8, 8, 1],
]
const transpose = (m: Matrix): Matrix => m[0].map((_, j) => m.map((row) => row[j]))

/** Additions of the transforms, beside those of the sum itself: 3 and 3 numbers for weights, 4 and 4, 6 and 6. */
const TRANSFORMS = 40

/** m x mᵀ of a square patch. */
function both(m: Matrix, x: Float64Array): Float64Array {
  const [rows, n] = [m.length, m[0].length]
  const half = new Float64Array(rows * n)
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < n; k++) if (m[i][k]) for (let j = 0; j < n; j++) half[i * n + j] += m[i][k] * x[k * n + j]
  const y = new Float64Array(rows * rows)
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < rows; j++) for (let k = 0; k < n; k++) y[i * rows + j] += half[i * n + k] * m[j][k]
  return y
}

/** The magnitudes of size × size pixels of one channel from (top, left) on; 0 outside. */
function patch(
  x: ArrayLike<number>,
  [, h, w, c]: readonly number[],
  n: number,
  top: number,
  left: number,
  k: number,
  size: number,
): Float64Array {
  const d = new Float64Array(size * size)
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      const [row, column] = [top + i, left + j]
      if (row >= 0 && row < h && column >= 0 && column < w)
        d[i * size + j] = Math.abs(x[((n * h + row) * w + column) * c + k])
    }
  return d
}

/** The tiles of a batch: image, first row, first column of the result. */
function* tiles([n, h, w]: readonly number[]): Generator<[n: number, i: number, j: number]> {
  for (let image = 0; image < n; image++)
    for (let i = 0; i < h; i += 4) for (let j = 0; j < w; j += 4) yield [image, i, j]
}

/** Bound of a convolution of x [N, H, W, C] with w [3, 3, C, O] that gives a result of shape `out`. */
function convolution(
  x: ArrayLike<number>,
  dims: readonly number[],
  w: (tap: number, c: number, o: number) => number,
  out: readonly number[],
  padding: number,
): Float64Array {
  const [c, o] = [dims[3], out[3]]
  const bound = new Float64Array(out.reduce((a, b) => a * b, 1))
  const weights = Array.from({ length: c * o }, (_, k) =>
    both(
      G,
      Float64Array.from({ length: 9 }, (_, tap) => Math.abs(w(tap, Math.floor(k / o), k % o))),
    ),
  )
  for (const [image, i, j] of tiles(out)) {
    const pixels = Array.from({ length: c }, (_, k) => both(BT, patch(x, dims, image, i - padding, j - padding, k, 6)))
    for (let q = 0; q < o; q++) {
      const sums = new Float64Array(36)
      for (let p = 0; p < c; p++) for (let k = 0; k < 36; k++) sums[k] += pixels[p][k] * weights[p * o + q][k]
      const y = both(AT, sums)
      for (let u = 0; u < 4 && i + u < out[1]; u++)
        for (let v = 0; v < 4 && j + v < out[2]; v++)
          bound[((image * out[1] + i + u) * out[2] + j + v) * o + q] = (c + TRANSFORMS) * y[4 * u + v]
    }
  }
  return bound
}

/** Bounds for y, the gradient in x and the gradient in w of a 3×3 convolution of stride 1. */
export function winogradConditions(
  { x, w, r }: Record<'x' | 'w' | 'r', ArrayLike<number>>,
  dims: readonly number[],
  out: readonly number[],
  padding: number,
): Conditions {
  const [c, o] = [dims[3], out[3]]
  const y = convolution(x, dims, (tap, p, q) => w[(tap * c + p) * o + q], out, padding)
  // The gradient in x is a convolution of r with the weights rotated by 180 degrees.
  const a = convolution(r, out, (tap, q, p) => w[((8 - tap) * c + p) * o + q], dims, 2 - padding)
  const b = new Float64Array(9 * c * o)
  const total = Array.from({ length: c * o }, () => new Float64Array(36))
  let count = 0
  const A = transpose(AT)
  for (const [image, i, j] of tiles(out)) {
    count++
    const pixels = Array.from({ length: c }, (_, k) => both(BT, patch(x, dims, image, i - padding, j - padding, k, 6)))
    const results = Array.from({ length: o }, (_, k) => both(A, patch(r, out, image, i, j, k, 4)))
    for (let p = 0; p < c; p++)
      for (let q = 0; q < o; q++) {
        const sums = total[p * o + q]
        for (let k = 0; k < 36; k++) sums[k] += pixels[p][k] * results[q][k]
      }
  }
  total.forEach((sums, k) => {
    const taps = both(transpose(G), sums)
    for (let tap = 0; tap < 9; tap++) b[tap * c * o + k] = (count + TRANSFORMS) * taps[tap]
  })
  return { y, a, b }
}
