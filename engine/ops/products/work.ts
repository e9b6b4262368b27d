/**
 * The work of a product (a convolution, its weight gradient or a matrix product), and what a variant is that computes
 * it. The other files of this folder hold the variants. conv2d.ts and matmul_variants.ts list them for each kind of
 * work.
 */
import type { LoweringContext } from '../../lowering_context.js'
import { part, type Slice, type Target } from '../../plan.js'
import { bytesOf, type DType } from '../../value.js'
import type { Stepping, Walk } from './geometry.js'

/** One convolution, or one walk of its input gradient. Tensors are dense; channels are multiples of 4. */
export interface ConvWork {
  /** [N, H, W, C] of `dtype`. */
  x: Slice
  inShape: readonly number[]
  /** [kh, kw, C, O], f32. */
  w: Slice
  kernel: readonly [height: number, width: number]
  /** [O], f32. */
  bias?: Slice
  /** [N, Ho, Wo, O] of `dtype`. */
  y: Slice
  outShape: readonly number[]
  walk: Walk
  dtype: DType
}

/** dw [kh, kw, C, O] in f32 from x and dy of `dtype`; channels are multiples of 4. */
export interface WeightGradientWork extends Stepping {
  /** [N, H, W, C] */
  x: Slice
  inShape: readonly number[]
  /** [N, Ho, Wo, O] */
  dy: Slice
  outShape: readonly number[]
  kernel: readonly [height: number, width: number]
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
  /** [N], f32. */
  bias?: Slice
  /** [batch, M, N] */
  c: Slice
  batch: number
  M: number
  N: number
  K: number
  transposeA: boolean
  /** Set where c is a block of columns of a wider matrix. Only register tiles accept that. */
  columns?: { first: number; of: number }
  dtypes: { a: DType; b: DType; c: DType }
}

/** One way to compute a kind of work. */
export interface Variant<Work> {
  /** Identifies it in variant tables. */
  readonly name: string
  /** Whether it can compute this work on this adapter, within the adapter's limits. */
  serves(work: Work, target: Target): boolean
  /**
   * Estimated seconds, from the rates in cost.ts. Without tuning the estimate decides; with tuning it limits what is
   * measured.
   */
  cost(work: Work, target: Target): number
  lower(work: Work, context: LoweringContext): void
}

/** The variant that runs on every adapter and serves every work. Tuning compares the results of the others with its. */
export const PLAIN = 'register'
/** A second variant of a family is worth measuring if its estimate is at most this many times the lowest one. */
const CLOSE = 1.5

/** The first word of a variant's name. */
const familyOf = ({ name }: { name: string }): string => name.split(' ')[0]

/**
 * The variants that serve and are worth measuring, the cheapest by estimate first: the cheapest of each family, because
 * the estimates may be wrong about a family as a whole on an adapter that nobody has measured, and the second of the
 * cheapest family. The plain variant is always among them.
 */
export function worthMeasuring<Work>(work: Work, variants: readonly Variant<Work>[], target: Target): Variant<Work>[] {
  const costs = new Map(variants.filter((v) => v.serves(work, target)).map((v) => [v, v.cost(work, target)]))
  const sorted = [...costs.keys()].sort((a, b) => costs.get(a)! - costs.get(b)!)
  const least = costs.get(sorted[0])!
  return sorted.filter((variant, i) => {
    const before = sorted.slice(0, i).filter((other) => familyOf(other) === familyOf(variant)).length
    return before === 0 || (before === 1 && costs.get(variant)! <= CLOSE * least)
  })
}

/** Lowers work by the variant that the variant table names, else by the cheapest. */
export function compute<Work>(work: Work, variants: readonly Variant<Work>[], context: LoweringContext): void {
  const able = variants.filter((variant) => variant.serves(work, context.target))
  context.choose(worthMeasuring(work, able, context.target), able).lower(work, context)
}

/** A run of consecutive images, with their slices of x and y. */
export interface ImageRun {
  start: number
  count: number
  x: Slice
  y: Slice
}

/**
 * Multiplications and additions of a dispatch at most. A slow GPU takes about a second for them. Some systems reset a GPU
 * that is busy for two.
 */
const MOST_FLOPS = 4e11

/**
 * Cuts the batch into runs of at most `most` images, such that each run's slices of x and y can be bound, and a GPU is done
 * with a run soon.
 *
 * @param flops multiplications and additions of all images
 */
export function imageRuns(
  context: LoweringContext,
  { x, inShape, y, outShape, dtype }: Pick<ConvWork, 'x' | 'inShape' | 'y' | 'outShape' | 'dtype'>,
  flops: number,
  most = Infinity,
): ImageRun[] {
  const images = inShape[0]
  const [inBytes, outBytes] = [inShape, outShape].map(([, h, w, c]) => bytesOf[dtype] * h * w * c)
  const cut = (slice: Slice, start: number, count: number, bytes: number): Slice =>
    count === images ? slice : part(slice, start * bytes, count * bytes)
  const soon = context.target.adapterClass === 'gpu' ? Math.max(1, Math.floor((images * MOST_FLOPS) / flops)) : Infinity
  return context.rowsUpTo(Math.min(most, soon), images, inBytes, outBytes).map(({ start, count }) => ({
    start,
    count,
    x: cut(x, start, count, inBytes),
    y: cut(y, start, count, outBytes),
  }))
}
