/** The idealised loss that, according to the paper, self-supervised methods share, estimated from m views. */
import {
  add,
  affine,
  crossCorrelation,
  gram,
  mean,
  orthogonalityLoss,
  scale,
  square,
  subtract,
  sum,
  type Value,
} from '../../engine/index.js'
import { byView, type LossParts } from './views.js'

/**
 * z is neither normalised nor standardised. z̄ is the mean over the views.
 *
 *   loss = (1/(mB)) Σₐ,b ‖z̄_b − zₐ,b‖² + β ‖ zᵀ z / (mB) − I ‖²
 *
 * It costs one product: d×d, or (mB)×(mB) where that is smaller, because ‖zᵀ z‖² = ‖z zᵀ‖².
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @param beta weight β of the orthogonality constraint
 * @param parts takes the parts `invariance` and `orthogonality`
 * @returns the loss, a scalar [1]
 */
export function spectral(z: Value, { views, beta }: { views: number; beta: number }, parts: LossParts = {}): Value {
  const { each } = byView('spectral', z, views)
  parts.invariance = scale(sum(square(subtract(each, mean(each, [0])))), 1 / z.shape[0])
  parts.orthogonality = scale(distanceFromIdentity(z), beta)
  return add(parts.invariance, parts.orthogonality)
}

/** ‖zᵀ z / rows − I‖² = ‖z zᵀ / rows‖² − 2 ‖z‖² / rows + d, for z: [rows, d]. */
function distanceFromIdentity(z: Value): Value {
  const [rows, d] = z.shape
  if (d <= rows) return orthogonalityLoss(crossCorrelation(z, z))
  return affine(subtract(sum(square(gram(z, rows))), scale(sum(square(z)), 2 / rows)), 1, d)
}
