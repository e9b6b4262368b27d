/** BYOL's predictor (Grill et al. 2020), after the online network's projector: Linear – BatchNorm – ReLU – Linear. */
import type { Value } from '../engine/index.js'
import { batchNormLayer, linearLayer, StateDict, type Mode } from './layers.js'

export interface Predictor {
  readonly dict: StateDict
  /** z: [N, dim] → [N, dim] */
  forward(z: Value, mode: Mode): Value
}

/**
 * Builds a predictor.
 *
 * @param dim projector width d
 * @param hidden width of the hidden layer, by default dim; the original has 16 · dim
 * @throws Error where a width is not a positive whole number
 */
export function predictor({ dim, hidden = dim, seed = 0 }: { dim: number; hidden?: number; seed?: number }): Predictor {
  for (const [what, n] of [
    ['predictor width', dim],
    ['predictor hidden width', hidden],
  ] as const)
    if (!Number.isInteger(n) || n < 1) throw new Error(`${what} ${n} must be a whole number of at least 1`)
  // A seed of its own, so that its weights differ from those of the backbone and the projector.
  const dict = new StateDict(seed + 2 * 2 ** 32)
  const first = linearLayer(dict, 'predictor.0', { from: dim, to: hidden })
  const norm = batchNormLayer(dict, 'predictor.1', hidden)
  const last = linearLayer(dict, 'predictor.3', { from: hidden, to: dim })
  dict.seal()
  return { dict, forward: (z, mode) => last(norm(first(z), mode, { relu: true })) }
}
