/** EMP-SSL (Tong et al. 2023, https://arxiv.org/abs/2304.03977): total coding rate over many views. */
import {
  add,
  affine,
  constant,
  l2NormalizeRows,
  logDeterminant,
  matmul,
  mean,
  reshape,
  scale,
  sumProducts,
  type Value,
} from '../../engine/index.js'
import { byView, weighted, type LossParts } from './views.js'

/**
 * Every row is L2-normalised. z̄ is the mean over the views, ε² the distortion.
 *
 *   R(z) = ½ ln det (I + d / (B ε²) · zᵀ z),  loss = (1/m) Σᵢ [ −R(zᵢ) − λ · mean_b cos(zᵢ,b, z̄_b) ]
 *
 * The determinant is that of the smaller of the d×d and the B×B matrix, which are equal.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2; the paper has 20 to 200 patches
 * @param options `lambda`: weight of the similarity, 200 in the authors' code; `distortion`: ε², .2 in it
 * @param parts takes the parts `rate` and `similarity`
 * @returns the loss, a scalar [1]
 */
export function empSsl(
  z: Value,
  { views, lambda, distortion }: { views: number; lambda: number; distortion: number },
  parts: LossParts = {},
): Value {
  const { batch: B, width: d } = byView('empSsl', z, views)
  const unit = l2NormalizeRows(z)
  const each = reshape(unit, [views, B, d])
  const products = matmul(each, each, d <= B ? { transposeA: true } : { transposeB: true })
  const side = Math.min(d, B)
  const identity = constant(
    Float32Array.from({ length: side * side }, (_, i) => (i % (side + 1) === 0 ? 1 : 0)),
    [...[1, side, side]],
  )
  const rates = logDeterminant(add(scale(products, d / (B * distortion)), identity))
  parts.rate = affine(mean(rates), -0.5, 0)
  const towards = reshape(l2NormalizeRows(mean(each, [0])), [1, B, d])
  const cosines = sumProducts(each, towards, [2])
  parts.similarity = weighted(scale(mean(cosines), -1), lambda)
  return add(parts.rate, parts.similarity)
}
