/** MMCR (Yerxa et al. 2023, https://arxiv.org/abs/2303.03307): maximum manifold capacity representations. */
import {
  add,
  constant,
  gather,
  l2NormalizeRows,
  mean,
  reshape,
  scale,
  stopGradient,
  sumProducts,
  type Value,
} from '../../engine/index.js'
import { polarFactor } from './polar.js'
import { byView, type LossParts } from './views.js'

/**
 * Every row is L2-normalised. C: [B, d] has the mean of the views of each image, Z_b: [m, d] has the views of image b.
 *
 *   loss = −‖C‖_* + (λ / B) Σ_b ‖Z_b‖_*
 *
 * The nuclear norm ‖X‖_* is the sum of X's singular values, and its gradient is X's polar factor P, so it is computed as
 * Σ X ∘ P. `polarFactor` states its error: singular values below 10⁻⁴ ‖X‖ count in part.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @param lambda weight λ of the spread of the views; 0 in most runs of the paper
 * @param parts takes the parts `centroids` and, with λ above 0, `views`
 * @returns the loss, a scalar [1]
 */
export function mmcr(z: Value, { views, lambda }: { views: number; lambda: number }, parts: LossParts = {}): Value {
  const { batch: B, width: d } = byView('mmcr', z, views)
  const unit = l2NormalizeRows(z)
  const centroids = mean(reshape(unit, [views, B, d]), [0])
  const factor = stopGradient(polarFactor(reshape(centroids, [1, B, d])))
  parts.centroids = scale(sumProducts(centroids, reshape(factor, [B, d])), -1)
  if (lambda === 0) return parts.centroids
  parts.views = scale(sumProducts(unit, factorsByImage(unit, views)), lambda / B)
  return add(parts.centroids, parts.views)
}

/** The polar factor of the views of each image, in the order of the rows: [m·B, d]. No gradient flows through it. */
function factorsByImage(rows: Value, views: number): Value {
  const [count, d] = rows.shape
  const batch = count / views
  const byImage = Uint32Array.from({ length: count }, (_, i) => (i % views) * batch + Math.floor(i / views))
  const byView = Uint32Array.from({ length: count }, (_, i) => (i % batch) * views + Math.floor(i / batch))
  const factors = polarFactor(reshape(gather(stopGradient(rows), constant(byImage)), [batch, views, d]))
  return stopGradient(gather(reshape(factors, [count, d]), constant(byView)))
}
