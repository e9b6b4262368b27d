/** Gradient accumulation: the mean gradient of several micro-batches, in the memory of one. */
import { Arena, constant, variable, type Assignment, type Variable } from '../leaves.js'
import { ShapeError, type Value } from '../value.js'
import { accumulate } from './chunks.js'
import { scale } from './elementwise.js'

export interface GradientAccumulation {
  /** The mean gradients, once all micro-batches are added. The optimiser reads them in a separate program. */
  readonly mean: readonly Variable[]
  /**
   * The seed for `gradients`, such that the sum over the micro-batches is their mean.
   *
   * @param lossScale [1], if the loss is also scaled
   */
  seed(lossScale?: Value): Value
  /**
   * Adds the gradients of a micro-batch, which are those of its loss with the `seed`.
   *
   * @param index [1] u32, the index of the micro-batch; 0 begins a new mean
   */
  add(gradients: readonly Value[], index: Value): Assignment[]
}

/**
 * The mean over `count` micro-batches of the gradients of their losses. If the loss is a mean over independent images,
 * this is the gradient of the large batch. It is not if the objective or batch-norm relates the images of a batch to
 * each other: then each micro-batch is a batch with its own statistics.
 */
export function gradientAccumulation(parameters: readonly Variable[], count: number): GradientAccumulation {
  if (!Number.isInteger(count) || count < 1)
    throw new ShapeError(`gradientAccumulation: ${count} micro-batches must be a whole number of at least 1`)
  const mean = parameters.map((p) => variable(`${p.name}.gradient`, p.shape))
  new Arena(mean)
  return {
    mean,
    seed: (lossScale) => (lossScale ? scale(lossScale, 1 / count) : constant([1 / count])),
    add: (gradients, index) => accumulate(mean, gradients, index),
  }
}
