/** The cases that all peers run, and their inputs. */
import { initialOf, Purpose, RandomStream, sizeOf } from '../../../engine/index.js'
import { projector, resnet, type SafetensorsTensor } from '../../../models/index.js'
import { toTorch } from '../../../models/state_dict.js'

export type Direction = 'forward' | 'input gradient' | 'weight gradient'

/** A 3×3 convolution with padding 1, or one of its two gradients. */
export interface ConvCase {
  kind: 'conv'
  direction: Direction
  /** N, H, W, channels in, channels out, stride. */
  shape: readonly [number, number, number, number, number, number]
}

/** C = A·B of square matrices. */
export interface MatmulCase {
  kind: 'matmul'
  size: number
}

/** A training step of a ResNet-18 with projector on fixed views: loss, gradients, Adam. */
export interface StepCase {
  kind: 'step'
  width: number
  /** Images. Each has two views. */
  batch: number
  /** Height and width of the views. */
  pixels: number
  /** 'f16' is mixed precision with f32 weights and a loss scale. */
  precision: 'f32' | 'f16'
}

/** The loss scale with which f16 gradients are compared. */
export const CHECK_SCALE = 1024

export type Case = ConvCase | MatmulCase | StepCase

/** Tensors by name. Images are NHWC, convolution weights HWIO; networks have torchvision's names and layouts. */
export type Tensors = Record<string, Float32Array>

export const VIEWS = 2
export const LAMBDA = 0.01
/** Learning rate: small, so that wrong gradients change the second loss by more than rounding does. */
export const RATE = 1e-4
export const PROJECTOR_DIM = 256
export const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const
export const BATCH_NORM_EPSILON = 1e-5

export const nameOf = (c: Case): string => {
  if (c.kind === 'conv') return `conv 3×3 [${c.shape.join(', ')}] ${c.direction}`
  if (c.kind === 'matmul') return `matmul ${c.size}`
  return `ResNet-18 step, width ${c.width}, batch ${c.batch}, ${c.pixels} px${c.precision === 'f16' ? ', f16' : ''}`
}

/** Height and width of the output of a 3×3 convolution with padding 1. */
export const outputSide = (side: number, stride: number): number => Math.floor((side - 1) / stride) + 1

/** Floating-point operations of a case: 2 for each multiply-add of its products. */
export function flopsOf(c: Case): number {
  if (c.kind === 'matmul') return 2 * c.size ** 3
  if (c.kind === 'conv') {
    const [n, h, w, from, to, stride] = c.shape
    return 2 * n * outputSide(h, stride) * outputSide(w, stride) * 9 * from * to
  }
  return trainingFlops(c)
}

/** Of the convolutions and the projector. Backward costs twice the forward pass, except for the stem. */
function trainingFlops({ width, batch, pixels }: StepCase): number {
  const conv = (side: number, kernel: number, from: number, to: number) => 2 * side * side * kernel * kernel * from * to
  const stem = conv(pixels, 3, 3, width)
  let rest = 0
  for (const { from, to, stride, side } of blocks(width, pixels)) {
    const out = side / stride
    rest += conv(out, 3, from, to) + conv(out, 3, to, to) + (stride > 1 ? conv(out, 1, from, to) : 0)
  }
  rest += 2 * PROJECTOR_DIM * (8 * width + PROJECTOR_DIM)
  return VIEWS * batch * (2 * stem + 3 * rest)
}

/** The basic blocks of a ResNet-18. `side` is the height and width of a block's input. */
export function blocks(
  width: number,
  pixels: number,
): { name: string; from: number; to: number; stride: number; side: number }[] {
  const list = []
  let from = width
  let side = pixels
  for (let stage = 0; stage < 4; stage++)
    for (let i = 0; i < 2; i++) {
      const to = width * 2 ** stage
      const stride = stage > 0 && i === 0 ? 2 : 1
      list.push({ name: `layer${stage + 1}.${i}`, from, to, stride, side })
      from = to
      side /= stride
    }
  return list
}

const f32 = (shape: readonly number[], data: Float32Array): SafetensorsTensor => ({
  dtype: 'F32',
  shape: [...shape],
  data,
})

/** Normally distributed numbers; `index` selects the stream. */
function normals(shape: readonly number[], index: number): SafetensorsTensor {
  const random = new RandomStream(7, Purpose.readout, index)
  return f32(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => random.normal()),
  )
}

/** The input tensors of a case, which all peers read from one file. */
export function inputsOf(c: Case): Record<string, SafetensorsTensor> {
  if (c.kind === 'matmul') return { a: normals([c.size, c.size], 0), b: normals([c.size, c.size], 1) }
  if (c.kind === 'conv') {
    const [n, h, w, from, to, stride] = c.shape
    return {
      x: normals([n, h, w, from], 0),
      w: normals([3, 3, from, to], 1),
      dy: normals([n, outputSide(h, stride), outputSide(w, stride), to], 2),
    }
  }
  const backbone = resnet({ arch: 'resnet18', width: c.width })
  const head = projector({ features: backbone.features, dim: PROJECTOR_DIM })
  const tensors: Record<string, SafetensorsTensor> = { x: normals([VIEWS * c.batch, c.pixels, c.pixels, 3], 0) }
  for (const dict of [backbone.dict, head.dict])
    for (const [name, entry] of dict.entries)
      tensors[name] = f32(entry.torchShape, toTorch(entry, initialOf(entry.variable) as Float32Array))
  return tensors
}

/** Number of losses in the result of a step. With f16 the first update can be skipped while the loss scale adjusts. */
export const lossesOf = ({ precision }: StepCase): number => (precision === 'f16' ? 1 : 2)

/** Names of the tensors in the result of a case. */
export const resultsOf = (c: Case): string[] => {
  if (c.kind === 'matmul') return ['c']
  if (c.kind === 'conv') return [{ forward: 'y', 'input gradient': 'dx', 'weight gradient': 'dw' }[c.direction]]
  // The gradient of the stem depends on every layer, the second loss on every update.
  return ['loss', 'conv1.weight gradient']
}

const CONVS_EVERYWHERE = [
  [32, 32, 32, 16, 16, 1],
  [32, 16, 16, 64, 64, 1],
  [32, 8, 8, 128, 128, 1],
  [32, 16, 16, 64, 128, 2],
] as const
/** `--quick` leaves this shape out, because others are similar. */
const NOT_QUICK = new Set<ConvCase['shape']>([CONVS_EVERYWHERE[1]])
const CONVS_ON_GPUS = [
  [256, 32, 32, 64, 64, 1],
  [256, 8, 8, 256, 256, 1],
  [256, 4, 4, 512, 512, 1],
] as const
const DIRECTIONS: Direction[] = ['forward', 'input gradient', 'weight gradient']

/** A case and the peers that run it. */
export interface Contest {
  case: Case
  peers: readonly PeerName[]
}

export const PEERS = ['tfjs', 'jax-js', 'torch'] as const
export type PeerName = (typeof PEERS)[number]

/**
 * All cases for an adapter class. Cases that take minutes on a CPU driver are for GPUs only.
 *
 * @param options.f16 whether the adapter supports mixed precision
 * @param options.quick fewer cases
 */
export function contests(
  adapterClass: 'cpu' | 'gpu',
  { f16 = false, quick = false }: { f16?: boolean; quick?: boolean } = {},
): Contest[] {
  const gpu = adapterClass === 'gpu'
  const step = (width: number, batch: number, precision: StepCase['precision'] = 'f32'): StepCase => ({
    kind: 'step',
    width,
    batch,
    pixels: 32,
    precision,
  })
  return [
    ...[...CONVS_EVERYWHERE.filter((shape) => !(quick && NOT_QUICK.has(shape))), ...(gpu ? CONVS_ON_GPUS : [])].flatMap(
      (shape) => DIRECTIONS.map((direction): Contest => ({ case: { kind: 'conv', direction, shape }, peers: PEERS })),
    ),
    ...[256, 512, 1024, ...(gpu ? [4096] : [])].map((size): Contest => ({
      case: { kind: 'matmul', size },
      peers: PEERS,
    })),
    { case: step(16, 32), peers: ['tfjs', 'jax-js'] },
    { case: step(64, 16), peers: ['torch'] },
    ...(gpu ? [{ case: step(64, 512), peers: ['torch'] as const }] : []),
    ...(gpu && f16 ? [{ case: step(64, 512, 'f16'), peers: ['torch'] as const }] : []),
  ]
}
