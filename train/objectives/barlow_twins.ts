/** Multi-view Barlow Twins (Zbontar et al. 2021, https://arxiv.org/abs/2103.03230; the multi-view form is the paper's). */
import {
  add,
  l2NormalizeRows,
  mean,
  reshape,
  scale,
  sliceRows,
  standardizeColumns,
  sumProducts,
  sumSquares,
  type Value,
} from '../../engine/index.js'
import { byView, correlationLoss, meanOfRanks, offDiagonalSquares, weighted } from './views.js'
import type { LossParts, Sharing } from './views.js'

/** λ · d: the geometric mean over the recipes of the paper for CIFAR-10, d = 64 to 8192, is 2.9. */
const LAMBDA_TIMES_WIDTH = 3

/**
 * λ by the rule λ = (3 / d) · s(m), for projector width d and m views.
 *
 * The paper says that the best λ falls as 1/d. s makes λ mean the same for every m. Let ρ be the correlation of two views
 * in one column. For m = 2 its invariance is (1 − ρ)². For m > 2 each view is compared with the mean, which has the view
 * itself in it: 1 − ρ shrinks to (1 − ρ)(m − 1)/m. Scaled by (m / (m − 1))² the invariance would be that of m = 2. Adam
 * does not see a factor on the whole loss, so dividing λ by that number does the same: s(m) = ((m − 1) / m)², s(2) = 1.
 */
export const automaticLambda = (width: number, views: number): number =>
  (LAMBDA_TIMES_WIDTH / width) * (views === 2 ? 1 : ((views - 1) / views) ** 2)

/**
 * Every row is L2-normalised, then every column is standardised over all m·B rows. z̄ is the mean over the views.
 *
 *   m = 2:  C = z₁ᵀ z₂ / B,  loss = Σₖ (Cₖₖ − 1)² + λ Σ_{k≠l} Cₖₗ²
 *   m > 2:  loss = (1/m) Σₐ Σₖ ((1/B) Σ_b zₐ,b,k z̄_b,k − 1)² + λ Σ_{k≠l} [(z̄ᵀ z̄ / B)ₖₗ]²
 *
 * It costs one d×d or B×B product for any m.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @param lambda weight λ of the orthogonality constraint: a number, or a scalar [1] if it changes during training
 * @param parts takes the parts `invariance` and `orthogonality`
 * @param sharing with `across`, z has the images of this rank, and the loss is that of all ranks' images
 * @returns the loss, a scalar [1]
 */
export function barlowTwins(
  z: Value,
  { views, lambda }: { views: number; lambda: number | Value },
  parts: LossParts = {},
  { across }: Sharing = {},
): Value {
  const { batch: B, width: d } = byView('barlowTwins', z, views, across)
  const standard = standardizeColumns(l2NormalizeRows(z), { across })
  if (views === 2) {
    // The term with exchanged views has Cᵀ in place of C and the same value, so one term is enough.
    return correlationLoss(sliceRows(standard, 0, B), sliceRows(standard, B, B), lambda, parts, { across })
  }
  const each = reshape(standard, [views, B, d])
  const average = mean(each, [0])
  const agreement = meanOfRanks(scale(sumProducts(each, average, [1]), 1 / B), across)
  parts.invariance = scale(sumSquares(agreement, undefined, { minus: 1 }), 1 / views)
  parts.orthogonality = weighted(offDiagonalSquares(average, B * (across?.size ?? 1), { across }), lambda)
  return add(parts.invariance, parts.orthogonality)
}
