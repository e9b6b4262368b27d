/** Gradients of several micro-batches, averaged: a larger batch's in the memory of a small one. */
import { Arena, constant, variable, type Assignment, type Variable } from '../leaves.js'
import { ShapeError, type Value } from '../value.js'
import { accumulate } from './chunks.js'
import { scale } from './elementwise.js'

export interface GradientAccumulation {
  /** The gradients' mean, once all micro-batches have been added: what the optimiser takes, in a program of its own. */
  readonly mean: readonly Variable[]
  /**
   * What `gradients` takes as its seed, so that the sum over the micro-batches is their mean.
   *
   * @param lossScale [1], where the loss is scaled besides
   */
  seed(lossScale?: Value): Value
  /**
   * Adds a micro-batch's gradients, of the seeded loss.
   *
   * @param index [1] u32, the number of the micro-batch; 0 begins a new mean
   */
  add(gradients: readonly Value[], index: Value): Assignment[]
}

/**
 * The mean over `count` micro-batches of the gradients of their losses. For losses that are means over independent images
 * that is the large batch's gradient. For objectives and batch-norms that compare the images of a batch with each other it
 * is not: each micro-batch is then a batch of its own, with statistics of its own.
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
