/** BYOL's predictor (Grill et al. 2020), after the online network's projector: Linear – BatchNorm – ReLU – Linear. */
import { relu, type Value } from '../engine/index.js'
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
 * @param norm whether it has a batch-norm; without it, the first layer has no bias, as in the paper's research code
 * @throws Error where a width is not a positive whole number
 */
export function predictor({
  dim,
  hidden = dim,
  norm: normalises = true,
  seed = 0,
}: {
  dim: number
  hidden?: number
  norm?: boolean
  seed?: number
}): Predictor {
  for (const [what, n] of [
    ['predictor width', dim],
    ['predictor hidden width', hidden],
  ] as const)
    if (!Number.isInteger(n) || n < 1) throw new Error(`${what} ${n} must be a whole number of at least 1`)
  // A seed of its own, so that its weights differ from those of the backbone and the projector.
  const dict = new StateDict(seed + 2 * 2 ** 32)
  const first = linearLayer(dict, 'predictor.0', { from: dim, to: hidden, bias: normalises })
  const norm = normalises ? batchNormLayer(dict, 'predictor.1', hidden) : undefined
  const last = linearLayer(dict, `predictor.${normalises ? 3 : 2}`, { from: hidden, to: dim })
  dict.seal()
  return { dict, forward: (z, mode) => last(norm ? norm(first(z), mode, { relu: true }) : relu(first(z))) }
}
