/**
 * Gated channels: a small network decides for each image which channels of a block are computed. One network is then two,
 * a dense one and a sparse one (Krishna et al. 2023, https://arxiv.org/abs/2301.09164).
 */
import {
  add,
  affine,
  divide,
  exp,
  filled,
  globalAveragePool,
  mean,
  multiply,
  multiplyWhere,
  relu,
  reshape,
  scale,
  square,
  stopGradient,
  subtract,
  type Value,
} from '../engine/index.js'
import { linearLayer, type StateDict } from './layers.js'

/**
 * 1 where x > 0, else 0. The gradient is that of the logistic function, σ'(x): the straight-through estimator (Bengio et
 * al. 2013, https://arxiv.org/abs/1308.3432).
 */
export function hardGate(x: Value): Value {
  // σ'(x) = σ'(−x) = e / (1 + e)² with e = exp(−|x|), which cannot overflow.
  const e = exp(scale(add(relu(x), relu(scale(x, -1))), -1))
  const slope = stopGradient(divide(e, square(affine(e, 1, 1))))
  const hard = stopGradient(multiplyWhere(filled(x.shape, 1), x))
  return add(hard, multiply(slope, subtract(x, stopGradient(x))))
}

/**
 * A gate for each channel of a block: hardGate(W · mean of x over the pixels + b).
 *
 * @param from channels of x
 * @param to channels that it gates
 * @returns a function from x [N, H, W, from] to gates [N, to], each 0 or 1
 */
export function channelGates(
  dict: StateDict,
  name: string,
  { from, to }: { from: number; to: number },
): (x: Value) => Value {
  const linear = linearLayer(dict, name, { from, to })
  // Most gates are open at first, so that the sparse network begins as the dense one.
  return (x) => hardGate(affine(linear(globalAveragePool(x)), 1, OPEN))
}

const OPEN = 1

/** y [N, H, W, C] with the channels of each image multiplied by its gates [N, C]. */
export const gated = (y: Value, gates: Value): Value =>
  multiply(y, reshape(gates, [gates.shape[0], 1, 1, gates.shape[1]]))

/**
 * The term that holds the share of open gates at a budget: (mean of all gates − budget)².
 *
 * @param gates of each block [N, channels]
 * @param budget wanted share of open gates, from 0 to 1
 * @returns a scalar [1]
 */
export function gateBudget(gates: readonly Value[], budget: number): Value {
  const channels = gates.reduce((total, { shape }) => total + shape[1], 0)
  const open = gates.map((g) => scale(mean(g), g.shape[1] / channels)).reduce(add)
  return square(affine(open, 1, -budget))
}
