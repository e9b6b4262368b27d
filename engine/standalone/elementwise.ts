/** Elementwise functions. */
import * as elementwise from '../ops/elementwise.js'
import { operand, type Shape } from './operands.js'
import { record, type RecordedKernel } from './recording.js'

export interface ElementwiseShapes {
  /** Any shape. */
  readonly x: Shape
}

/**
 * y = max(x, 0).
 *
 * @example relu(device, { x: [16, 10] })
 */
export async function relu(device: GPUDevice, { x }: ElementwiseShapes): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'relu', { outputs: { y: elementwise.relu(operand('x', x)) } })
}

/**
 * dx of `relu`: dy where x (or, the same, y) is above 0, else 0.
 *
 * @example reluGradient(device, { x: [16, 10] })
 */
export async function reluGradient(
  device: GPUDevice,
  { x }: ElementwiseShapes,
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  return record(device, 'reluGradient', {
    outputs: { dx: elementwise.multiplyWhere(operand('dy', x), operand('x', x)) },
  })
}

export interface SumShapes {
  /** Any shape. */
  readonly a: Shape
  /** The shape of a, or one that broadcasts with it. */
  readonly b: Shape
}

/**
 * y = a + b. Shapes that differ are broadcast as in NumPy, over up to four dimensions.
 *
 * @example add(device, { a: [16, 10], b: [10] })
 */
export async function add(device: GPUDevice, { a, b }: SumShapes): Promise<RecordedKernel<'a' | 'b' | 'y'>> {
  return record(device, 'add', { outputs: { y: elementwise.add(operand('a', a), operand('b', b)) } })
}
