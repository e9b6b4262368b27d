/** How much of a target space a span of functions holds: overlap, principal angles, effective rank. */
import { Matrix, SingularValueDecomposition } from 'ml-matrix'
import { eigen } from './world.js'

/** Directions with less than this share of the largest variance are rounding errors. */
const NOISE = 1e-9

/**
 * The mean share of the target functions that lies in the span of the learned functions: (1/r) Σₖ ‖projection of φₖ‖². It
 * is 1 if the span holds all of them.
 *
 * @param learned [count, width] functions at the points, row-major; their means are removed
 * @param targets r functions at the points, orthonormal under the weights, with mean 0
 * @param weights of the points, with sum 1
 */
export function overlap(
  learned: ArrayLike<number>,
  width: number,
  targets: readonly Float64Array[],
  weights: Float64Array,
): number {
  const count = weights.length
  const means = new Float64Array(width)
  for (let z = 0; z < count; z++) for (let k = 0; k < width; k++) means[k] += weights[z] * learned[z * width + k]
  const covariance = Matrix.zeros(width, width)
  const products = Matrix.zeros(width, targets.length)
  const centred = new Float64Array(width)
  for (let z = 0; z < count; z++) {
    for (let k = 0; k < width; k++) centred[k] = learned[z * width + k] - means[k]
    for (let k = 0; k < width; k++) {
      const weighted = weights[z] * centred[k]
      for (let l = 0; l <= k; l++) covariance.set(k, l, covariance.get(k, l) + weighted * centred[l])
      for (let r = 0; r < targets.length; r++) products.set(k, r, products.get(k, r) + weighted * targets[r][z])
    }
  }
  for (let k = 0; k < width; k++) for (let l = 0; l < k; l++) covariance.set(l, k, covariance.get(k, l))
  const { values, vectors } = eigen(covariance)
  let total = 0
  for (let i = 0; i < width && values[i] > NOISE * values[0]; i++)
    for (let r = 0; r < targets.length; r++) {
      let along = 0
      for (let k = 0; k < width; k++) along += vectors.get(k, i) * products.get(k, r)
      total += along ** 2 / values[i]
    }
  return total / targets.length
}

/** cos² of the principal angles between the span of the columns and that of the first `columns` unit vectors, smallest angle first. */
export function principalCosines(columns: Matrix): number[] {
  const basis = new SingularValueDecomposition(columns, { autoTranspose: true }).leftSingularVectors
  const top = basis.subMatrix(0, columns.columns - 1, 0, columns.columns - 1)
  return new SingularValueDecomposition(top).diagonal.map((s) => Math.min(1, s * s))
}

/** exp of the entropy of the singular values, normalised to a sum of 1 (Roy & Vetterli 2007). */
export function effectiveRankOf(columns: Matrix): number {
  const { diagonal } = new SingularValueDecomposition(columns, { autoTranspose: true })
  const total = diagonal.reduce((a, b) => a + b, 0)
  return Math.exp(-diagonal.reduce((sum, s) => (s > 0 ? sum + (s / total) * Math.log(s / total) : sum), 0))
}
