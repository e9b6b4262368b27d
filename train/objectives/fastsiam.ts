/** FastSiam (Pototzky et al. 2022), SimSiam (Chen & He 2020, https://arxiv.org/abs/2011.10566) with several targets. */
import {
  l2NormalizeRows,
  reshape,
  scale,
  ShapeError,
  show,
  stopGradient,
  sumProducts,
  type Value,
} from '../../engine/index.js'
import { byView, othersMean } from './views.js'

/**
 * Each view predicts the mean of the projections of the other views, through which no gradient flows. Two views give
 * SimSiam. More targets make the mean less noisy.
 *
 *   loss = −(1/m) Σᵢ mean_b cos(pᵢ,b, z₋ᵢ,b)
 *
 * @param p predictions [m·B, d], view-major: row a·B + b is view a of image b
 * @param z projections [m·B, d], in the same order
 * @param views m, at least 2; 4 in the paper
 * @returns the loss, a scalar [1], from −1 to 1
 */
export function fastSiam(p: Value, z: Value, { views }: { views: number }): Value {
  const { batch: B, width: d } = byView('fastSiam', p, views)
  if (show(z.shape) !== show(p.shape))
    throw new ShapeError(`fastSiam: projections ${show(z.shape)} and predictions ${show(p.shape)} differ in shape`)
  const targets = l2NormalizeRows(reshape(othersMean(reshape(stopGradient(z), [views, B, d])), [views * B, d]))
  return scale(sumProducts(l2NormalizeRows(p), targets), -1 / (views * B))
}
