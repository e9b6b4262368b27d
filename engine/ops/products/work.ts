/**
 * The work of a product (a convolution, its weight gradient or a matrix product), and what a variant is that computes
 * it. The other files of this folder hold the variants. conv2d.ts and matmul_variants.ts list them for each kind of work.
 */
import type { LoweringContext } from '../../lowering_context.js'
import { part, type Slice, type Target } from '../../plan.js'
import { bytesOf, type DType } from '../../value.js'

/** How the taps of a kernel walk over an image; see conv2d.wgsl, whose Params these are. */
export interface Walk {
  /** Output pixels of this product: i and j run over it, and (i, j) is stored at (i·step + y0, j·step + x0). */
  grid: readonly [height: number, width: number]
  step: number
  y0: number
  x0: number
  /** Tap (t, u) reads x at (i·stride + originY + t·direction, …) and w at (ky0 + t·tapStep, …). */
  stride: number
  originY: number
  originX: number
  direction: 1 | -1
  tapsY: number
  tapsX: number
  ky0: number
  kx0: number
  tapStep: number
}

/** Whether a walk is that of a 3×3 kernel of stride 1, forwards or backwards. */
export const isPlain3x3 = (kernel: readonly [number, number], walk: Walk): boolean =>
  kernel[0] === 3 &&
  kernel[1] === 3 &&
  walk.tapsY === 3 &&
  walk.tapsX === 3 &&
  walk.stride === 1 &&
  walk.step === 1 &&
  walk.tapStep === 1

/** One convolution, forward or (with turned weights) its input gradient. Tensors are dense, channels multiples of 4. */
export interface ConvWork {
  /** Of `dtype`, [N, H, W, C]. */
  x: Slice
  inShape: readonly number[]
  /** f32, [kh, kw, C, O]. */
  w: Slice
  kernel: readonly [height: number, width: number]
  /** f32, [O]. */
  bias?: Slice
  /** Of `dtype`, [N, Ho, Wo, O]. */
  y: Slice
  outShape: readonly number[]
  walk: Walk
  dtype: DType
}

/** dw [kh, kw, C, O] in f32 from x and dy of `dtype`; channels multiples of 4. */
export interface WeightGradientWork {
  x: Slice
  inShape: readonly number[]
  dy: Slice
  outShape: readonly number[]
  kernel: readonly [height: number, width: number]
  stride: number
  padding: number
  dw: Slice
  dtype: DType
}

/**
 * c = A·b (+ bias), batched, row-major. N is a multiple of 4, and so is the dimension along which a is contiguous.
 */
export interface MatmulWork {
  /** [batch, M, K], or [batch, K, M] with transposeA. */
  a: Slice
  /** [batch, K, N] */
  b: Slice
  /** f32, [N]. */
  bias?: Slice
  /** [batch, M, N] */
  c: Slice
  batch: number
  M: number
  N: number
  K: number
  transposeA: boolean
  /** Where c is a block of columns of a wider matrix; only register tiles take that. */
  columns?: { first: number; of: number }
  dtypes: { a: DType; b: DType; c: DType }
}

/** One way to compute a kind of work. */
export interface Variant<Work> {
  /** Identifies it in variant tables. */
  readonly name: string
  /** Whether it can compute this work on this adapter, within the adapter's limits. */
  serves(work: Work, target: Target): boolean
  /** Estimated seconds, from the rates in cost.ts. The estimate decides without tuning, and limits what is measured. */
  cost(work: Work, target: Target): number
  lower(work: Work, context: LoweringContext): void
}

/** A variant whose estimate is more than this many times the lowest one is not worth measuring. */
const WORTH_MEASURING = 3
const MOST_MEASURED = 3

/** The variants that serve and are worth measuring, the cheapest by estimate first. */
export function worthMeasuring<Work>(work: Work, variants: readonly Variant<Work>[], target: Target): Variant<Work>[] {
  const costs = new Map(variants.filter((v) => v.serves(work, target)).map((v) => [v, v.cost(work, target)]))
  const least = Math.min(...costs.values())
  return [...costs.keys()]
    .filter((variant) => costs.get(variant)! <= WORTH_MEASURING * least)
    .sort((a, b) => costs.get(a)! - costs.get(b)!)
    .slice(0, MOST_MEASURED)
}

/** Lowers work by the variant that the variant table names, else by the cheapest. */
export function compute<Work>(work: Work, variants: readonly Variant<Work>[], context: LoweringContext): void {
  const able = variants.filter((variant) => variant.serves(work, context.target))
  context.choose(worthMeasuring(work, able, context.target), able).lower(work, context)
}

/** Runs of images, `most` at a time, that x and y can both bind, and these runs of x and y. */
export function imageRuns(
  context: LoweringContext,
  { x, inShape, y, outShape, dtype }: Pick<ConvWork, 'x' | 'inShape' | 'y' | 'outShape' | 'dtype'>,
  most = Infinity,
): { start: number; count: number; x: Slice; y: Slice }[] {
  const images = inShape[0]
  const [inBytes, outBytes] = [inShape, outShape].map(([, h, w, c]) => bytesOf[dtype] * h * w * c)
  const cut = (slice: Slice, start: number, count: number, bytes: number): Slice =>
    count === images ? slice : part(slice, start * bytes, count * bytes)
  return context.rowsUpTo(most, images, inBytes, outBytes).map(({ start, count }) => ({
    start,
    count,
    x: cut(x, start, count, inBytes),
    y: cut(y, start, count, outBytes),
  }))
}
