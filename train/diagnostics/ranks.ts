/**
 * Two ranks that predict probe accuracy without labels: RankMe (Garrido et al. 2023, https://arxiv.org/abs/2210.02885) and
 * LiDAR (Thilak et al. 2024, https://arxiv.org/abs/2312.04000).
 */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix'

/** Both papers add this to each share. */
const EPSILON = 1e-7
/** LiDAR adds this to the within-class variance. */
const WITHIN = 1e-4
/** A decomposition of a wider matrix takes too long. */
export const WIDEST = 512

/** exp of the entropy of shares pₖ = vₖ / Σ v + ε; 0 if all values are 0. */
function entropyRank(values: readonly number[]): number {
  const total = values.reduce((a, b) => a + b, 0)
  if (!(total > 0)) return 0
  const shares = values.map((value) => value / total + EPSILON)
  return Math.exp(-shares.reduce((sum, p) => sum + p * Math.log(p), 0))
}

/**
 * RankMe: exp of the entropy of the features' singular values, which sum to 1. Unlike `effectiveRank`, features are not
 * centred.
 *
 * @param features [N, D]
 */
export function rankMe(features: Float32Array, width: number): number {
  const x = rowsOf(features, width)
  const gram = x.rows < x.columns ? x.mmul(x.transpose()) : x.transpose().mmul(x)
  return entropyRank(eigenvaluesOf(gram).map((value) => Math.sqrt(Math.max(0, value))))
}

/**
 * LiDAR: the rank of linear discriminant analysis with each image as a class. Σ_b is the covariance of the images' mean
 * features, Σ_w that of the views about these means, plus 1e-4 · I. It is exp of the entropy of the eigenvalues of
 * Σ_w^−½ Σ_b Σ_w^−½.
 *
 * @param views one array [N, D] per view, at least two, with the same images in the same order
 */
export function lidar(views: readonly Float32Array[], width: number): number {
  if (views.length < 2 || views.some((view) => view.length !== views[0].length))
    throw new Error(
      `lidar: needs at least two views of the same images; given ${views.map((v) => v.length).join(', ')}`,
    )
  const each = views.map((view) => rowsOf(view, width))
  const means = each.reduce((sum, view) => Matrix.add(sum, view)).div(views.length)
  const between = covariance(means.clone().subRowVector(means.mean('column')))
  const within = each
    .map((view) => covariance(Matrix.sub(view, means)))
    .reduce((sum, one) => Matrix.add(sum, one))
    .div(views.length)
  const whitening = inverseRoot(Matrix.add(within, Matrix.eye(width).mul(WITHIN)))
  return entropyRank(eigenvaluesOf(whitening.mmul(between).mmul(whitening)).map((value) => Math.max(0, value)))
}

const rowsOf = (features: Float32Array, width: number): Matrix =>
  Matrix.from1DArray(features.length / width, width, Array.from(features))

/** xᵀ x / rows. */
const covariance = (x: Matrix): Matrix => x.transpose().mmul(x).div(x.rows)

const eigenvaluesOf = (symmetric: Matrix): number[] =>
  new EigenvalueDecomposition(symmetric, { assumeSymmetric: true }).realEigenvalues

/** a^−½ of a symmetric positive definite matrix. */
function inverseRoot(a: Matrix): Matrix {
  const { realEigenvalues, eigenvectorMatrix: v } = new EigenvalueDecomposition(a, { assumeSymmetric: true })
  return v
    .clone()
    .mulRowVector(realEigenvalues.map((value) => 1 / Math.sqrt(value)))
    .mmul(v.transpose())
}
