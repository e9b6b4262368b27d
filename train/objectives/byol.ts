/** BYOL (Grill et al. 2020, https://arxiv.org/abs/2006.07733): each view predicts the target of the other. */
import {
  add,
  l2NormalizeRows,
  ShapeError,
  show,
  scale,
  sliceRows,
  stopGradient,
  subtract,
  sumSquares,
  type Value,
} from '../../engine/index.js'
import { byView, checkTwoViews } from './views.js'

/**
 * The rows of the predictions p (from the online network) and of the targets t (from its moving average) are
 * L2-normalised. No gradient flows into the targets.
 *
 *   loss = (1 / (B·d)) Σ ‖p₁ − t₂‖²   (+ the same with exchanged views, if symmetric)
 *
 * @param p predictions [2·B, d], view-major: row a·B + b is view a of image b
 * @param t target projections [2·B, d], in the same order
 * @param views 2
 * @param symmetric whether both views predict, as in the original, or only view 1 predicts view 2
 * @returns the loss, a scalar [1]
 */
export function byol(p: Value, t: Value, { views, symmetric }: { views: number; symmetric: boolean }): Value {
  checkTwoViews('byol', views)
  const { batch: B, width: d } = byView('byol', p, views)
  if (show(t.shape) !== show(p.shape))
    throw new ShapeError(`byol: targets ${show(t.shape)} and predictions ${show(p.shape)} differ in shape`)
  const predictions = l2NormalizeRows(p)
  const targets = stopGradient(l2NormalizeRows(t))
  const direction = (from: number, to: number): Value =>
    scale(sumSquares(subtract(sliceRows(predictions, from * B, B), sliceRows(targets, to * B, B))), 1 / (B * d))
  return symmetric ? add(direction(0, 1), direction(1, 0)) : direction(0, 1)
}
