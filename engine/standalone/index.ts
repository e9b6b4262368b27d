/// <reference types="@webgpu/types" preserve="true" />
/**
 * Each kernel as a function on the caller's own GPUDevice and GPUBuffers, with no engine behind it:
 *
 *     const product = await matmul(device, { a: [M, K], b: [K, N] })        // compiles, once
 *     const pass = encoder.beginComputePass()
 *     product.encode(pass, { a, b, c })                                      // records, any number of times
 *     pass.end()
 *
 * A function takes the operands' shapes and gives a `RecordedKernel`; its return type names the buffers that
 * `encode` wants, and `operands` says how many bytes each must hold. Tensors are dense, row-major and f32
 * (labels u32); activations are NHWC, convolution weights HWIO. Results are deterministic. `xGradient(…)`
 * takes dy, the gradient of a loss in y, and gives it in x's inputs; where it needs what the forward pass
 * knows (statistics, the places of maxima) it computes that again from the inputs.
 *
 * All of them reject with one line that names the op: shapes that do not fit, memory that is short.
 */
import { backward, gradients } from '../autograd.js'
import { record, type RecordedKernel } from './recording.js'
import { assign, input, variable } from '../leaves.js'
import { checkShape, type Value } from '../value.js'
import { add as addOp, multiplyWhere } from '../ops/elementwise.js'
import * as norm from '../ops/batch_norm.js'
import * as convolution from '../ops/conv2d.js'
import * as correlation from '../ops/correlation.js'
import * as entropy from '../ops/cross_entropy.js'
import * as product from '../ops/matmul.js'
import { adamOp, sgdOp } from '../ops/optimizers.js'
import * as rows from '../ops/normalize.js'
import * as pool from '../ops/pool.js'
import * as unary from '../ops/elementwise.js'

export {
  kernel,
  useKernelTexts,
  type Operand,
  type OperandSpec,
  type RawKernel,
  type RecordedKernel,
} from './recording.js'
export { fetchKernels, kernelNames, type KernelName } from '../shader_texts.js'
export { MASKED_LABEL } from '../ops/cross_entropy.js'
export { ShapeError } from '../value.js'
export type { Constants } from '../kernel.js'

type Shape = readonly number[]
/** `N` where the options `O` set the flag `F`: an operand that exists only then. */
type If<O, F extends string, N extends string> = O extends { readonly [K in F]: true } ? N : never

const from = (name: string, shape: Shape): Value => input(name, shape)
const maybe = (flag: boolean | undefined, name: string, shape: Shape): Value | undefined =>
  flag ? input(name, shape) : undefined

export interface MatmulShapes {
  /** [M, K], or [K, M] with `transposeA`; [batch, …, …] for a batch of products. */
  readonly a: Shape
  /** [K, N], or [N, K] with `transposeB`. */
  readonly b: Shape
  readonly transposeA?: boolean
  readonly transposeB?: boolean
  /** Takes `bias` [N], added to every row. */
  readonly bias?: boolean
}

/** c = A·B (+ bias): c is [M, N] or [batch, M, N]. */
export async function matmul<const O extends MatmulShapes>(
  device: GPUDevice,
  options: O,
): Promise<RecordedKernel<'a' | 'b' | 'c' | If<O, 'bias', 'bias'>>> {
  const { transposeA, transposeB } = options
  const [a, b] = [from('a', options.a), from('b', options.b)]
  const columns = options.b.at(transposeB ? -2 : -1) ?? 0
  const bias = maybe(options.bias, 'bias', [columns])
  return record(device, 'matmul', { outputs: { c: product.matmul(a, b, { transposeA, transposeB, bias }) } })
}

export interface Conv2dShapes {
  /** [N, H, W, C] */
  readonly x: Shape
  /** [kh, kw, C, O] */
  readonly w: Shape
  /** 1 by default. */
  readonly stride?: number
  /** Zeros on every side; 0 by default. */
  readonly padding?: number
  /** Takes `bias` [O], added at every pixel. */
  readonly bias?: boolean
}

const convolved = ({ x, w, stride, padding, bias }: Conv2dShapes) => {
  const values = { x: from('x', x), w: from('w', w) }
  const y = convolution.conv2d(values.x, values.w, { stride, padding, bias: maybe(bias, 'bias', [w[3]]) })
  return { ...values, y, dy: from('dy', y.shape) }
}

/** y[n, i, j, o] = Σ x[n, i·stride + ky − padding, j·stride + kx − padding, c] · w[ky, kx, c, o] (+ bias[o]). */
export async function conv2d<const O extends Conv2dShapes>(
  device: GPUDevice,
  options: O,
): Promise<RecordedKernel<'x' | 'w' | 'y' | If<O, 'bias', 'bias'>>> {
  return record(device, 'conv2d', { outputs: { y: convolved(options).y } })
}

/** dx from dy, of y's shape, and w. */
export async function conv2dInputGradient(
  device: GPUDevice,
  options: Omit<Conv2dShapes, 'bias'>,
): Promise<RecordedKernel<'dy' | 'w' | 'dx'>> {
  const { x, y, dy } = convolved(options)
  return record(device, 'conv2dInputGradient', { outputs: { dx: backward([[y, dy]], [x])[0] } })
}

/** dw from x and dy, of y's shape. */
export async function conv2dWeightGradient(
  device: GPUDevice,
  options: Omit<Conv2dShapes, 'bias'>,
): Promise<RecordedKernel<'x' | 'dy' | 'dw'>> {
  const { w, y, dy } = convolved(options)
  return record(device, 'conv2dWeightGradient', { outputs: { dw: backward([[y, dy]], [w])[0] } })
}

export interface BatchNormShapes {
  /** [N, …, C] */
  readonly x: Shape
  /** The first dimension in so many equal runs with statistics of their own; 1 by default. */
  readonly groups?: number
  /** Added to the variance; 1e-5 by default. */
  readonly epsilon?: number
  /** max(·, 0) at the end. */
  readonly relu?: boolean
  /** Takes `residual`, of x's shape, added before the ReLU. */
  readonly residual?: boolean
}

const normalized = ({ x, residual, ...options }: BatchNormShapes) => {
  const channels = [x[x.length - 1]]
  const values = { x: from('x', x), scale: from('scale', channels), shift: from('shift', channels) }
  const added = maybe(residual, 'residual', x)
  return {
    ...values,
    added,
    result: norm.batchNorm(values.x, values.scale, values.shift, { ...options, residual: added }),
  }
}

/**
 * y = (x − mean) / √(variance + ε) · scale + shift (+ residual, ReLU) with the batch's statistics. scale, shift: [C];
 * mean and (biased) variance, written too: [groups, C].
 */
export async function batchNorm<const O extends BatchNormShapes>(
  device: GPUDevice,
  options: O,
): Promise<RecordedKernel<'x' | 'scale' | 'shift' | 'y' | 'mean' | 'variance' | If<O, 'residual', 'residual'>>> {
  return record(device, 'batchNorm', { outputs: normalized(options).result })
}

/** dx, dscale, dshift (and dresidual) of `batchNorm` from its inputs and dy. */
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
  const [dx, dscale, dshift, dresidual] = backward([[result.y, from('dy', options.x)]], targets)
  return record(device, 'batchNormGradient', { outputs: { dx, dscale, dshift, ...(dresidual && { dresidual }) } })
}

/** Batch-norm with given statistics, as in evaluation. mean, variance, scale, shift: [C]; y is of x's shape. */
export async function batchNormInference<const O extends Omit<BatchNormShapes, 'groups'>>(
  device: GPUDevice,
  { x, residual, epsilon, relu: clip }: O,
): Promise<RecordedKernel<'x' | 'mean' | 'variance' | 'scale' | 'shift' | 'y' | If<O, 'residual', 'residual'>>> {
  const channels = [x[x.length - 1]]
  const [mean, variance, scale, shift] = ['mean', 'variance', 'scale', 'shift'].map((name) => from(name, channels))
  const options = { epsilon, relu: clip, residual: maybe(residual, 'residual', x) }
  return record(device, 'batchNormInference', {
    outputs: { y: norm.batchNormInference(from('x', x), mean, variance, scale, shift, options) },
  })
}

/** y = max(x, 0). */
export async function relu(device: GPUDevice, { x }: { readonly x: Shape }): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'relu', { outputs: { y: unary.relu(from('x', x)) } })
}

/** dx = dy where x (or, the same, y) is above 0, else 0. */
export async function reluGradient(
  device: GPUDevice,
  { x }: { readonly x: Shape },
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  return record(device, 'reluGradient', { outputs: { dx: multiplyWhere(from('dy', x), from('x', x)) } })
}

/** y = a + b, with NumPy's broadcasting over up to four dimensions. */
export async function add(
  device: GPUDevice,
  { a, b }: { readonly a: Shape; readonly b: Shape },
): Promise<RecordedKernel<'a' | 'b' | 'y'>> {
  return record(device, 'add', { outputs: { y: addOp(from('a', a), from('b', b)) } })
}

export interface PoolShapes {
  /** [N, H, W, C] */
  readonly x: Shape
  /** Height and width of the window. */
  readonly size: number
  /** The window's size by default. */
  readonly stride?: number
  /** 0 by default; outside the image counts as −∞. */
  readonly padding?: number
}

/** Maximum over windows: y is [N, ⌊(H + 2·padding − size) / stride⌋ + 1, likewise, C]. */
export async function maxPool2d(device: GPUDevice, { x, ...window }: PoolShapes): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'maxPool2d', { outputs: { y: pool.maxPool2d(from('x', x), window) } })
}

/** dx of `maxPool2d` from x and dy; of equal maxima the first takes it all. */
export async function maxPool2dGradient(
  device: GPUDevice,
  { x, ...window }: PoolShapes,
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  const image = from('x', x)
  const y = pool.maxPool2d(image, window)
  return record(device, 'maxPool2dGradient', { outputs: { dx: backward([[y, from('dy', y.shape)]], [image])[0] } })
}

/** Mean over height and width. x: [N, H, W, C]; y: [N, C]. */
export async function globalAveragePool(
  device: GPUDevice,
  { x }: { readonly x: Shape },
): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'globalAveragePool', { outputs: { y: pool.globalAveragePool(from('x', x)) } })
}

export interface RowShapes {
  /** [rows, columns] */
  readonly x: Shape
  /** Smallest norm that is divided by; 1e-12 by default. */
  readonly epsilon?: number
}

/** y = x / max(‖x‖₂, epsilon) for every row. */
export async function l2NormalizeRows(
  device: GPUDevice,
  { x, ...options }: RowShapes,
): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'l2NormalizeRows', { outputs: { y: rows.l2NormalizeRows(from('x', x), options) } })
}

/** dx of `l2NormalizeRows` from x and dy. */
export async function l2NormalizeRowsGradient(
  device: GPUDevice,
  { x, ...options }: RowShapes,
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  const value = from('x', x)
  const seeds = [[rows.l2NormalizeRows(value, options), from('dy', x)]] as const
  return record(device, 'l2NormalizeRowsGradient', { outputs: { dx: backward(seeds, [value])[0] } })
}

export interface ColumnShapes {
  /** [rows, columns], at least 2 rows a group. */
  readonly x: Shape
  /** Equal runs of rows with statistics of their own; 1 by default. */
  readonly groups?: number
  /** Added to the variance; 0 by default. */
  readonly epsilon?: number
  /** The variance's divisor is rows − correction; 1 by default. */
  readonly correction?: number
}

/** y = (x − mean) / std of every column. */
export async function standardizeColumns(
  device: GPUDevice,
  { x, ...options }: ColumnShapes,
): Promise<RecordedKernel<'x' | 'y'>> {
  return record(device, 'standardizeColumns', { outputs: { y: norm.standardizeColumns(from('x', x), options) } })
}

/** dx of `standardizeColumns` from x and dy. */
export async function standardizeColumnsGradient(
  device: GPUDevice,
  { x, ...options }: ColumnShapes,
): Promise<RecordedKernel<'x' | 'dy' | 'dx'>> {
  const value = from('x', x)
  const seeds = [[norm.standardizeColumns(value, options), from('dy', x)]] as const
  return record(device, 'standardizeColumnsGradient', { outputs: { dx: backward(seeds, [value])[0] } })
}

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

/** loss [1] = onDiagonal · Σₖ (cₖₖ − target)² + offDiagonal · Σ_{k≠l} cₖₗ² (Barlow Twins, Zbontar et al. 2021). */
export async function orthogonalityLoss(
  device: GPUDevice,
  { c, ...options }: OrthogonalityShapes,
): Promise<RecordedKernel<'c' | 'loss'>> {
  return record(device, 'orthogonalityLoss', {
    outputs: { loss: correlation.orthogonalityLoss(from('c', c), options) },
  })
}

/** dc of `orthogonalityLoss` itself. */
export async function orthogonalityLossGradient(
  device: GPUDevice,
  { c, ...options }: OrthogonalityShapes,
): Promise<RecordedKernel<'c' | 'dc'>> {
  const value = from('c', c)
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
  const values = from('logits', logits)
  return { logits: values, loss: entropy.crossEntropy(values, input('labels', [logits[0]], 'u32'), { labelSmoothing }) }
}

/** loss [1]: mean softmax cross-entropy over the N rows. labels: [N] u32; a row labelled MASKED_LABEL counts as 0. */
export async function crossEntropy(
  device: GPUDevice,
  options: CrossEntropyShapes,
): Promise<RecordedKernel<'logits' | 'labels' | 'loss'>> {
  return record(device, 'crossEntropy', { outputs: { loss: entropyOf(options).loss } })
}

/** dlogits of `crossEntropy` itself. */
export async function crossEntropyGradient(
  device: GPUDevice,
  options: CrossEntropyShapes,
): Promise<RecordedKernel<'logits' | 'labels' | 'dlogits'>> {
  const { logits, loss } = entropyOf(options)
  return record(device, 'crossEntropyGradient', { outputs: { dlogits: gradients(loss, [logits])[0] } })
}

/** An optimiser's op on one tensor, its states in place, the caller's numbers in place of the engine's. */
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
  const values = op([...variables, from('gradients', shape), ...scalars.map((name) => from(name, [1]))])
  return record(device, label, { updates: variables.map((v, i) => assign(v, values[i])) })
}

export interface AdamShapes {
  /** Of the parameters, both moments and the gradients. */
  readonly shape: Shape
  readonly beta1?: number
  readonly beta2?: number
  readonly epsilon?: number
  readonly weightDecay?: number
  /** AdamW (Loshchilov & Hutter 2019): the decay acts on the parameters, not through the gradient. */
  readonly decoupled?: boolean
}

/**
 * One step of Adam (Kingma & Ba 2015), in place on parameters, m and v. rate and step are one number each in a
 * buffer: the learning rate, and the count of steps, 1 at the first. Before it m and v hold zeros.
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
  /** Of the parameters, the momentum buffer and the gradients. */
  readonly shape: Shape
  readonly momentum?: number
  readonly weightDecay?: number
  readonly nesterov?: boolean
}

/**
 * One step of gradient descent with momentum, in place on parameters and `buffer`, the momentum's, zeros at first.
 * rate: the learning rate, one number in a buffer. Weight decay is added to the gradient.
 */
export async function sgd(
  device: GPUDevice,
  { shape, momentum = 0, weightDecay = 0, nesterov = false }: SgdShapes,
): Promise<RecordedKernel<'parameters' | 'buffer' | 'gradients' | 'rate'>> {
  const attributes = { momentum, weightDecay, nesterov }
  return inPlace(device, 'sgd', shape, ['parameters', 'buffer'], ['rate'], (inputs) => sgdOp(inputs, attributes))
}
