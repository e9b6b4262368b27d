/** The paper's projector: Linear (no bias) – BatchNorm – ReLU – Linear, all of one width. It may also be deeper. */
import type { Value } from '../engine/index.js'
import { batchNormLayer, linearLayer, StateDict, type Mode } from './layers.js'

export interface Projector {
  readonly dict: StateDict
  /** h: [N, features] → [N, dim] */
  forward(h: Value, mode: Mode): Value
}

export interface ProjectorOptions {
  /** Width of the features of the backbone. */
  features: number
  /** Projector width d. */
  dim: number
  /** Linear layers: 2 in the paper, 3 in the original Barlow Twins and VICReg. */
  depth?: number
  seed?: number
  /** Prefix of the Variables' names. */
  prefix?: string
}

/**
 * Builds a projector. State-dict names follow PyTorch's Sequential: each hidden layer takes three indices (Linear,
 * BatchNorm, ReLU).
 *
 * @throws Error where the width or the depth is not a positive whole number
 */
export function projector({ features, dim, depth = 2, seed = 0, prefix = '' }: ProjectorOptions): Projector {
  if (!Number.isInteger(dim) || dim < 1) throw new Error(`projector width ${dim} must be a whole number of at least 1`)
  if (!Number.isInteger(depth) || depth < 1)
    throw new Error(`projector depth ${depth} must be a whole number of at least 1`)
  // A seed of its own, so that its weights differ from those of the backbone.
  const dict = new StateDict(seed + 2 ** 32, prefix)
  const hidden = Array.from({ length: depth - 1 }, (_, i) => {
    const linear = linearLayer(dict, `projector.${3 * i}`, { from: i ? dim : features, to: dim, bias: false })
    const norm = batchNormLayer(dict, `projector.${3 * i + 1}`, dim)
    return (h: Value, mode: Mode) => norm(linear(h), mode, { relu: true })
  })
  const last = linearLayer(dict, `projector.${3 * (depth - 1)}`, { from: depth > 1 ? dim : features, to: dim })
  dict.seal()
  return { dict, forward: (h, mode) => last(hidden.reduce((inner, layer) => layer(inner, mode), h)) }
}
