/**
 * What the ways that stage blocks in workgroup memory share: products cut into tiles, a tile for each workgroup, and
 * their depth into parts where tiles are few. A matrix product is to them a 1×1 convolution (or its gradient).
 */
import type { Constants } from '../../kernel.js'
import type { LoweringContext } from '../../lowering_context.js'
import { part, type Slice, type Target } from '../../plan.js'
import { bytesOf, type DType } from '../../value.js'
import { sumSplits, up, vec4Of } from '../common.js'
import { ratesOf } from './cost.js'
import { imageRuns, type ConvWork, type MatmulWork, type Walk, type Variant, type WeightGradientWork } from './work.js'

/** The part of a product that one workgroup computes. */
export interface Tile {
  readonly rows: number
  readonly columns: number
  readonly constants: Constants
  /** Workgroup memory that it takes. */
  readonly bytes: number
  /** What it is expected to reach, as a share of the family's rate. */
  readonly speed: number
  /** Share of a processor that one workgroup keeps busy. */
  readonly fill: number
}

/** Two kernels, and the tiles they are specialised for. */
export interface Family {
  readonly name: string
  readonly conv: string
  readonly weightGradient: string
  readonly tiles: readonly Tile[]
  /** FLOP/s of its largest tile. */
  rate(target: Target): number
  /** Parts of the depth are multiples of it. */
  readonly blockDepth: number
  /** Whether the adapter can run it on a left operand stored so. */
  offered(target: Target, left: DType): boolean
}

/** A product's sizes, as the cost model sees them. */
interface Product {
  readonly rows: number
  readonly columns: number
  readonly depth: number
  readonly batch: number
  /** Parts that its sum may be cut into. */
  readonly mostParts: number
}

/** Processors of a wide GPU; a narrower one takes more rounds for every tile alike. */
const PROCESSORS = 128
/** A sum is not cut into parts shorter than this. */
const SHORTEST = 128

const tileCount = ({ rows, columns, batch }: Product, tile: Tile): number =>
  Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns) * batch

/** Parts that the sum of a product is cut into, so that every processor has two tiles. */
function parts(product: Product, tile: Tile): number {
  const wanted = Math.floor((2 * PROCESSORS) / tileCount(product, tile))
  return Math.max(1, Math.min(wanted, product.mostParts, Math.floor(product.depth / SHORTEST)))
}

/** Seconds until the busiest processor is done with its tiles, and the parts of the sums are written and added. */
function cost(product: Product, tile: Tile, family: Family, target: Target): number {
  const splits = parts(product, tile)
  const rounds = Math.ceil((tileCount(product, tile) * splits) / PROCESSORS)
  const flops = 2 * rounds * PROCESSORS * tile.rows * tile.columns * Math.ceil(product.depth / splits)
  const partial = splits > 1 ? 8 * splits * product.rows * product.columns * product.batch : 0
  const busy = Math.min(1, rounds * tile.fill)
  return flops / (family.rate(target) * tile.speed * busy) + partial / ratesOf(target).bytes
}

/** The two cheapest tiles of those that fit the adapter: more would crowd out the other ways. */
function worthTrying(product: Product, family: Family, target: Target): Tile[] {
  const costs = new Map(family.tiles.map((tile) => [tile, cost(product, tile, family, target)]))
  return family.tiles
    .filter((tile) => tile.bytes <= target.maxWorkgroupBytes)
    .sort((a, b) => costs.get(a)! - costs.get(b)!)
    .slice(0, 2)
}

const nameOf = (family: Family, tile: Tile): string => `${family.name} ${tile.rows}×${tile.columns}`

/** Workgroups for a number of tiles, folded where one dimension does not take them. */
function workgroups(context: LoweringContext, product: Product, tile: Tile, splits: number): [number, number, number] {
  const tiles = tileCount({ ...product, batch: 1 }, tile)
  const y = Math.ceil(tiles / context.target.maxWorkgroupsPerDimension)
  return [Math.ceil(tiles / y), y, product.batch * splits]
}

/** How long each part of a sum is, and how many there are. */
function cutting(product: Product, tile: Tile, blockDepth: number): { each: number; splits: number } {
  const each = up(Math.max(1, Math.ceil(product.depth / parts(product, tile))), blockDepth)
  return { each, splits: Math.max(1, Math.ceil(product.depth / each)) }
}

/** As many partial results, `batch` of `size` numbers in f32, as a binding holds and a dispatch takes. */
const heldParts = (target: Target, size: number, batch = 1): number =>
  Math.floor(Math.min(target.maxBindingBytes / (4 * size), target.maxWorkgroupsPerDimension) / batch)

const convProduct = ({ inShape, outShape, walk, dtype }: ConvWork, images: number, target: Target): Product => ({
  rows: images * walk.grid[0] * walk.grid[1],
  columns: outShape[3],
  depth: walk.tapsY * walk.tapsX * inShape[3],
  batch: 1,
  // Partial sums are f32, and have the shape of the whole result.
  mostParts:
    dtype === 'f32' && walk.step === 1 && images === inShape[0]
      ? heldParts(target, images * outShape[1] * outShape[2] * outShape[3])
      : 1,
})

/** One dispatch of the family's convolution, and the sum of its parts. */
function lowerConv(
  context: LoweringContext,
  family: Family,
  tile: Tile,
  product: Product,
  operands: { x: Slice; w: Slice; bias?: Slice; y: Slice },
  dtypes: { x: DType; w: DType; y: DType },
  geometry: {
    images: number
    inShape: readonly number[]
    outShape: readonly number[]
    kernel: readonly number[]
    walk: Walk
  },
): void {
  const { images, inShape, outShape, kernel, walk } = geometry
  const { each, splits } = cutting(product, tile, family.blockDepth)
  const count = product.batch * images * outShape[1] * outShape[2] * outShape[3]
  const y = splits === 1 ? operands.y : context.temporary(4 * splits * count)
  context.dispatch({
    kernel: family.conv,
    constants: {
      ...tile.constants,
      HAS_BIAS: !!operands.bias,
      In: vec4Of(dtypes.x),
      Weight: vec4Of(dtypes.w),
      Out: vec4Of(dtypes.y),
      store: dtypes.y,
    },
    params: {
      images,
      in_height: inShape[1],
      in_width: inShape[2],
      in_channels4: inShape[3] / 4,
      out_height: outShape[1],
      out_width: outShape[2],
      out_channels4: outShape[3] / 4,
      grid_height: walk.grid[0],
      grid_width: walk.grid[1],
      step: walk.step,
      y0: walk.y0,
      x0: walk.x0,
      stride: walk.stride,
      origin_y: walk.originY,
      origin_x: walk.originX,
      direction: walk.direction,
      taps_y: walk.tapsY,
      taps_x: walk.tapsX,
      ky0: walk.ky0,
      kx0: walk.kx0,
      tap_step: walk.tapStep,
      kernel_height: kernel[0],
      kernel_width: kernel[1],
      batches: product.batch,
      depth4_per_split: each / 4,
    },
    buffers: { ...operands, y },
    workgroups: workgroups(context, product, tile, splits),
  })
  if (splits > 1) sumSplits(context, y, operands.y, splits, count)
}

const gradientProduct = (
  { inShape, outShape, kernel }: WeightGradientWork,
  images: number,
  target: Target,
): Product => ({
  rows: kernel[0] * kernel[1] * inShape[3],
  columns: outShape[3],
  depth: images * outShape[1] * outShape[2],
  batch: 1,
  mostParts: Math.floor((heldParts(target, kernel[0] * kernel[1] * inShape[3] * outShape[3]) * images) / inShape[0]),
})

interface GradientRun {
  x: Slice
  dy: Slice
  images: number
  product: Product
}

/** A dispatch of the family's weight gradient for each run of images, and the sum of all their parts. */
function lowerGradient(
  context: LoweringContext,
  family: Family,
  tile: Tile,
  runs: readonly GradientRun[],
  dw: Slice,
  dtypes: { x: DType; dy: DType; dw: DType },
  geometry: Pick<WeightGradientWork, 'inShape' | 'outShape' | 'kernel' | 'stride' | 'padding'>,
): void {
  const { inShape, outShape, kernel, stride, padding } = geometry
  const cuts = runs.map((run) => ({ ...run, ...cutting(run.product, tile, family.blockDepth) }))
  const total = cuts.reduce((sum, { splits }) => sum + splits, 0)
  const { batch, rows, columns } = runs[0].product
  const count = batch * rows * columns
  const partial = total === 1 ? dw : context.temporary(4 * total * count)
  let first = 0
  for (const { x, dy, images, product, each, splits } of cuts) {
    context.dispatch({
      kernel: family.weightGradient,
      constants: {
        ...tile.constants,
        In: vec4Of(dtypes.x),
        Gradient: vec4Of(dtypes.dy),
        Out: vec4Of(dtypes.dw),
        store: dtypes.dw,
      },
      params: {
        images,
        in_height: inShape[1],
        in_width: inShape[2],
        in_channels4: inShape[3] / 4,
        out_height: outShape[1],
        out_width: outShape[2],
        out_channels4: outShape[3] / 4,
        stride,
        padding,
        kernel_height: kernel[0],
        kernel_width: kernel[1],
        batches: batch,
        pixels_per_split: each,
        first_split: first,
      },
      buffers: { x, dy, dw: partial },
      workgroups: workgroups(context, product, tile, splits),
    })
    first += splits
  }
  if (total > 1) sumSplits(context, partial, dw, total, count)
}

/** The ways of a family to convolve, one a tile. */
export const stagedConvs = (family: Family): Variant<ConvWork>[] =>
  family.tiles.map((tile) => ({
    name: nameOf(family, tile),
    serves: (work, target) =>
      family.offered(target, work.dtype) &&
      worthTrying(convProduct(work, work.inShape[0], target), family, target).includes(tile),
    cost: (work, target) => cost(convProduct(work, work.inShape[0], target), tile, family, target),
    lower: (work, context) => {
      for (const { count, x, y } of imageRuns(context, work))
        lowerConv(
          context,
          family,
          tile,
          convProduct(work, count, context.target),
          { x, w: work.w, bias: work.bias, y },
          { x: work.dtype, w: 'f32', y: work.dtype },
          { ...work, images: count },
        )
    },
  }))

/** The ways of a family to compute weight gradients. */
export const stagedWeightGradients = (family: Family): Variant<WeightGradientWork>[] =>
  family.tiles.map((tile) => ({
    name: nameOf(family, tile),
    serves: (work, target) =>
      family.offered(target, work.dtype) &&
      worthTrying(gradientProduct(work, work.inShape[0], target), family, target).includes(tile),
    cost: (work, target) => cost(gradientProduct(work, work.inShape[0], target), tile, family, target),
    lower: (work, context) => {
      const runs = imageRuns(context, { ...work, y: work.dy }).map(({ count, x, y }) => ({
        x,
        dy: y,
        images: count,
        product: gradientProduct(work, count, context.target),
      }))
      lowerGradient(context, family, tile, runs, work.dw, { x: work.dtype, dy: work.dtype, dw: 'f32' }, work)
    },
  }))

/** Rows of c as the pixels of an image one pixel wide. */
const pixelRows = (rows: number): Walk => ({
  grid: [rows, 1],
  step: 1,
  y0: 0,
  x0: 0,
  stride: 1,
  originY: 0,
  originX: 0,
  direction: 1,
  tapsY: 1,
  tapsX: 1,
  ky0: 0,
  kx0: 0,
  tapStep: 1,
})

/** Rows of a that are bound at once: all, unless a single product's operand is larger than a binding. */
function rowRuns(context: LoweringContext, { batch, M, N, K, dtypes }: MatmulWork): { start: number; count: number }[] {
  return batch > 1 ? [{ start: 0, count: M }] : context.rows(M, bytesOf[dtypes.a] * K, bytesOf[dtypes.c] * N)
}

/** The ways of a family to multiply matrices; one with a bias and a transposed left operand is left to others. */
export const stagedMatmuls = (family: Family): Variant<MatmulWork>[] =>
  family.tiles.map((tile) => {
    const productOf = ({ M, N, K, batch, dtypes }: MatmulWork, target: Target, rows = M): Product => ({
      rows,
      columns: N,
      depth: K,
      batch,
      mostParts: dtypes.c === 'f32' && rows === M ? heldParts(target, M * N, batch) : 1,
    })
    return {
      name: nameOf(family, tile),
      serves: (work, target) =>
        family.offered(target, work.dtypes.a) &&
        !(work.transposeA && work.bias) &&
        worthTrying(productOf(work, target), family, target).includes(tile),
      cost: (work, target) => cost(productOf(work, target), tile, family, target),
      lower: (work, context) => {
        const { a, b, bias, c, M, N, K, transposeA, dtypes } = work
        if (transposeA) {
          const geometry = {
            inShape: [1, K, 1, M],
            outShape: [1, K, 1, N],
            kernel: [1, 1],
            stride: 1,
            padding: 0,
          } as const
          const runs = [{ x: a, dy: b, images: 1, product: productOf(work, context.target) }]
          lowerGradient(context, family, tile, runs, c, { x: dtypes.a, dy: dtypes.b, dw: dtypes.c }, geometry)
          return
        }
        const [rowA, rowC] = [bytesOf[dtypes.a] * K, bytesOf[dtypes.c] * N]
        for (const { start, count } of rowRuns(context, work)) {
          const whole = count === M
          lowerConv(
            context,
            family,
            tile,
            productOf(work, context.target, count),
            {
              x: whole ? a : part(a, rowA * start, rowA * count),
              w: b,
              bias,
              y: whole ? c : part(c, rowC * start, rowC * count),
            },
            { x: dtypes.a, w: dtypes.b, y: dtypes.c },
            {
              images: 1,
              inShape: [1, count, 1, K],
              outShape: [1, count, 1, N],
              kernel: [1, 1],
              walk: pixelRows(count),
            },
          )
        }
      },
    }
  })
