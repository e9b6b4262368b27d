/** The eigenspectrum of the features' covariance, its power-law exponent and the effective rank. */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix'

/** Variance below this share of the features' mean square is a rounding error of f32 and counts as 0. */
const NOISE = 1e-12
/** The exponent is fitted to the eigenvalues of these ranks, counted from 1. */
const FIRST_RANK = 4
const LAST_RANK = 100

/**
 * The min(N, D) largest eigenvalues of the covariance (divisor N − 1) of N features, largest first; the others are 0.
 * O(N D min(N, D)) for the products and about 10 · min(N, D)³ for the decomposition: one or two seconds at 512.
 *
 * @param features [N, D]
 * @throws Error if there are fewer than two features
 */
export function covarianceEigenvalues(features: Float32Array, width: number): Float64Array {
  const count = features.length / width
  if (!Number.isInteger(count) || count < 2)
    throw new Error(`eigenspectrum: ${features.length} numbers are not at least two features of width ${width}`)
  const vectors = count < width ? centredRows(features, width) : transposed(centredRows(features, width))
  // XᵀX and XXᵀ have the same nonzero eigenvalues, so the smaller matrix is decomposed.
  const size = vectors.length
  const gram = Matrix.zeros(size, size)
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) {
      const product = dot(vectors[i], vectors[j]) / (count - 1)
      gram.set(i, j, product)
      gram.set(j, i, product)
    }
  const { realEigenvalues } = new EigenvalueDecomposition(gram, { assumeSymmetric: true })
  const meanSquare = features.reduce((sum, value) => sum + value * value, 0) / count
  const eigenvalues = Float64Array.from(realEigenvalues).sort().reverse()
  return eigenvalues.map((value) => (value > NOISE * meanSquare ? value : 0))
}

/**
 * The exponent α of eigenvalues that fall as rank^−α: least squares of log λ on log rank with weights 1 / rank, over
 * ranks 4 to 100, up to the last eigenvalue above 0 (Stringer et al. 2019; Agrawal et al. 2022).
 *
 * @param eigenvalues largest first
 * @returns NaN if there are fewer than two eigenvalues to fit
 */
export function powerLawExponent(eigenvalues: ArrayLike<number>): number {
  let [weights, x, y, xx, xy] = [0, 0, 0, 0, 0]
  for (let rank = FIRST_RANK; rank <= Math.min(LAST_RANK, eigenvalues.length); rank++) {
    if (!(eigenvalues[rank - 1] > 0)) break
    const [weight, logRank, logValue] = [1 / rank, Math.log(rank), Math.log(eigenvalues[rank - 1])]
    weights += weight
    x += weight * logRank
    y += weight * logValue
    xx += weight * logRank * logRank
    xy += weight * logRank * logValue
  }
  return (x * y - weights * xy) / (weights * xx - x * x)
}

/**
 * The effective rank (Roy & Vetterli 2007): exp of the entropy of the centred features' singular values, normalised to
 * a sum of 1. Singular values are the square roots of the eigenvalues. It is 1 if all variance is in one direction, and
 * the number of eigenvalues if all of them are equal.
 *
 * @returns 0 if all eigenvalues are 0
 */
export function effectiveRank(eigenvalues: ArrayLike<number>): number {
  const singular = Array.from(eigenvalues, (value) => Math.sqrt(Math.max(0, value)))
  const total = singular.reduce((a, b) => a + b, 0)
  if (total === 0) return 0
  const entropy = singular.reduce((sum, s) => (s > 0 ? sum - (s / total) * Math.log(s / total) : sum), 0)
  return Math.exp(entropy)
}

/** The rows minus their mean, in f64. */
function centredRows(features: Float32Array, width: number): Float64Array[] {
  const count = features.length / width
  const mean = new Float64Array(width)
  features.forEach((value, k) => (mean[k % width] += value / count))
  return Array.from({ length: count }, (_, i) =>
    Float64Array.from({ length: width }, (_, d) => features[i * width + d] - mean[d]),
  )
}

const transposed = (rows: Float64Array[]): Float64Array[] =>
  Array.from(rows[0], (_, d) => Float64Array.from(rows, (row) => row[d]))

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}

/**
 * The share of the features' mean square that is variance about their mean: 0 if all features are equal, 1 if their mean
 * is 0.
 *
 * @param features [N, D]
 */
export function variedShare(features: Float32Array, width: number): number {
  const mean = new Float64Array(width)
  const count = features.length / width
  features.forEach((value, k) => (mean[k % width] += value / count))
  let [deviation, square] = [0, 0]
  features.forEach((value, k) => {
    deviation += (value - mean[k % width]) ** 2
    square += value ** 2
  })
  return square === 0 ? 0 : deviation / square
}
