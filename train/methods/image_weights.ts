/** Weights of the images in a batch, from a running mean of each image's loss. */
import {
  add,
  affine,
  assign,
  divide,
  exp,
  gather,
  gradients,
  multiply,
  reshape,
  scale,
  ShapeError,
  show,
  stopGradient,
  subtract,
  mean,
  sum,
  type Assignment,
  type Value,
  type Variable,
} from '../../engine/index.js'

export interface ImageWeightOptions {
  /** Share r of the newest loss in the running mean. */
  rate?: number
  /** Tilt t: above 0 images with a large loss weigh more, below 0 less. */
  tilt?: number
}

/**
 * The weights of tilted empirical risk minimisation (Li et al. 2021, https://arxiv.org/abs/2007.01162), with running means
 * ℓ̄ in place of the losses of one draw of views, which are noisy.
 *
 *   ℓ̄ᵢ ← (1 − r) ℓ̄ᵢ + r ℓᵢ for the images of the batch,   w_b = exp(t ℓ̄_b) / mean over the batch of exp(t ℓ̄)
 *
 * The weights have the mean 1, and no gradient flows through them. The weighted loss is mean(multiply(losses, weights)).
 *
 * @param losses of each image of the batch [B]
 * @param images their indices [B] u32, all different, each below N
 * @param running the running means [N, 1], for example 0 at first
 * @returns the weights [B], and the update of the running means
 */
export function imageWeights(
  losses: Value,
  images: Value,
  running: Variable,
  { rate = 0.1, tilt = 1 }: ImageWeightOptions = {},
): { weights: Value; update: Assignment } {
  const { size: batch } = losses
  if (images.size !== batch || running.shape.length !== 2 || running.shape[1] !== 1)
    throw new ShapeError(
      `imageWeights: ${batch} losses need ${batch} indices, not ${show(images.shape)}, and running means [N, 1], not ${show(running.shape)}`,
    )
  const newest = stopGradient(reshape(losses, [batch, 1]))
  const change = scale(subtract(newest, gather(running, images)), rate)
  const next = addedRows(running, images, change)
  const current = stopGradient(reshape(gather(next, images), [batch]))
  // The mean is taken off, so that large losses do not overflow.
  const e = exp(scale(subtract(current, mean(current)), tilt))
  return { weights: divide(affine(e, batch, 0), sum(e)), update: assign(running, next) }
}

/**
 * A table with values added at some rows, those of equal rows summed: table[index[i], :] += rows[i, :].
 *
 * @param table [entries, columns]
 * @param index [count] u32, each below `entries`
 * @param rows [count, columns]
 */
export const addedRows = (table: Value, index: Value, rows: Value): Value =>
  // The gradient of Σ table[index] · rows adds each row at its place; the rows themselves count as constants.
  add(table, gradients(sum(multiply(gather(table, index), stopGradient(rows))), [table])[0])
