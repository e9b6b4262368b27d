/** What data-parallel training would reach on many GPUs: a plan from models and assumptions, which it states. */
import { kernelTexts, KernelLibrary, type Collective } from '../../../engine/index.js'
import { lower } from '../../../engine/lower.js'
import { deviceImages } from '../../../train/augment/views.js'
import { buildNetwork } from '../../../train/step/network.js'
import { describeStep } from '../../../train/step/whole.js'
import { largeGpu } from '../memory.js'
import { configOf, workload, type Workload } from '../workload.js'
import { allReduceSeconds, stepTime, type Departure, type Link } from './model.js'

/** Assumed, because no GPU is at hand: f32 operations per second of a training step, a third of an H200's peak of 67. */
export const GPU_FLOPS = 22e12
/** Images of a rank in a step; the whole batch grows with the ranks. */
const IMAGES = 64

export interface NamedLink extends Link {
  readonly name: string
}

/** Links by their nominal speeds and assumed latencies. `efficiency`: the measured share of a nominal speed. */
export const plannedLinks = (efficiency: number): NamedLink[] => [
  { name: '10 Gbit/s Ethernet', alpha: 30e-6, beta: 1 / (1.25e9 * efficiency) },
  { name: '100 Gbit/s InfiniBand', alpha: 5e-6, beta: 1 / (12.5e9 * efficiency) },
  { name: 'NVLink class, 450 GB/s', alpha: 5e-6, beta: 1 / (450e9 * efficiency) },
]

export const PLANNED_RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]

/** A step to plan. */
export const plannedSteps: readonly Workload[] = (['resnet18', 'resnet50'] as const).flatMap((arch) =>
  [2, 8].map((views) =>
    workload({ arch, views, batch: IMAGES, ...(arch === 'resnet50' && { pixels: 224, stem: 'imagenet' }) }),
  ),
)

/** What of a step matters for scaling: its operations, and when which gradients depart. */
export interface StepShape {
  readonly flops: number
  readonly departures: readonly Departure[]
  readonly bytes: number
}

/** Plans a step of one of two ranks on a GPU; the engine's own plan says when each bucket of gradients departs. */
export function stepShape(of: Workload, images = of.batch): StepShape {
  const unused = (): never => {
    throw new Error('a plan exchanges nothing')
  }
  const collective: Collective = {
    rank: 0,
    size: 2,
    allReduce: unused,
    allGather: unused,
    broadcast: unused,
    barrier: unused,
  }
  const config = configOf({ ...of, batch: images })
  const network = buildNetwork(config)
  const pixels = new Uint8Array(images * of.pixels ** 2 * 3)
  const onDevice = deviceImages(
    { count: images, height: of.pixels, width: of.pixels, images: pixels },
    largeGpu.maxBindingBytes,
  )
  const { spec } = describeStep(onDevice, network, config, { collective })
  const { dispatches, host } = lower(spec, { target: largeGpu, library: new KernelLibrary(kernelTexts) })
  const flops = dispatches.map((dispatch) => dispatch.flops ?? 0)
  const total = flops.reduce((a, b) => a + b, 0)
  const before = (dispatch: number): number => flops.slice(0, dispatch).reduce((a, b) => a + b, 0) / total
  const departures = host
    .filter(({ kind }) => kind === 'depart')
    .map(({ at, slices }) => ({ after: before(at), bytes: slices.reduce((sum, { bytes }) => sum + bytes, 0) }))
  return { flops: total, departures, bytes: departures.reduce((sum, { bytes }) => sum + bytes, 0) }
}

/** The speed of many ranks. */
export interface Planned {
  readonly step: Workload
  readonly link: string
  readonly ranks: number
  /** Of a step. */
  readonly seconds: number
  /** Images per second relative to as many single ranks, from 0 to 1. */
  readonly efficiency: number
  readonly hidden: number
}

/** Plans the steps on all links and numbers of ranks. The faster of ring and tree is taken. */
export function planScaling(
  shapes: readonly { step: Workload; shape: StepShape }[],
  links: readonly NamedLink[],
): Planned[] {
  return shapes.flatMap(({ step, shape }) => {
    const compute = shape.flops / GPU_FLOPS
    return links.flatMap((link) =>
      PLANNED_RANKS.map((ranks) => {
        const reduce = (bytes: number): number =>
          Math.min(...(['ring', 'tree'] as const).map((name) => allReduceSeconds(name, link, ranks, bytes)))
        const { seconds, hidden } =
          ranks === 1 ? { seconds: compute, hidden: 1 } : stepTime(compute, shape.departures, reduce)
        return { step, link: link.name, ranks, seconds, efficiency: compute / seconds, hidden }
      }),
    )
  })
}
