/**
 * Single-branch instance discrimination (Cao & Wu 2024, https://arxiv.org/abs/2404.19289): every image is a class, and a
 * self-distillation term compares the class probabilities p with √p. One view of an image is enough.
 */
import {
  affine,
  crossEntropyRows,
  exp,
  l2NormalizeRows,
  log,
  matmul,
  mean,
  add,
  divide,
  multiply,
  reshape,
  scale,
  ShapeError,
  show,
  subtract,
  sum,
  type Value,
} from '../../engine/index.js'

export interface InstanceDiscriminationOptions {
  /** τ. */
  temperature?: number
  /** Weight of the self-distillation. */
  distillation?: number
}

/**
 * The loss of each row. Every row is L2-normalised: z of the projections, w of the bank. √p is normalised to the sum 1, so it
 * is the softmax at the doubled temperature. Gradients flow through both, and into the bank, so an optimiser may train the
 * bank as weights.
 *
 *   s = z wᵀ / τ,  p = softmax s,  q = softmax (s / 2)
 *   loss_b = −ln p_b,i(b) + λ KL(p_b ‖ q_b)
 *
 * All classes get a gradient from the second term, not only those in the batch.
 *
 * @param z projections [B, d]
 * @param bank one row for each image [N, d], first the projections of the untrained network
 * @param images index i(b) of each row's image [B] u32, each below N
 * @param options temperature τ, 0.07 by default, and the weight λ of the distillation, 1 by default
 * @returns the losses [B]
 */
export function instanceLosses(
  z: Value,
  bank: Value,
  images: Value,
  { temperature = 0.07, distillation = 1 }: InstanceDiscriminationOptions = {},
): Value {
  if (z.shape.length !== 2 || bank.shape.length !== 2 || z.shape[1] !== bank.shape[1])
    throw new ShapeError(
      `instanceDiscrimination: projections ${show(z.shape)} and the bank ${show(bank.shape)} must have rows of the same length`,
    )
  const cosines = matmul(l2NormalizeRows(z), l2NormalizeRows(bank), { transposeB: true })
  const losses = crossEntropyRows(scale(cosines, 1 / temperature), images)
  return distillation === 0 ? losses : add(losses, scale(distance(cosines, temperature), distillation))
}

/** The mean of `instanceLosses` over the rows, a scalar [1]. */
export const instanceDiscrimination = (
  z: Value,
  bank: Value,
  images: Value,
  options: InstanceDiscriminationOptions = {},
): Value => mean(instanceLosses(z, bank, images, options))

/** KL(p ‖ q) of each row: ½ Σ p s − ln Σ eˢ + ln Σ e^(s/2). No cosine is above 1, so with s − 1/τ no exponential is above 1. */
function distance(cosines: Value, temperature: number): Value {
  const [rows] = cosines.shape
  const s = affine(cosines, 1 / temperature, -1 / temperature)
  const e = exp(s)
  const total = sum(e, [1])
  const p = divide(e, reshape(total, [rows, 1]))
  const halved = log(sum(exp(scale(s, 0.5)), [1]))
  return add(scale(sum(multiply(p, s), [1]), 0.5), subtract(halved, log(total)))
}
