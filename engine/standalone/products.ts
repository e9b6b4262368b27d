/** Matrix products and convolutions. */
import { backward } from '../autograd.js'
import * as convolution from '../ops/conv2d.js'
import * as product from '../ops/matmul.js'
import { operand, optional, type If, type Shape } from './operands.js'
import { record, type RecordedKernel } from './recording.js'

export interface MatmulShapes {
  /** [M, K], or [K, M] with `transposeA`; [batch, …, …] for a batch of products. */
  readonly a: Shape
  /** [K, N], or [N, K] with `transposeB`. */
  readonly b: Shape
  /** A is stored transposed; false by default. */
  readonly transposeA?: boolean
  /** B is stored transposed; false by default. */
  readonly transposeB?: boolean
  /** Adds an operand `bias` [N] to each row. */
  readonly bias?: boolean
}

/**
 * c = A·B (+ bias): c is [M, N] or [batch, M, N].
 *
 * @example matmul(device, { a: [128, 64], b: [64, 32], bias: true })
 */
export async function matmul<const O extends MatmulShapes>(
  device: GPUDevice,
  options: O,
): Promise<RecordedKernel<'a' | 'b' | 'c' | If<O, 'bias', 'bias'>>> {
  const { transposeA, transposeB } = options
  const [a, b] = [operand('a', options.a), operand('b', options.b)]
  const columns = options.b.at(transposeB ? -2 : -1) ?? 0
  const bias = optional(options.bias, 'bias', [columns])
  return record(device, 'matmul', { outputs: { c: product.matmul(a, b, { transposeA, transposeB, bias }) } })
}

export interface Conv2dShapes {
  /** [N, H, W, C] */
  readonly x: Shape
  /** [kh, kw, C, O] */
  readonly w: Shape
  /** 1 by default. */
  readonly stride?: number
  /** The width of the zero padding on every side; 0 by default. */
  readonly padding?: number
  /** Adds an operand `bias` [O] at each pixel. */
  readonly bias?: boolean
}

const convolved = ({ x, w, stride, padding, bias }: Conv2dShapes) => {
  const values = { x: operand('x', x), w: operand('w', w) }
  const y = convolution.conv2d(values.x, values.w, { stride, padding, bias: optional(bias, 'bias', [w[3]]) })
  return { ...values, y, dy: operand('dy', y.shape) }
}

/**
 * y[n, i, j, o] = Σ x[n, i·stride + ky − padding, j·stride + kx − padding, c] · w[ky, kx, c, o] (+ bias[o]). The kernel
 * is not larger than the padded image. There are no groups and no dilation.
 *
 * @example conv2d(device, { x: [2, 9, 9, 3], w: [3, 3, 3, 16], stride: 2, padding: 1, bias: true })
 */
export async function conv2d<const O extends Conv2dShapes>(
  device: GPUDevice,
  options: O,
): Promise<RecordedKernel<'x' | 'w' | 'y' | If<O, 'bias', 'bias'>>> {
  return record(device, 'conv2d', { outputs: { y: convolved(options).y } })
}

/**
 * dx of `conv2d` from dy, of y's shape, and w.
 *
 * @example conv2dInputGradient(device, { x: [2, 9, 9, 3], w: [3, 3, 3, 16], stride: 2, padding: 1 })
 */
export async function conv2dInputGradient(
  device: GPUDevice,
  options: Omit<Conv2dShapes, 'bias'>,
): Promise<RecordedKernel<'dy' | 'w' | 'dx'>> {
  const { x, y, dy } = convolved(options)
  return record(device, 'conv2dInputGradient', { outputs: { dx: backward([[y, dy]], [x])[0] } })
}

/**
 * dw of `conv2d` from x and dy, of y's shape.
 *
 * @example conv2dWeightGradient(device, { x: [2, 9, 9, 3], w: [3, 3, 3, 16], stride: 2, padding: 1 })
 */
export async function conv2dWeightGradient(
  device: GPUDevice,
  options: Omit<Conv2dShapes, 'bias'>,
): Promise<RecordedKernel<'x' | 'dy' | 'dw'>> {
  const { w, y, dy } = convolved(options)
  return record(device, 'conv2dWeightGradient', { outputs: { dw: backward([[y, dy]], [w])[0] } })
}
