/** Barlow Twins of each view against the mean of the others. */
import { l2NormalizeRows, reshape, scale, sliceRows, standardizeColumns, type Value } from '../../engine/index.js'
import { byView, correlationLoss, othersMean, type LossParts, type Sharing } from './views.js'

/**
 * Every row is L2-normalised, then every column is standardised over the B rows of each view. z₋ᵢ is the mean of the
 * other views.
 *
 *   Cᵢ = zᵢᵀ z₋ᵢ / B,  loss = (1/m) Σᵢ [ Σₖ (Cᵢ,ₖₖ − 1)² + λ Σ_{k≠l} Cᵢ,ₖₗ² ]
 *
 * One batched product computes all Cᵢ.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @param lambda weight λ of the orthogonality constraint
 * @param parts takes the parts `invariance` and `orthogonality`
 * @param sharing with `across`, z has the images of this rank, and the loss is that of all ranks' images
 * @returns the loss, a scalar [1]
 */
export function barlowTwinsLeaveOneOut(
  z: Value,
  { views, lambda }: { views: number; lambda: number },
  parts: LossParts = {},
  { across }: Sharing = {},
): Value {
  const { batch: B, width: d } = byView('barlowTwinsLeaveOneOut', z, views, across)
  const each = reshape(standardizeColumns(l2NormalizeRows(z), { groups: views, across }), [views, B, d])
  // With two views C₂ is the transpose of C₁, so one term is enough.
  const [own, others] = views === 2 ? [sliceRows(each, 0, 1), sliceRows(each, 1, 1)] : [each, othersMean(each)]
  const sums: LossParts = {}
  const total = correlationLoss(own, others, lambda, sums, { across })
  const perView = (sum: Value): Value => scale(sum, 1 / own.shape[0])
  for (const [name, sum] of Object.entries(sums)) parts[name] = perView(sum)
  return perView(total)
}
