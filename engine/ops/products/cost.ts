/**
 * The cost model: the rates that each class of adapters sustains. They were measured on lavapipe (2 cores) for 'cpu'
 * and are assumed for a large card for 'gpu'. Only their ratios matter, because they only order the variants.
 */
import type { Target } from '../../plan.js'
import type { ConvWork, MatmulWork, WeightGradientWork } from './work.js'

interface Rates {
  /** FLOP/s of products by register tiles, by workgroup tiles and on matrix units. */
  readonly register: number
  readonly tiled: number
  readonly matrix: number
  /** Bytes/s of kernels that only copy and add. */
  readonly bytes: number
  /** Seconds that a dispatch takes at least. On a software driver they are nothing beside the work. */
  readonly launch: number
  /** Invocations at once that keep the adapter busy. A few do on a software driver. */
  readonly invocations: number
}

const rates: Record<Target['adapterClass'], Rates> = {
  cpu: { register: 28e9, tiled: 2e9, matrix: 1e9, bytes: 1.9e9, launch: 0, invocations: 1 },
  gpu: { register: 5e12, tiled: 20e12, matrix: 150e12, bytes: 1.5e12, launch: 5e-6, invocations: 65_536 },
}

export const ratesOf = ({ adapterClass }: Target): Rates => rates[adapterClass]

/**
 * Estimated seconds of a product by register tiles, in one dispatch. With few invocations most of a GPU idles.
 *
 * @param invocations of the dispatch; without them the adapter is busy, because sums are cut into splits until it is
 */
export function registerCost(flops: number, target: Target, invocations = Infinity): number {
  const { register, launch, invocations: busy } = ratesOf(target)
  return flops / (register * Math.min(1, invocations / busy)) + launch
}

/** Multiplications and additions of a convolution by its definition. */
export const convFlops = ({ inShape: [images, , , c], outShape: [, , , o], walk }: ConvWork): number =>
  2 * images * walk.grid[0] * walk.grid[1] * walk.tapsY * walk.tapsX * c * o

/** Numbers that a convolution computes. */
export const convResults = ({ inShape: [images], outShape: [, , , o], walk }: ConvWork): number =>
  images * walk.grid[0] * walk.grid[1] * o

export const weightGradientFlops = ({ inShape, outShape: [images, height, width, o], kernel }: WeightGradientWork) =>
  2 * images * height * width * kernel[0] * kernel[1] * inShape[3] * o

export const matmulFlops = ({ batch, M, N, K }: MatmulWork): number => 2 * batch * M * N * K
