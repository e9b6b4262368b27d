/** The cases of the kernel benchmark: each kernel family over the shapes of real networks. */
import {
  adam,
  backward,
  batchNorm,
  conv2d,
  crossCorrelation,
  globalAveragePool,
  gradients,
  input,
  matmul,
  maxPool2d,
  orthogonalityLoss,
  sum,
  variable,
  type ProgramSpec,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { flopsOf, outputSide, type Direction } from './peers/cases.js'
import { randomValues } from './random_data.js'

/** A program that exercises one kernel family. */
export interface KernelCase {
  family: string
  name: string
  /** Operations of one run; absent if memory limits the family. */
  flops?: number
  build(): { spec: ProgramSpec; variables: Variable[]; inputs?: Record<string, Float32Array> }
}

/** A convolution of a ResNet on images of side × side. */
interface Layer {
  network: string
  side: number
  /** Channels of the input. */
  from: number
  /** Channels of the output. */
  to: number
  kernel: number
  stride: number
}

const layer = (network: string, side: number, from: number, to: number, kernel: number, stride = 1): Layer => ({
  network,
  side,
  from,
  to,
  kernel,
  stride,
})

const CIFAR = 'ResNet-18, CIFAR'
const IMAGENET = 'ResNet-50, ImageNet'

/** One layer of each kind. `--quick` takes the first QUICK_LAYERS. */
const LAYERS = [
  layer(CIFAR, 32, 64, 64, 3),
  layer(CIFAR, 8, 256, 256, 3),
  layer(CIFAR, 32, 64, 128, 3, 2),
  layer(IMAGENET, 28, 512, 128, 1),
  layer(CIFAR, 32, 4, 64, 3),
  layer(CIFAR, 16, 128, 128, 3),
  layer(CIFAR, 4, 512, 512, 3),
  layer(CIFAR, 16, 128, 256, 3, 2),
  layer(CIFAR, 8, 256, 512, 3, 2),
  layer(CIFAR, 32, 64, 128, 1, 2),
  layer(IMAGENET, 224, 4, 64, 7, 2),
  layer(IMAGENET, 56, 64, 64, 3),
  layer(IMAGENET, 56, 64, 256, 1),
  layer(IMAGENET, 56, 128, 128, 3, 2),
  layer(IMAGENET, 14, 256, 1024, 1),
  layer(IMAGENET, 14, 256, 256, 3),
  layer(IMAGENET, 7, 512, 512, 3),
]
const QUICK_LAYERS = 4
/** Images in a batch: enough to fill the adapter, few enough that a case takes about a second on a CPU driver. */
const BATCH = { cpu: { [CIFAR]: 16, [IMAGENET]: 2 }, gpu: { [CIFAR]: 256, [IMAGENET]: 64 } }
/** CPU drivers skip convolutions with more GFLOP than this. */
const MOST_CPU_GFLOP = 6

const random = (name: string, shape: readonly number[]): Variable =>
  variable(name, shape, () => randomValues(shape.reduce((a, b) => a * b, 1)))

function convCase({ network, side, from, to, kernel, stride }: Layer, n: number, direction: Direction): KernelCase {
  const padding = kernel >> 1
  const out = outputSide(side, stride)
  return {
    family: `conv ${direction}`,
    name: `${network}: [${n}, ${side}, ${side}, ${from}] → ${to}, ${kernel}×${kernel}${stride > 1 ? `, stride ${stride}` : ''}`,
    flops: 2 * n * out * out * kernel * kernel * from * to,
    build: () => {
      const x = random('x', [n, side, side, from])
      const w = random('w', [kernel, kernel, from, to])
      const dy = random('dy', [n, out, out, to])
      const y = conv2d(x, w, { stride, padding })
      const result = direction === 'forward' ? y : backward([[y, dy]], [direction === 'input gradient' ? x : w])[0]
      return { spec: { label: 'conv', outputs: { result } }, variables: [x, w, dy] }
    },
  }
}

const matmulCase = (size: number): KernelCase => ({
  family: 'matmul',
  name: `${size}³`,
  flops: flopsOf({ kind: 'matmul', size }),
  build: () => {
    const [a, b] = [random('a', [size, size]), random('b', [size, size])]
    return { spec: { label: 'matmul', outputs: { c: matmul(a, b) } }, variables: [a, b] }
  },
})

/** An op with its gradient, limited by memory traffic. */
function memoryCase(family: string, shape: readonly number[], op: (x: Value) => Value): KernelCase {
  return {
    family,
    name: `[${shape.join(', ')}], forward and backward`,
    build: () => {
      const x = random('x', shape)
      const y = op(x)
      const dy = random('dy', y.shape)
      return { spec: { label: family, outputs: { y, dx: backward([[y, dy]], [x])[0] } }, variables: [x, dy] }
    },
  }
}

/** The ops that are not products, on the shapes that cost most. */
function memoryCases(n: { [CIFAR]: number; [IMAGENET]: number }): KernelCase[] {
  const channels = (c: number, value: number) => variable('channels', [c], new Float32Array(c).fill(value))
  const norm = (shape: readonly number[]): KernelCase => {
    const c = shape[3]
    const op = (x: Value): Value => batchNorm(x, channels(c, 1), channels(c, 0), { relu: true }).y
    return memoryCase('batch-norm + ReLU', shape, op)
  }
  return [
    norm([n[CIFAR], 32, 32, 64]),
    norm([n[CIFAR], 8, 8, 256]),
    memoryCase('max-pool 3×3', [n[IMAGENET], 112, 112, 64], (x) => maxPool2d(x, { size: 3, stride: 2, padding: 1 })),
    memoryCase('average pool', [n[CIFAR], 8, 8, 512], globalAveragePool),
    memoryCase('Barlow Twins loss', [n[CIFAR], 1024], (z) =>
      orthogonalityLoss(crossCorrelation(z, z), { offDiagonal: 0.01 }),
    ),
    {
      family: 'Adam',
      name: '2²¹ parameters',
      build: () => {
        const w = random('w', [2 ** 21])
        const optimizer = adam([w])
        const updates = optimizer.updates(gradients(sum(w), [w]), input('rate', [1]))
        const inputs = { rate: new Float32Array([1e-3]) }
        return { spec: { label: 'adam', updates }, variables: [w, ...optimizer.state], inputs }
      },
    },
  ]
}

/** All cases for an adapter class. */
export function kernelCases(adapterClass: 'cpu' | 'gpu', quick: boolean): KernelCase[] {
  const n = BATCH[adapterClass] as { [CIFAR]: number; [IMAGENET]: number }
  const convs = LAYERS.slice(0, quick ? QUICK_LAYERS : undefined).flatMap((l) =>
    (['forward', 'input gradient', 'weight gradient'] as const)
      // Training needs no gradient in the images.
      .filter((direction) => !(direction === 'input gradient' && l.from === 4))
      .map((direction) => convCase(l, n[l.network as typeof CIFAR], direction)),
  )
  const sizes = adapterClass === 'gpu' ? [256, 512, 1024, 2048, 4096] : [256, 512, 1024, ...(quick ? [] : [2048])]
  return [...convs, ...sizes.map(matmulCase), ...memoryCases(n)].filter(
    ({ family, flops = 0 }) => adapterClass === 'gpu' || family === 'matmul' || flops < MOST_CPU_GFLOP * 1e9,
  )
}
