/** Pooling. */
import { backward } from '../autograd.js'
import * as pool from '../ops/pool.js'
import { operand, type Shape } from './operands.js'
import { record, type RecordedKernel } from './recording.js'

export interface PoolShapes {
  /** [N, H, W, C] */
  readonly x: Shape
  /** The height and the width of the window. */
  readonly size: number
  /** The window's size by default. */
  readonly stride?: number
  /** 0 by default, at most half of the window; padding counts as −∞. */
  readonly padding?: number
}

/**
 * Maximum over windows: y is [N, ⌊(H + 2·padding − size) / stride⌋ + 1, ⌊(W + 2·padding − size) / stride⌋ + 1, C].
 *
 * @example maxPool2d(device, { x: [2, 8, 8, 16], size: 3, stride: 2, padding: 1 })
 */
export async function maxPool2d(device: GPUDevice, { x, ...window }: PoolShapes): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'maxPool2d', { outputs: { y: pool.maxPool2d(operand('x', x), window) } })
}

/**
 * dx of `maxPool2d` from x and dy. Of equal maxima, the first gets all of the gradient.
 *
 * @example maxPool2dGradient(device, { x: [2, 8, 8, 16], size: 3, stride: 2, padding: 1 })
 */
export async function maxPool2dGradient(
  device: GPUDevice,
  { x, ...window }: PoolShapes,
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  const image = operand('x', x)
  const y = pool.maxPool2d(image, window)
  return record(device, 'maxPool2dGradient', { outputs: { dx: backward([[y, operand('dy', y.shape)]], [image])[0] } })
}

export interface GlobalPoolShapes {
  /** [N, H, W, C] */
  readonly x: Shape
}

/**
 * Mean over height and width: y is [N, C].
 *
 * @example globalAveragePool(device, { x: [2, 8, 8, 16] })
 */
export async function globalAveragePool(
  device: GPUDevice,
  { x }: GlobalPoolShapes,
): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'globalAveragePool', { outputs: { y: pool.globalAveragePool(operand('x', x)) } })
}
