/** FroSSL (Skean et al. 2024, https://arxiv.org/abs/2310.02903), for any number of views. */
import { add, divide, log, matmul, reshape, scale, sqrt, sum, sumSquares, type Value } from '../../engine/index.js'
import { byView, distanceFromMean, weighted, type LossParts } from './views.js'

/**
 * Every column of each view is L2-normalised over the batch, as in the multi-view code of the authors. z̄ is the mean of the
 * views.
 *
 *   loss = Σᵢ [ ln ‖ zᵢᵀ zᵢ / d ‖² + λ · (m / B) ‖zᵢ − z̄‖² ]
 *
 * The first term spreads the eigenvalues of each view's covariance, whose trace is d. It costs m products of d×d or B×B.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @param lambda weight λ of the invariance; 1 in the paper
 * @param parts takes the parts `invariance` and `spread`
 * @returns the loss, a scalar [1]
 */
export function frossl(z: Value, { views, lambda }: { views: number; lambda: number }, parts: LossParts = {}): Value {
  const { each, batch: B, width: d } = byView('frossl', z, views)
  const unit = divide(each, reshape(sqrt(sumSquares(each, [1])), [views, 1, d]))
  const products = matmul(unit, unit, d <= B ? { transposeA: true } : { transposeB: true })
  parts.spread = sum(log(scale(sumSquares(products, [1, 2]), 1 / d ** 2)))
  parts.invariance = weighted(scale(distanceFromMean(unit), views / B), lambda)
  return add(parts.spread, parts.invariance)
}
