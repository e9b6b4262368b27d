/** Elementwise functions. */
import * as elementwise from '../ops/elementwise.js'
import { operand, type Shape } from './operands.js'
import { record, type RecordedKernel } from './recording.js'

/** y = max(x, 0). */
export async function relu(device: GPUDevice, { x }: { readonly x: Shape }): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'relu', { outputs: { y: elementwise.relu(operand('x', x)) } })
}

/** dx = dy where x (or, the same, y) is above 0, else 0. */
export async function reluGradient(
  device: GPUDevice,
  { x }: { readonly x: Shape },
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  return record(device, 'reluGradient', {
    outputs: { dx: elementwise.multiplyWhere(operand('dy', x), operand('x', x)) },
  })
}

/** y = a + b, with NumPy's broadcasting over up to four dimensions. */
export async function add(
  device: GPUDevice,
  { a, b }: { readonly a: Shape; readonly b: Shape },
): Promise<RecordedKernel<'a' | 'b' | 'y'>> {
  return record(device, 'add', { outputs: { y: elementwise.add(operand('a', a), operand('b', b)) } })
}
