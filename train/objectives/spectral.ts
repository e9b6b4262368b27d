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
import { byView } from './views.js'

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
 * @returns the loss, a scalar [1]
 */
export function spectral(z: Value, { views, beta }: { views: number; beta: number }): Value {
  const { each } = byView('spectral', z, views)
  const invariance = scale(sum(square(subtract(each, mean(each, [0])))), 1 / z.shape[0])
  return add(invariance, scale(distanceFromIdentity(z), beta))
}

/** ‖zᵀ z / rows − I‖² = ‖z zᵀ / rows‖² − 2 ‖z‖² / rows + d, for z: [rows, d]. */
function distanceFromIdentity(z: Value): Value {
  const [rows, d] = z.shape
  if (d <= rows) return orthogonalityLoss(crossCorrelation(z, z))
  return affine(subtract(sum(square(gram(z, rows))), scale(sum(square(z)), 2 / rows)), 1, d)
}
