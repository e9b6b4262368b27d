/** One step of an optimiser, in place. */
import { assign, variable } from '../leaves.js'
import { adamOp, sgdOp } from '../ops/optimizers.js'
import { checkShape, type Value } from '../value.js'
import { operand, type Shape } from './operands.js'
import { record, type RecordedKernel } from './recording.js'

/** An optimiser's op on one tensor, with its states updated in place and its scalars as operands. */
function inPlace<N extends string>(
  device: GPUDevice,
  label: string,
  shape: Shape,
  states: readonly string[],
  scalars: readonly string[],
  op: (inputs: Value[]) => Value[],
): Promise<RecordedKernel<N>> {
  checkShape(label, shape)
  const variables = states.map((name) => variable(name, shape))
  const values = op([...variables, operand('gradients', shape), ...scalars.map((name) => operand(name, [1]))])
  return record(device, label, { updates: variables.map((v, i) => assign(v, values[i])) })
}

export interface AdamShapes {
  /** The shape of the parameters, both moments and the gradients. */
  readonly shape: Shape
  /** Rate of the moving average of the gradient; 0.9 by default. */
  readonly beta1?: number
  /** Rate of the moving average of its square; 0.999 by default. */
  readonly beta2?: number
  /** Added to the root of the second moment; 1e-8 by default. */
  readonly epsilon?: number
  /** 0 by default; added to the gradient, as weightDecay · parameter. */
  readonly weightDecay?: number
  /** AdamW (Loshchilov & Hutter 2019): the decay acts on the parameters, not through the gradient. */
  readonly decoupled?: boolean
}

/**
 * One step of Adam (Kingma & Ba 2015), which updates parameters, m and v in place. rate and step are buffers of one
 * number: the learning rate, and the number of this step, which is 1 for the first. Initially m and v are zero.
 *
 * @example adam(device, { shape: [64, 32], weightDecay: 0.01, decoupled: true })
 */
export async function adam(
  device: GPUDevice,
  { shape, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, decoupled = false }: AdamShapes,
): Promise<RecordedKernel<'parameters' | 'm' | 'v' | 'gradients' | 'rate' | 'step'>> {
  const attributes = { beta1, beta2, epsilon, weightDecay, decoupled }
  return inPlace(device, 'adam', shape, ['parameters', 'm', 'v'], ['rate', 'step'], (inputs) =>
    adamOp(inputs, attributes),
  )
}

export interface SgdShapes {
  /** The shape of the parameters, the momentum buffer and the gradients. */
  readonly shape: Shape
  /** 0 by default. */
  readonly momentum?: number
  /** 0 by default; added to the gradient, as weightDecay · parameter. */
  readonly weightDecay?: number
  /** Nesterov's momentum; false by default. */
  readonly nesterov?: boolean
}

/**
 * One step of gradient descent with momentum, which updates parameters and the momentum `buffer` in place. rate is a
 * buffer of one number, the learning rate. Initially the momentum is zero. Weight decay is added to the gradient.
 *
 * @example sgd(device, { shape: [64, 32], momentum: 0.9 })
 */
export async function sgd(
  device: GPUDevice,
  { shape, momentum = 0, weightDecay = 0, nesterov = false }: SgdShapes,
): Promise<RecordedKernel<'parameters' | 'buffer' | 'gradients' | 'rate'>> {
  const attributes = { momentum, weightDecay, nesterov }
  return inPlace(device, 'sgd', shape, ['parameters', 'buffer'], ['rate'], (inputs) => sgdOp(inputs, attributes))
}
