/**
 * Variants that stage blocks of both operands in workgroup memory. A product is cut into tiles, one for each workgroup,
 * and its sums into splits where tiles are few. A matrix product is computed as a 1×1 convolution, or as the weight
 * gradient of one.
 */
import type { LoweringContext, RowRun } from '../../lowering_context.js'
import { part, type Slice, type Target } from '../../plan.js'
import { bytesOf, type DType } from '../../value.js'
import { sumSplits, vec4Of } from '../common.js'
import { PartialSums, totalOf } from '../partial_sums.js'
import { convFlops, weightGradientFlops } from './cost.js'
import { forwardWalk, shapeParams, walkParams, weightGradientParams, type Stepping, type Walk } from './geometry.js'
import {
  flopsOf,
  splitsThatFit,
  splitting,
  tileCost,
  tilesWorthTrying,
  workgroupsFor,
  type Family,
  type Product,
  type Tile,
} from './staged_cost.js'
import { imageRuns, type ConvWork, type MatmulWork, type Variant, type WeightGradientWork } from './work.js'

const nameOf = (family: Family, tile: Tile): string => `${family.name} ${tile.rows}×${tile.columns}`

/** What one dispatch of a family's convolution computes. */
interface ConvDispatch {
  product: Product
  operands: { x: Slice; w: Slice; bias?: Slice; y: Slice }
  dtypes: { x: DType; w: DType; y: DType }
  images: number
  inShape: readonly number[]
  outShape: readonly number[]
  kernel: readonly number[]
  walk: Walk
}

/** One dispatch of the family's convolution, and the sum of its splits. */
function lowerConv(context: LoweringContext, family: Family, tile: Tile, conv: ConvDispatch): void {
  const { product, operands, dtypes, images, inShape, outShape, kernel, walk } = conv
  const { each, splits } = splitting(product, tile, family.blockDepth)
  const count = product.batch * images * outShape[1] * outShape[2] * outShape[3]
  const y = splits === 1 ? operands.y : context.temporary(4 * splits * count)
  context.dispatch({
    kernel: family.conv,
    constants: {
      ...tile.constants,
      ...family.constants?.(context.target),
      HAS_BIAS: !!operands.bias,
      In: vec4Of(dtypes.x),
      Weight: vec4Of(dtypes.w),
      Out: vec4Of(dtypes.y),
      store: dtypes.y,
    },
    params: {
      ...shapeParams(images, inShape, outShape),
      ...walkParams(walk),
      kernel_height: kernel[0],
      kernel_width: kernel[1],
      batches: product.batch,
      depth4_per_split: each / 4,
    },
    buffers: { ...operands, y },
    workgroups: workgroupsFor(context, product, tile, splits),
    flops: flopsOf(product),
  })
  if (splits > 1) sumSplits(context, y, operands.y, splits, count)
}

/** What the dispatches of a family's weight gradient compute: the sum over all runs of images. */
interface GradientDispatches extends Stepping {
  runs: readonly { x: Slice; dy: Slice; images: number; product: Product }[]
  dw: Slice
  dtypes: { x: DType; dy: DType; dw: DType }
  inShape: readonly number[]
  outShape: readonly number[]
  kernel: readonly [number, number]
}

/** One dispatch of the family's weight gradient for each run of images, and the sum of all their splits. */
function lowerGradient(context: LoweringContext, family: Family, tile: Tile, gradient: GradientDispatches): void {
  const { runs, dw, dtypes, inShape, outShape, kernel } = gradient
  const cuts = runs.map((run) => ({ ...run, ...splitting(run.product, tile, family.blockDepth) }))
  const { batch, rows, columns } = runs[0].product
  const sums = new PartialSums(context, dw, totalOf(cuts), batch * rows * columns)
  for (const { x, dy, images, product, each, splits } of cuts) {
    // `mostSplits` of the products leaves room in the binding for the sum of the runs before.
    const { partial, first } = sums.next(splits)
    context.dispatch({
      kernel: family.weightGradient,
      constants: {
        ...tile.constants,
        ...family.constants?.(context.target),
        In: vec4Of(dtypes.x),
        Gradient: vec4Of(dtypes.dy),
        Out: vec4Of(dtypes.dw),
        store: dtypes.dw,
      },
      params: {
        ...shapeParams(images, inShape, outShape),
        ...weightGradientParams(kernel, gradient),
        batches: batch,
        pixels_per_split: each,
        first_split: first,
      },
      buffers: { x, dy, dw: partial },
      workgroups: workgroupsFor(context, product, tile, splits),
      flops: flopsOf(product),
    })
  }
  sums.finish()
}

const convProduct = ({ inShape, outShape, walk, dtype }: ConvWork, images: number, target: Target): Product => ({
  rows: images * walk.grid[0] * walk.grid[1],
  columns: outShape[3],
  depth: walk.tapsY * walk.tapsX * inShape[3],
  batch: 1,
  // Partial sums are f32, and have the shape of the whole result.
  mostSplits:
    dtype === 'f32' && walk.step === 1 && images === inShape[0]
      ? splitsThatFit(target, images * outShape[1] * outShape[2] * outShape[3])
      : 1,
})

/** The convolutions of a family: one variant for each tile. */
export const stagedConvs = (family: Family): Variant<ConvWork>[] =>
  family.tiles.map((tile) => ({
    name: nameOf(family, tile),
    serves: (work, target) =>
      family.offered(target, work.dtype) &&
      tilesWorthTrying(convProduct(work, work.inShape[0], target), family, target).includes(tile),
    cost: (work, target) => tileCost(convProduct(work, work.inShape[0], target), tile, family, target),
    lower: (work, context) => {
      for (const { count, x, y } of imageRuns(context, work, convFlops(work)))
        lowerConv(context, family, tile, {
          ...work,
          product: convProduct(work, count, context.target),
          operands: { x, w: work.w, bias: work.bias, y },
          dtypes: { x: work.dtype, w: 'f32', y: work.dtype },
          images: count,
        })
    },
  }))

const gradientProduct = (
  { inShape, outShape, kernel }: WeightGradientWork,
  images: number,
  target: Target,
): Product => {
  const rows = kernel[0] * kernel[1] * inShape[3]
  return {
    rows,
    columns: outShape[3],
    depth: images * outShape[1] * outShape[2],
    batch: 1,
    mostSplits: Math.floor((splitsThatFit(target, rows * outShape[3]) * images) / inShape[0]),
  }
}

/** The weight gradients of a family: one variant for each tile. */
export const stagedWeightGradients = (family: Family): Variant<WeightGradientWork>[] =>
  family.tiles.map((tile) => ({
    name: nameOf(family, tile),
    serves: (work, target) =>
      family.offered(target, work.dtype) &&
      tilesWorthTrying(gradientProduct(work, work.inShape[0], target), family, target).includes(tile),
    cost: (work, target) => tileCost(gradientProduct(work, work.inShape[0], target), tile, family, target),
    lower: (work, context) =>
      lowerGradient(context, family, tile, {
        ...work,
        runs: imageRuns(context, { ...work, y: work.dy }, weightGradientFlops(work)).map(({ count, x, y }) => ({
          x,
          dy: y,
          images: count,
          product: gradientProduct(work, count, context.target),
        })),
        dtypes: { x: work.dtype, dy: work.dtype, dw: 'f32' },
      }),
  }))

const matmulProduct = ({ M, N, K, batch, dtypes }: MatmulWork, target: Target, rows = M): Product => ({
  rows,
  columns: N,
  depth: K,
  batch,
  mostSplits: dtypes.c === 'f32' && rows === M ? splitsThatFit(target, M * N, batch) : 1,
})

/** Rows of a that are bound at once: all, unless a single product's operand is larger than a binding. */
const rowRuns = (context: LoweringContext, { batch, M, N, K, dtypes }: MatmulWork): RowRun[] =>
  batch > 1 ? [{ start: 0, count: M }] : context.rows(M, bytesOf[dtypes.a] * K, bytesOf[dtypes.c] * N)

/** c = A·b, as a 1×1 convolution of an image of M×1 pixels with K channels. */
function lowerMatmul(context: LoweringContext, family: Family, tile: Tile, work: MatmulWork): void {
  const { a, b, bias, c, M, N, K, dtypes } = work
  const [rowA, rowC] = [bytesOf[dtypes.a] * K, bytesOf[dtypes.c] * N]
  for (const { start, count } of rowRuns(context, work)) {
    const whole = count === M
    const [x, y] = whole ? [a, c] : [part(a, rowA * start, rowA * count), part(c, rowC * start, rowC * count)]
    lowerConv(context, family, tile, {
      product: matmulProduct(work, context.target, count),
      operands: { x, w: b, bias, y },
      dtypes: { x: dtypes.a, w: dtypes.b, y: dtypes.c },
      images: 1,
      inShape: [1, count, 1, K],
      outShape: [1, count, 1, N],
      kernel: [1, 1],
      walk: forwardWalk([count, 1], [1, 1], { stride: 1, padding: 0 }),
    })
  }
}

/** c = Aᵀ·b, as the weight gradient of a 1×1 convolution over K×1 pixels. */
function lowerTransposedMatmul(context: LoweringContext, family: Family, tile: Tile, work: MatmulWork): void {
  const { a, b, c, M, N, K, dtypes } = work
  lowerGradient(context, family, tile, {
    runs: [{ x: a, dy: b, images: 1, product: matmulProduct(work, context.target) }],
    dw: c,
    dtypes: { x: dtypes.a, dy: dtypes.b, dw: dtypes.c },
    inShape: [1, K, 1, M],
    outShape: [1, K, 1, N],
    kernel: [1, 1],
    stride: 1,
    padding: 0,
  })
}

/** Whether the operands that are bound whole fit a binding. */
function fitsBindings({ batch, M, N, K, transposeA, dtypes }: MatmulWork, { maxBindingBytes }: Target): boolean {
  const a = bytesOf[dtypes.a] * M * K
  const c = bytesOf[dtypes.c] * M * N
  // Without a transposition, rows of a single a and c are cut.
  const cut = batch === 1 && !transposeA
  return batch * Math.max(bytesOf[dtypes.b] * K * N, cut ? 0 : Math.max(a, c)) <= maxBindingBytes
}

/** The matrix products of a family: one variant for each tile. None serves a transposed left operand with a bias. */
export const stagedMatmuls = (family: Family): Variant<MatmulWork>[] =>
  family.tiles.map((tile) => ({
    name: nameOf(family, tile),
    serves: (work, target) =>
      family.offered(target, work.dtypes.a) &&
      !(work.transposeA && work.bias) &&
      fitsBindings(work, target) &&
      tilesWorthTrying(matmulProduct(work, target), family, target).includes(tile),
    cost: (work, target) => tileCost(matmulProduct(work, target), tile, family, target),
    lower: (work, context) => (work.transposeA ? lowerTransposedMatmul : lowerMatmul)(context, family, tile, work),
  }))
