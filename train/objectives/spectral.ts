/** The idealised loss that, according to the paper, self-supervised methods share, estimated from m views. */
import {
  add,
  affine,
  crossCorrelation,
  gram,
  mean,
  orthogonalityLoss,
  reshape,
  scale,
  ShapeError,
  show,
  sliceRows,
  subtract,
  sumProducts,
  sumSquares,
  type Value,
} from '../../engine/index.js'
import { byView, distanceFromMean, type LossParts } from './views.js'

/** How the invariance ‖T f − f‖² is estimated, where T f is the mean of f over all augmentations of an image. */
export const estimators = ['views', 'clean', 'split'] as const
export type Estimator = (typeof estimators)[number]

export interface SpectralOptions {
  /** Number of views m, at least 2. */
  views: number
  /** Weight β of the orthogonality constraint. */
  beta: number
  estimator: Estimator
}

/**
 * z is neither normalised nor standardised. z̄ is the mean over the views, f the projection of the clean image.
 *
 *   loss = invariance + β ‖ zᵀ z / (mB) − I ‖²
 *
 *   views:  (1/(mB)) Σₐ,b ‖z̄_b − zₐ,b‖²          the variance of the views; it grows with m
 *   clean:  (1/B) Σ_b ‖z̄_b − f_b‖²               too large by the variance of a view / m
 *   split:  (1/B) Σ_b ⟨z̄'_b − f_b, z̄''_b − f_b⟩  unbiased; z̄' and z̄'' are the means of the two halves of the views
 *
 * It costs one product: d×d, or (mB)×(mB) where that is smaller, because ‖zᵀ z‖² = ‖z zᵀ‖².
 *
 * @param z projections of the views [m·B, d], view-major: row a·B + b is view a of image b
 * @param clean projections f of the clean images [B, d]; `views` does not need them
 * @param parts takes the parts `invariance` and `orthogonality`
 * @returns the loss, a scalar [1]
 * @throws ShapeError where the estimator needs clean images and they are absent or of another shape
 */
export function spectral(
  z: Value,
  clean: Value | undefined,
  { views, beta, estimator }: SpectralOptions,
  parts: LossParts = {},
): Value {
  const { each, batch, width } = byView('spectral', z, views)
  if (estimator !== 'views' && (clean?.shape[0] !== batch || clean.shape[1] !== width))
    throw new ShapeError(
      `spectral: estimator ${estimator} needs clean images ${show([batch, width])}, not ${clean ? show(clean.shape) : 'none'}`,
    )
  parts.invariance = invariance(each, clean, estimator)
  parts.orthogonality = scale(distanceFromIdentity(z), beta)
  return add(parts.invariance, parts.orthogonality)
}

/** each: [m, B, d]. */
function invariance(each: Value, clean: Value | undefined, estimator: Estimator): Value {
  const [views, batch, width] = each.shape
  if (estimator === 'views') return scale(distanceFromMean(each), 1 / (views * batch))
  if (estimator === 'clean') return scale(sumSquares(subtract(mean(each, [0]), clean!)), 1 / batch)
  const half = Math.floor(views / 2)
  const rows = reshape(each, [views * batch, width])
  const fromClean = (first: number, count: number): Value =>
    subtract(mean(reshape(sliceRows(rows, first * batch, count * batch), [count, batch, width]), [0]), clean!)
  return scale(sumProducts(fromClean(0, half), fromClean(half, views - half)), 1 / batch)
}

/** ‖zᵀ z / rows − I‖² = ‖z zᵀ / rows‖² − 2 ‖z‖² / rows + d, for z: [rows, d]. */
function distanceFromIdentity(z: Value): Value {
  const [rows, d] = z.shape
  if (d <= rows) return orthogonalityLoss(crossCorrelation(z, z))
  return affine(subtract(scale(sumSquares(gram(z)), 1 / rows ** 2), scale(sumSquares(z), 2 / rows)), 1, d)
}
