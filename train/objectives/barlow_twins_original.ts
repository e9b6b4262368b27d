/** The original Barlow Twins, for two views (Zbontar et al. 2021, https://arxiv.org/abs/2103.03230). */
import { sliceRows, standardizeColumns, type Value } from '../../engine/index.js'
import { byView, checkTwoViews, correlationLoss, type LossParts, type Sharing } from './views.js'

/**
 * Each view goes through a batch-norm without affine parameters (biased variance, ε = 1e-5); no row is normalised.
 *
 *   C = z₁ᵀ z₂ / B,  loss = Σₖ (Cₖₖ − 1)² + λ Σ_{k≠l} Cₖₗ²
 *
 * @param z projections [2·B, d], view-major
 * @param views 2
 * @param lambda weight λ of the redundancy reduction; 0.0051 at d = 8192
 * @param parts takes the parts `invariance` and `orthogonality`
 * @param sharing with `across`, z has the images of this rank, and the loss is that of all ranks' images
 * @returns the loss, a scalar [1]
 */
export function barlowTwinsOriginal(
  z: Value,
  { views, lambda }: { views: number; lambda: number },
  parts: LossParts = {},
  { across }: Sharing = {},
): Value {
  checkTwoViews('barlowTwinsOriginal', views)
  const { batch: B } = byView('barlowTwinsOriginal', z, views, across)
  const standard = standardizeColumns(z, { groups: 2, epsilon: 1e-5, correction: 0, across })
  return correlationLoss(sliceRows(standard, 0, B), sliceRows(standard, B, B), lambda, parts, { across })
}
