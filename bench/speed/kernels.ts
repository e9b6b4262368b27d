/** Each kernel family over the shapes of real networks, against what the adapter can do at most. */
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
  type Engine,
  type ProgramSpec,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { profile } from '../../engine/profiling.js'
import { measureCeilings, type Ceilings } from './ceilings.js'
import { flopsOf, outputSide, type Direction } from './peers/cases.js'
import { rooflinePlot, sharesPlot } from './plots.js'
import { figure, table, type MeasureOptions, type Report } from './report.js'

/** A program that exercises one family. `flops` is of one run; without it, memory is what counts. */
interface KernelCase {
  family: string
  name: string
  flops?: number
  build(): { spec: ProgramSpec; variables: Variable[]; inputs?: Record<string, Float32Array> }
}

export interface KernelResult {
  family: string
  name: string
  milliseconds: number
  /** By the operations of the direct algorithm. */
  gflops?: number
  /** By what the dispatches bind, each counted once. */
  gbs: number
  /** Operations a byte. */
  intensity?: number
  /** The larger of the shares of the FMA ceiling and of the copy ceiling. */
  share: number
  bound: 'arithmetic' | 'memory'
  dispatches: number
}

/** A convolution of a ResNet: images of side² and how the layer changes them. */
interface Layer {
  network: string
  side: number
  from: number
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

/** Every distinct kind of layer; the first of each network are those of --quick. */
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
/** Images at a time: enough to fill the adapter, few enough for a second a case on a CPU driver. */
const BATCH = { cpu: { [CIFAR]: 16, [IMAGENET]: 2 }, gpu: { [CIFAR]: 256, [IMAGENET]: 64 } }
/** Convolutions whose forward pass takes more GFLOP than this are left out on CPU drivers. */
const MOST_CPU_GFLOP = 6

const random = (name: string, shape: readonly number[]): Variable =>
  variable(name, shape, () => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1))
    // A full period of a linear congruence: quick to make, and never denormal.
    for (let i = 0, state = 1; i < data.length; i++)
      data[i] = (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31
    return data
  })

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

/** An op with its gradient, of which memory traffic is the price. */
function passCase(family: string, shape: readonly number[], op: (x: Value) => Value): KernelCase {
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

/** The ops beside products, on the shapes that cost most. */
function others(n: { [CIFAR]: number; [IMAGENET]: number }): KernelCase[] {
  const channels = (c: number, value: number) => variable('channels', [c], new Float32Array(c).fill(value))
  return [
    passCase(
      'batch-norm + ReLU',
      [n[CIFAR], 32, 32, 64],
      (x) => batchNorm(x, channels(64, 1), channels(64, 0), { relu: true }).y,
    ),
    passCase(
      'batch-norm + ReLU',
      [n[CIFAR], 8, 8, 256],
      (x) => batchNorm(x, channels(256, 1), channels(256, 0), { relu: true }).y,
    ),
    passCase('max-pool 3×3', [n[IMAGENET], 112, 112, 64], (x) => maxPool2d(x, { size: 3, stride: 2, padding: 1 })),
    passCase('average pool', [n[CIFAR], 8, 8, 512], globalAveragePool),
    passCase('Barlow Twins loss', [n[CIFAR], 1024], (z) =>
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

function kernelCases(adapterClass: 'cpu' | 'gpu', quick: boolean): KernelCase[] {
  const n = BATCH[adapterClass] as { [CIFAR]: number; [IMAGENET]: number }
  const convs = LAYERS.slice(0, quick ? QUICK_LAYERS : undefined).flatMap((l) =>
    (['forward', 'input gradient', 'weight gradient'] as const)
      // Images have no gradient.
      .filter((direction) => !(direction === 'input gradient' && l.from === 4))
      .map((direction) => convCase(l, n[l.network as typeof CIFAR], direction)),
  )
  const sizes = adapterClass === 'gpu' ? [256, 512, 1024, 2048, 4096] : [256, 512, 1024, ...(quick ? [] : [2048])]
  return [...convs, ...sizes.map(matmulCase), ...others(n)].filter(
    ({ family, flops = 0 }) => adapterClass === 'gpu' || family === 'matmul' || flops < MOST_CPU_GFLOP * 1e9,
  )
}

/** Measures every case; its programs are freed before the next. */
export async function benchKernels({
  engine,
  origin,
  rounds,
  quick,
  only,
  onMessage,
}: MeasureOptions): Promise<Report> {
  const ceilings = await measureCeilings(engine)
  onMessage(describeCeilings(ceilings))
  const results: KernelResult[] = []
  for (const c of kernelCases(engine.target.adapterClass, quick)) {
    if (only && !`${c.family} ${c.name}`.includes(only)) continue
    const result = await measure(engine, c, ceilings, rounds)
    results.push(result)
    const rate = result.gflops ? `${figure(result.gflops)} GFLOP/s` : `${figure(result.gbs)} GB/s`
    onMessage(`${c.family} ${c.name}: ${figure(result.milliseconds)} ms, ${rate}`)
  }
  if (!results.length) throw new Error(`--only '${only}': no kernel is called that`)
  const rows = results.map((r) => [
    `${r.family} ${r.name}`,
    figure(r.milliseconds),
    r.gflops ? figure(r.gflops) : '',
    figure(r.gbs),
    `${(100 * r.share).toFixed(0)} % of ${r.bound}`,
  ])
  return {
    kind: 'kernels',
    origin,
    results: { ceilings, kernels: results },
    markdown: [
      '## Kernels',
      `${describeCeilings(ceilings)}. GFLOP/s are by the operations of the direct algorithm, so that Winograd may pass ` +
        'the ceiling; GB/s by what the dispatches bind, each counted once.',
      table(['kernel', 'ms', 'GFLOP/s', 'GB/s', 'share of ceiling'], rows),
    ].join('\n\n'),
    plots: { roofline: await rooflinePlot(results, ceilings, origin), shares: await sharesPlot(results, origin) },
  }
}

const describeCeilings = ({ f32, f16, subgroupMatrix, copy }: Ceilings): string =>
  `Ceilings: ${figure(f32)} GFLOP/s f32` +
  (f16 ? `, ${figure(f16)} GFLOP/s f16` : '') +
  (subgroupMatrix ? `, ${figure(subgroupMatrix)} GFLOP/s subgroup matrices` : '') +
  `, ${figure(copy)} GB/s copied`

async function measure(engine: Engine, c: KernelCase, ceilings: Ceilings, rounds: number): Promise<KernelResult> {
  const { spec, variables, inputs } = c.build()
  const program = await engine.compile(spec)
  try {
    const { dispatches } = await profile(program, inputs, { rounds })
    const seconds = dispatches.reduce((total, { microseconds }) => total + microseconds, 0) / 1e6
    const bytes = dispatches.reduce((total, d) => total + d.bytes, 0)
    const gflops = c.flops && c.flops / seconds / 1e9
    const gbs = bytes / seconds / 1e9
    const [arithmetic, memory] = [(gflops ?? 0) / ceilings.f32, gbs / ceilings.copy]
    return {
      family: c.family,
      name: c.name,
      milliseconds: 1000 * seconds,
      gflops,
      gbs,
      intensity: c.flops && c.flops / bytes,
      share: Math.max(arithmetic, memory),
      bound: arithmetic >= memory ? 'arithmetic' : 'memory',
      dispatches: dispatches.length,
    }
  } finally {
    program.destroy()
    for (const v of variables) engine.release(v)
  }
}
