/** Losses. */
import { gradients } from '../autograd.js'
import { input } from '../leaves.js'
import * as correlation from '../ops/correlation.js'
import * as entropy from '../ops/cross_entropy.js'
import { operand, type Shape } from './operands.js'
import { record, type RecordedKernel } from './recording.js'

export interface OrthogonalityShapes {
  /** [d, d] */
  readonly c: Shape
  /** Weight of (cₖₖ − target)²; 1 by default. */
  readonly onDiagonal?: number
  /** Weight of cₖₗ², k ≠ l; 1 by default. */
  readonly offDiagonal?: number
  /** 1 by default. */
  readonly target?: number
}

/**
 * loss [1] = onDiagonal · Σₖ (cₖₖ − target)² + offDiagonal · Σ_{k≠l} cₖₗ² (Barlow Twins, Zbontar et al. 2021).
 *
 * @example orthogonalityLoss(device, { c: [64, 64], offDiagonal: 0.04 })
 */
export async function orthogonalityLoss(
  device: GPUDevice,
  { c, ...options }: OrthogonalityShapes,
): Promise<RecordedKernel<'c' | 'loss'>> {
  return record(device, 'orthogonalityLoss', {
    outputs: { loss: correlation.orthogonalityLoss(operand('c', c), options) },
  })
}

/**
 * dc of `orthogonalityLoss`, for a gradient of 1 in the loss.
 *
 * @example orthogonalityLossGradient(device, { c: [64, 64], offDiagonal: 0.04 })
 */
export async function orthogonalityLossGradient(
  device: GPUDevice,
  { c, ...options }: OrthogonalityShapes,
): Promise<RecordedKernel<'c' | 'dc'>> {
  const value = operand('c', c)
  const [dc] = gradients(correlation.orthogonalityLoss(value, options), [value])
  return record(device, 'orthogonalityLossGradient', { outputs: { dc } })
}

export interface CrossEntropyShapes {
  /** [N, classes] */
  readonly logits: Shape
  /** In [0, 1); 0 by default. */
  readonly labelSmoothing?: number
}

const entropyOf = ({ logits, labelSmoothing }: CrossEntropyShapes) => {
  const values = operand('logits', logits)
  return { logits: values, loss: entropy.crossEntropy(values, input('labels', [logits[0]], 'u32'), { labelSmoothing }) }
}

/**
 * loss [1]: mean softmax cross-entropy over the N rows. labels: [N] u32; the loss of a row with `MASKED_LABEL` is 0.
 *
 * @example crossEntropy(device, { logits: [32, 10], labelSmoothing: 0.1 })
 */
export async function crossEntropy(
  device: GPUDevice,
  options: CrossEntropyShapes,
): Promise<RecordedKernel<'logits' | 'labels' | 'loss'>> {
  return record(device, 'crossEntropy', { outputs: { loss: entropyOf(options).loss } })
}

/**
 * dlogits of `crossEntropy`, for a gradient of 1 in the loss.
 *
 * @example crossEntropyGradient(device, { logits: [32, 10] })
 */
export async function crossEntropyGradient(
  device: GPUDevice,
  options: CrossEntropyShapes,
): Promise<RecordedKernel<'logits' | 'labels' | 'dlogits'>> {
  const { logits, loss } = entropyOf(options)
  return record(device, 'crossEntropyGradient', { outputs: { dlogits: gradients(loss, [logits])[0] } })
}
