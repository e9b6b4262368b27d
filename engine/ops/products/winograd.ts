/**
 * Winograd's minimal filtering F(4×4, 3×3) for 3×3 convolutions of stride 1 (Lavin & Gray 2016): a tile of 4×4 results
 * takes 36 multiplications for each channel instead of 144. Images and weights are transformed, 36 matrix products of
 * [tiles, C]·[C, O] run as one batch, and the results are transformed back.
 *
 *   y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A,   and so   dw = Gᵀ [Σ over tiles of (A dy Aᵀ) ⊙ (Bᵀ d B)] G
 *
 * In f32 its rounding errors are about ten times those of the plain sum: about 1e-6 of the largest result.
 */
import type { LoweringContext } from '../../lowering_context.js'
import { part, type Slice, type Target } from '../../plan.js'
import { vec4Of } from '../common.js'
import { PartialSums } from '../partial_sums.js'
import { matmulVariants } from './matmul_variants.js'
import { convFlops, ratesOf, weightGradientFlops } from './cost.js'
import { isPlain3x3, plainOrigin } from './geometry.js'
import { flopsOf, tileCost } from './staged_cost.js'
import { tiledFamily } from './tiled.js'
import {
  imageRuns,
  worthMeasuring,
  type ConvWork,
  type MatmulWork,
  type Variant,
  type WeightGradientWork,
} from './work.js'

/**
 * The largest size of the transformed tiles of a run of images. A processor keeps a small run in its cache. A GPU needs
 * large ones: it works on a whole run at once, and each run costs three dispatches.
 */
const SCRATCH_BYTES = { cpu: 32 * 2 ** 20, gpu: 512 * 2 ** 20 }
const PLACES = 36
const tilesOf = (n: number): number => Math.ceil(n / 4)

/** Sizes of a product in tiles. */
function sizes(inShape: readonly number[], outShape: readonly number[], target: Target) {
  const [c, o] = [inShape[3], outShape[3]]
  const tiles = [tilesOf(outShape[1]), tilesOf(outShape[2])] as const
  const bytesPerImage = 4 * PLACES * tiles[0] * tiles[1] * Math.max(c, o)
  return {
    c,
    o,
    tiles,
    bytesPerImage,
    most: Math.max(1, Math.floor(Math.min(SCRATCH_BYTES[target.adapterClass], target.maxBindingBytes) / bytesPerImage)),
  }
}

/**
 * Whether it applies: the transformed weights and the tiles of one image must each fit a binding, and images must not
 * be mostly padding of their tiles.
 */
function fits(inShape: readonly number[], outShape: readonly number[], target: Target): boolean {
  const { c, o, bytesPerImage } = sizes(inShape, outShape, target)
  return (
    Math.min(outShape[1], outShape[2]) >= 3 && Math.max(4 * PLACES * c * o, bytesPerImage) <= target.maxBindingBytes
  )
}

/**
 * Estimated seconds: the products, the numbers that the transforms load and store (images 36 + 36, results 36 + 16,
 * weights 9 + 36), and the launches.
 */
function cost(inShape: readonly number[], outShape: readonly number[], target: Target): number {
  const { c, o, tiles, most } = sizes(inShape, outShape, target)
  const places = inShape[0] * tiles[0] * tiles[1]
  const { bytes, launch } = ratesOf(target)
  const moved = 4 * (places * (72 * c + 52 * o) + 45 * c * o)
  const runs = Math.ceil(inShape[0] / most)
  return productCost(places, c, o, target) + moved / bytes + (2 * runs + 1) * launch
}

/** Estimated seconds of the 36 products [places, C]·[C, O]. */
function productCost(places: number, c: number, o: number, target: Target): number {
  const product = { rows: places, columns: o, depth: c, batch: PLACES, mostSplits: 1 }
  if (target.adapterClass === 'gpu')
    return Math.min(...tiledFamily.tiles.map((tile) => tileCost(product, tile, tiledFamily, target)))
  // On a software driver a block of the product has 32 rows, so fewer tiles leave lanes idle.
  return flopsOf(product) / (ratesOf(target).register * Math.min(1, places / 32))
}

/** Computes V [36, tiles, C] from a run of images. */
function transformImages(
  context: LoweringContext,
  { x, count }: { x: Slice; count: number },
  work: Pick<ConvWork, 'inShape' | 'dtype'>,
  tiles: readonly [number, number],
  origin: readonly [number, number],
): Slice {
  const [, height, width, c] = work.inShape
  const places = count * tiles[0] * tiles[1]
  const v = context.temporary(4 * PLACES * places * c)
  context.dispatch({
    kernel: 'winograd_input',
    constants: { In: vec4Of(work.dtype) },
    params: {
      images: count,
      in_height: height,
      in_width: width,
      channels4: c / 4,
      tiles_y: tiles[0],
      tiles_x: tiles[1],
      origin_y: origin[0],
      origin_x: origin[1],
    },
    buffers: { x, v },
    workgroups: [Math.ceil((places * c) / 4 / 64)],
  })
  return v
}

/** Computes y from M [36, tiles, O], or with `gradient` M from dy. */
function transformResults(
  context: LoweringContext,
  m: Slice,
  { y, count }: { y: Slice; count: number },
  work: { outShape: readonly number[]; dtype: ConvWork['dtype']; bias?: Slice },
  tiles: readonly [number, number],
  gradient: boolean,
): void {
  const [, height, width, o] = work.outShape
  context.dispatch({
    kernel: gradient ? 'winograd_output_gradient' : 'winograd_output',
    constants: gradient
      ? { In: vec4Of(work.dtype) }
      : { HAS_BIAS: !!work.bias, Out: vec4Of(work.dtype), store: work.dtype },
    params: {
      images: count,
      out_height: height,
      out_width: width,
      channels4: o / 4,
      tiles_y: tiles[0],
      tiles_x: tiles[1],
    },
    buffers: gradient ? { dy: y, m } : { m, bias: work.bias, y },
    workgroups: [Math.ceil((count * tiles[0] * tiles[1] * o) / 4 / 64)],
  })
}

/** Computes U [36, C, O] from w [3, 3, C, O], or with `gradient` dw from dU. */
function transformWeights(
  context: LoweringContext,
  source: Slice,
  destination: Slice,
  count4: number,
  gradient: boolean,
  flip = false,
) {
  context.dispatch({
    kernel: 'winograd_weights',
    constants: { GRADIENT: gradient, FLIP: flip },
    params: { count4 },
    buffers: { source, destination },
    workgroups: [Math.ceil(count4 / 64)],
  })
}

/** The 36 products as one batch, by the variant that is cheapest by estimate. */
function multiply(
  context: LoweringContext,
  work: Pick<MatmulWork, 'a' | 'b' | 'c' | 'M' | 'N' | 'K' | 'transposeA'>,
): void {
  const full: MatmulWork = { ...work, batch: PLACES, dtypes: { a: 'f32', b: 'f32', c: 'f32' } }
  worthMeasuring(full, matmulVariants, context.target)[0].lower(full, context)
}

export const winogradConv: Variant<ConvWork> = {
  name: 'winograd',
  serves: ({ kernel, inShape, outShape, walk }, target) => isPlain3x3(kernel, walk) && fits(inShape, outShape, target),
  cost: ({ inShape, outShape }, target) => cost(inShape, outShape, target),
  lower: (work, context) => {
    const { c, o, tiles, most } = sizes(work.inShape, work.outShape, context.target)
    const { origin, reversed } = plainOrigin(work.walk)
    const u = context.temporary(4 * PLACES * c * o)
    transformWeights(context, work.w, u, (c * o) / 4, false, reversed)
    for (const run of imageRuns(context, work, convFlops(work), most)) {
      const places = run.count * tiles[0] * tiles[1]
      const v = transformImages(context, run, work, tiles, origin)
      const m = context.temporary(4 * PLACES * places * o)
      multiply(context, { a: v, b: u, c: m, M: places, N: o, K: c, transposeA: false })
      transformResults(context, m, run, work, tiles, false)
    }
  },
}

export const winogradWeightGradient: Variant<WeightGradientWork> = {
  name: 'winograd',
  serves: ({ inShape, outShape, kernel, stride }, target) =>
    kernel[0] === 3 && kernel[1] === 3 && stride === 1 && fits(inShape, outShape, target),
  cost: ({ inShape, outShape }, target) => cost(inShape, outShape, target),
  lower: (work, context) => {
    const { c, o, tiles, most } = sizes(work.inShape, work.outShape, context.target)
    const runs = imageRuns(context, { ...work, y: work.dy }, weightGradientFlops(work), most)
    // Each run of images has its own sum in [runs, 36, C, O]. The sums are then added in order.
    const count = PLACES * c * o
    const total = context.temporary(4 * count)
    const sums = new PartialSums(context, total, runs.length, count)
    for (const run of runs) {
      const places = run.count * tiles[0] * tiles[1]
      const v = transformImages(context, run, work, tiles, [-work.padding, -work.padding])
      const m = context.temporary(4 * PLACES * places * o)
      transformResults(context, m, run, work, tiles, true)
      const { partial, first } = sums.next(1)
      const u = part(partial, 4 * first * count, 4 * count)
      multiply(context, { a: v, b: m, c: u, M: c, N: o, K: places, transposeA: true })
    }
    sums.finish()
    transformWeights(context, total, work.dw, (c * o) / 4, true)
  },
}
