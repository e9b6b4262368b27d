/** Normalisation of channels, rows and columns. */
import { backward } from '../autograd.js'
import * as norm from '../ops/batch_norm.js'
import * as inference from '../ops/batch_norm_inference.js'
import * as rows from '../ops/normalize.js'
import { operand, optional, type If, type Shape } from './operands.js'
import { record, type RecordedKernel } from './recording.js'

export interface BatchNormShapes {
  /** [N, …, C] */
  readonly x: Shape
  /** The number of equal parts of the first dimension, each with its own statistics; 1 by default. */
  readonly groups?: number
  /** Added to the variance; 1e-5 by default. */
  readonly epsilon?: number
  /** Applies max(·, 0) at the end. */
  readonly relu?: boolean
  /** Adds an operand `residual`, of x's shape, before the ReLU. */
  readonly residual?: boolean
}

const normalized = ({ x, residual, ...options }: BatchNormShapes) => {
  const channels = [x[x.length - 1]]
  const values = { x: operand('x', x), scale: operand('scale', channels), shift: operand('shift', channels) }
  const added = optional(residual, 'residual', x)
  return {
    ...values,
    added,
    result: norm.batchNorm(values.x, values.scale, values.shift, { ...options, residual: added }),
  }
}

/**
 * y = (x − mean) / √(variance + ε) · scale + shift (+ residual, ReLU) with the batch's statistics. scale, shift: [C].
 * mean and the biased variance, [groups, C], are outputs, too. Each statistic needs at least 2 rows (N · H · W / groups).
 *
 * @example batchNorm(device, { x: [8, 4, 4, 16], relu: true, residual: true })
 */
export async function batchNorm<const O extends BatchNormShapes>(
  device: GPUDevice,
  options: O,
): Promise<RecordedKernel<'x' | 'scale' | 'shift' | 'y' | 'mean' | 'variance' | If<O, 'residual', 'residual'>>> {
  return record(device, 'batchNorm', { outputs: normalized(options).result })
}

/**
 * dx, dscale, dshift (and dresidual) of `batchNorm` from its inputs and dy.
 *
 * @example batchNormGradient(device, { x: [8, 4, 4, 16], relu: true, residual: true })
 */
export async function batchNormGradient<const O extends BatchNormShapes>(
  device: GPUDevice,
  options: O,
): Promise<
  RecordedKernel<
    'x' | 'scale' | 'shift' | 'dy' | 'dx' | 'dscale' | 'dshift' | If<O, 'residual', 'residual' | 'dresidual'>
  >
> {
  const { x, scale, shift, added, result } = normalized(options)
  const targets = [x, scale, shift, ...(added ? [added] : [])]
  const [dx, dscale, dshift, dresidual] = backward([[result.y, operand('dy', options.x)]], targets)
  return record(device, 'batchNormGradient', { outputs: { dx, dscale, dshift, ...(dresidual && { dresidual }) } })
}

/**
 * Batch-norm with given statistics, for evaluation. mean, variance, scale, shift: [C]; y has x's shape.
 *
 * @example batchNormInference(device, { x: [8, 4, 4, 16], relu: true })
 */
export async function batchNormInference<const O extends Omit<BatchNormShapes, 'groups'>>(
  device: GPUDevice,
  { x, residual, epsilon, relu: clip }: O,
): Promise<RecordedKernel<'x' | 'mean' | 'variance' | 'scale' | 'shift' | 'y' | If<O, 'residual', 'residual'>>> {
  const channels = [x[x.length - 1]]
  const [mean, variance, scale, shift] = ['mean', 'variance', 'scale', 'shift'].map((name) => operand(name, channels))
  const options = { epsilon, relu: clip, residual: optional(residual, 'residual', x) }
  return record(device, 'batchNormInference', {
    outputs: { y: inference.batchNormInference(operand('x', x), mean, variance, scale, shift, options) },
  })
}

export interface RowShapes {
  /** [rows, columns] */
  readonly x: Shape
  /** The smallest divisor; 1e-12 by default. */
  readonly epsilon?: number
}

/**
 * y = x / max(‖x‖₂, epsilon) for each row.
 *
 * @example l2NormalizeRows(device, { x: [32, 64] })
 */
export async function l2NormalizeRows(
  device: GPUDevice,
  { x, ...options }: RowShapes,
): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'l2NormalizeRows', { outputs: { y: rows.l2NormalizeRows(operand('x', x), options) } })
}

/**
 * dx of `l2NormalizeRows` from x and dy.
 *
 * @example l2NormalizeRowsGradient(device, { x: [32, 64] })
 */
export async function l2NormalizeRowsGradient(
  device: GPUDevice,
  { x, ...options }: RowShapes,
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  const value = operand('x', x)
  const seeds = [[rows.l2NormalizeRows(value, options), operand('dy', x)]] as const
  return record(device, 'l2NormalizeRowsGradient', { outputs: { dx: backward(seeds, [value])[0] } })
}

export interface ColumnShapes {
  /** [rows, columns], with at least 2 rows in each group. */
  readonly x: Shape
  /** The number of equal groups of rows, each with its own statistics; 1 by default. */
  readonly groups?: number
  /** Added to the variance; 0 by default. */
  readonly epsilon?: number
  /** The divisor of the variance is rows − correction; 1 by default. */
  readonly correction?: number
}

/**
 * y = (x − mean) / std of each column.
 *
 * @example standardizeColumns(device, { x: [32, 64], groups: 2 })
 */
export async function standardizeColumns(
  device: GPUDevice,
  { x, ...options }: ColumnShapes,
): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'standardizeColumns', { outputs: { y: norm.standardizeColumns(operand('x', x), options) } })
}

/**
 * dx of `standardizeColumns` from x and dy.
 *
 * @example standardizeColumnsGradient(device, { x: [32, 64], groups: 2 })
 */
export async function standardizeColumnsGradient(
  device: GPUDevice,
  { x, ...options }: ColumnShapes,
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  const value = operand('x', x)
  const seeds = [[norm.standardizeColumns(value, options), operand('dy', x)]] as const
  return record(device, 'standardizeColumnsGradient', { outputs: { dx: backward(seeds, [value])[0] } })
}
