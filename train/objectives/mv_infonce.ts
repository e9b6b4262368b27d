/** MV-InfoNCE (Koromilas et al. 2025, https://arxiv.org/abs/2507.06979): one contrastive term for all views of an image. */
import {
  affine,
  constant,
  exp,
  l2NormalizeRows,
  log,
  matmul,
  mean,
  multiply,
  reshape,
  subtract,
  sum,
  sumProducts,
  type Value,
} from '../../engine/index.js'
import { byView } from './views.js'

/**
 * Every row is L2-normalised. u_b,a is view a of image b, τ the temperature.
 *
 *   loss = −(1/B) Σ_b ln [ Σ_{a≠c} exp(u_b,a · u_b,c / τ) / Σ_{a≠c} Σ_e exp(u_b,a · u_e,c / τ) ]
 *
 * For two views this is InfoNCE with the two directions in one logarithm.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @param temperature τ; .5 in the authors' runs on CIFAR, .1 on ImageNet
 * @returns the loss, a scalar [1]
 */
export function mvInfoNce(z: Value, { views, temperature }: { views: number; temperature: number }): Value {
  const { batch: B } = byView('mvInfoNce', z, views)
  const u = l2NormalizeRows(z)
  // No similarity is above 1, so no exponential is above 1.
  const e = exp(affine(matmul(u, u, { transposeB: true }), 1 / temperature, -1 / temperature))
  const otherViews = multiply(reshape(e, [views, B, views, B]), constant(offDiagonal(views), [views, 1, views, 1]))
  // By image of the row and image of the column: [B, B].
  const pairs = sum(sum(otherViews, [2]), [0])
  const own = sumProducts(pairs, constant(diagonal(B), [B, B]), [1])
  return mean(subtract(log(sum(pairs, [1])), log(own)))
}

const diagonal = (n: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0))
const offDiagonal = (n: number): Float32Array<ArrayBuffer> => diagonal(n).map((x) => 1 - x)
