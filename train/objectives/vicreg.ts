/** VICReg (Bardes et al. 2022, https://arxiv.org/abs/2105.04906), for any number of views. */
import { add, affine, mean, relu, reshape, scale, sqrt, subtract, sumSquares, type Value } from '../../engine/index.js'
import { byView, distanceFromMean, offDiagonalSquares, pairsWithOthers, type LossParts } from './views.js'

export interface VicregOptions {
  /** Number of views m, at least 2. */
  views: number
  /** Weight λ of the invariance; the covariance has weight 1. */
  lambda: number
  /** Weight μ of the variance. */
  mu: number
  /** ε, added to the variance under the root: 0 in the paper's code, 1e-4 in the original. */
  epsilon: number
}

/**
 * Compares each view zᵢ with the mean z₋ᵢ of the others. std and cov are those of zᵢ and of z₋ᵢ over the batch, with
 * divisor B − 1.
 *
 *   loss = (1/m) Σᵢ [ λ · MSE(zᵢ, z₋ᵢ) + μ · ½ Σ_{x ∈ {zᵢ, z₋ᵢ}} mean relu(1 − std x)
 *                     + (1/d) · Σ_{x ∈ {zᵢ, z₋ᵢ}} Σ_{k≠l} cov(x)ₖₗ² ],   std x = √(var x + ε)
 *
 * One batched product computes the 2m covariances. Two views need only two, because both have the same pair. With ε = 0
 * the gradient of a column without variance is NaN, as in PyTorch.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param parts takes the parts `invariance`, `variance` and `covariance`
 * @returns the loss, a scalar [1]
 */
export function vicreg(z: Value, { views, lambda, mu, epsilon }: VicregOptions, parts: LossParts = {}): Value {
  const { each, batch: B, width: d } = byView('vicreg', z, views)
  // zᵢ − z₋ᵢ = m / (m − 1) · (zᵢ − z̄)
  const invariance = scale(distanceFromMean(each), (views / (views - 1)) ** 2 / (views * B * d))
  const centred = subtract(each, reshape(mean(each, [1]), [views, 1, d]))
  const pairs = pairsWithOthers(centred)
  const n = 2 * pairs.shape[0]
  const all = reshape(pairs, [n, B, d])
  const squares = sumSquares(all, [1])
  const std = sqrt(affine(squares, 1 / (B - 1), epsilon))
  const variance = mean(relu(affine(std, -1, 1)))
  const covariance = scale(offDiagonalSquares(all, B - 1, {}, squares), 2 / (n * d))
  Object.assign(parts, { invariance: scale(invariance, lambda), variance: scale(variance, mu), covariance })
  return add(add(parts.invariance, parts.variance), covariance)
}
