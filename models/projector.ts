/** The paper's projector: Linear (no bias) – BatchNorm – ReLU – Linear, hidden width equal to the output's. */
import type { Value } from '../engine/index.js'
import { batchNormLayer, linearLayer, StateDict, type Mode } from './layers.js'

export interface Projector {
  readonly dict: StateDict
  /** h: [N, features] → [N, dim] */
  forward(h: Value, mode: Mode): Value
}

/**
 * @param features width of the backbone's features
 * @param dim projector width d
 */
export function projector({ features, dim, seed = 0 }: { features: number; dim: number; seed?: number }): Projector {
  if (!Number.isInteger(dim) || dim < 1) throw new Error(`projector width ${dim} must be a whole number of at least 1`)
  // Its weights are drawn apart from the backbone's: same seed, other places.
  const dict = new StateDict(seed + 2 ** 32)
  const first = linearLayer(dict, 'projector.0', { from: features, to: dim, bias: false })
  const norm = batchNormLayer(dict, 'projector.1', dim)
  const last = linearLayer(dict, 'projector.3', { from: dim, to: dim })
  dict.seal()
  return { dict, forward: (h, mode) => last(norm(first(h), mode, { relu: true })) }
}
