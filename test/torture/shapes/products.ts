/** What products must compute: sums of multiplications by their definition, with n · Σ|a||b| as bounds. */
import { errorInHalf } from './bounded.js'
import type { Expected } from './case.js'

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** A product as the list of its multiplications: y[at] += a[left] · b[right]. */
export interface Multiplications {
  y: readonly number[]
  a: readonly number[]
  b: readonly number[]
  each(visit: (at: number, left: number, right: number) => void): void
}

export function matmulOf(
  { batch, M, N, K }: { batch: number; M: number; N: number; K: number },
  { transposeA, transposeB, batched }: { transposeA: boolean; transposeB: boolean; batched: boolean },
): Multiplications {
  const lead = batched ? [batch] : []
  return {
    y: [...lead, M, N],
    a: [...lead, ...(transposeA ? [K, M] : [M, K])],
    b: [...lead, ...(transposeB ? [N, K] : [K, N])],
    each: (visit) => {
      for (let s = 0; s < batch; s++)
        for (let i = 0; i < M; i++)
          for (let j = 0; j < N; j++)
            for (let k = 0; k < K; k++)
              visit(
                (s * M + i) * N + j,
                s * M * K + (transposeA ? k * M + i : i * K + k),
                s * K * N + (transposeB ? j * K + k : k * N + j),
              )
    },
  }
}

export function convOf(
  [n, h, w, c]: readonly number[],
  [kh, kw, , o]: readonly number[],
  stride: number,
  padding: number,
): Multiplications {
  const oh = Math.floor((h + 2 * padding - kh) / stride) + 1
  const ow = Math.floor((w + 2 * padding - kw) / stride) + 1
  return {
    y: [n, oh, ow, o],
    a: [n, h, w, c],
    b: [kh, kw, c, o],
    each: (visit) => {
      for (let image = 0; image < n; image++)
        for (let i = 0; i < oh; i++)
          for (let j = 0; j < ow; j++)
            for (let u = 0; u < kh; u++)
              for (let v = 0; v < kw; v++) {
                const [row, column] = [i * stride + u - padding, j * stride + v - padding]
                if (row < 0 || row >= h || column < 0 || column >= w) continue
                for (let p = 0; p < c; p++)
                  for (let q = 0; q < o; q++)
                    visit(
                      ((image * oh + i) * ow + j) * o + q,
                      ((image * h + row) * w + column) * c + p,
                      ((u * kw + v) * c + p) * o + q,
                    )
              }
    },
  }
}

/** Sums with n · Σ|a||b| of each. */
class Sums {
  readonly value: Float64Array
  readonly magnitude: Float64Array
  readonly count: Float64Array

  constructor(readonly shape: readonly number[]) {
    const n = sizeOf(shape)
    this.value = new Float64Array(n)
    this.magnitude = new Float64Array(n)
    this.count = new Float64Array(n)
  }

  add(at: number, product: number): void {
    this.value[at] += product
    this.magnitude[at] += Math.abs(product)
    this.count[at]++
  }

  /** @param half whether the sum is stored as f16, or how often */
  expected(half: number, condition?: ArrayLike<number>): Expected {
    const error = this.value.map((v, i) => {
      const sum = condition ? condition[i] : this.count[i] * this.magnitude[i]
      return half ? errorInHalf(v, sum, half) : sum
    })
    return { shape: this.shape, value: this.value, error }
  }
}

/** Bounds that take the place of n · Σ|a||b| where a variant does not compute the plain sums. */
export interface Conditions {
  y: ArrayLike<number>
  a: ArrayLike<number>
  b: ArrayLike<number>
}

/**
 * The product and the gradients of Σ y · r in both factors and in the bias.
 *
 * @param half how often y and the gradients in a and b are stored as f16
 */
export function expectedProduct(
  product: Multiplications,
  { a, b, bias, r }: Record<'a' | 'b' | 'r', ArrayLike<number>> & { bias?: ArrayLike<number> },
  half: { y: number; a: number; b: number },
  conditions?: Conditions,
): Record<string, Expected> {
  const [y, da, db] = [product.y, product.a, product.b].map((shape) => new Sums(shape))
  product.each((at, left, right) => {
    y.add(at, a[left] * b[right])
    da.add(left, r[at] * b[right])
    db.add(right, r[at] * a[left])
  })
  const columns = product.y[product.y.length - 1]
  const dbias = new Sums([columns])
  if (bias)
    for (let i = 0; i < y.value.length; i++) {
      y.add(i, bias[i % columns])
      dbias.add(i % columns, r[i])
    }
  const withBias = conditions && Array.from(conditions.y, (v, i) => v + (bias ? y.magnitude[i] : 0))
  return {
    y: y.expected(half.y, withBias),
    'gradient in a': da.expected(half.a, conditions?.a),
    'gradient in b': db.expected(half.b, conditions?.b),
    ...(bias && { 'gradient in bias': dbias.expected(0) }),
  }
}
