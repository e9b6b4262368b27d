/** The dispatches of batch-norm's forward and backward pass, one function each; every tensor has padded channels. */
import type { LoweringContext } from '../lowering_context.js'
import type { Slice } from '../plan.js'
import type { DType } from '../value.js'
import { cut, summing, workgroupsOf, type Layout } from './batch_norm_layout.js'
import { vec4Of } from './common.js'

/** The rows of each group, in strips whose statistics are merged. */
export type Rows = Pick<Layout, 'groups' | 'rows' | 'c4' | 'strip' | 'strips' | 'mergeSharing'>

/** How the variance becomes a gain. */
export interface Deviation {
  readonly epsilon: number
  /** The divisor of the variance is rows − correction. */
  readonly correction: number
}

/** Bytes of the sums of all strips, [groups, strips, 2, C]. */
const partialBytes = ({ groups, strips, c4 }: Rows): number => 4 * groups * strips * 2 * c4

/** Mean and squared deviation of each strip, [groups, strips, 2, C]. */
export function stripStatistics(context: LoweringContext, layout: Layout, x: Slice, dtype: DType): Slice {
  const partial = context.temporary(partialBytes(layout))
  for (const run of layout.runs)
    context.dispatch({
      kernel: 'batch_norm_statistics',
      constants: { ...summing(layout.sharing), T: vec4Of(dtype) },
      params: {
        rows: run.rows,
        channels4: layout.c4 / 4,
        strip: layout.strip,
        strips: layout.strips,
        first_strip: run.firstStrip,
        first_group: run.firstGroup,
      },
      buffers: { x: cut(x, run), partial },
      workgroups: workgroupsOf(context, run, layout),
    })
  return partial
}

/** Merges the strips: mean, variance, gain and offset, each [groups, C]. */
export function mergeStatistics(
  context: LoweringContext,
  { groups, rows, c4, strip, strips, mergeSharing }: Rows,
  buffers: Record<'partial' | 'scale' | 'shift' | 'mean' | 'variance' | 'gain' | 'offset', Slice>,
  { epsilon, correction }: Deviation,
): void {
  context.dispatch({
    kernel: 'batch_norm_merge',
    constants: summing(mergeSharing),
    params: { groups, rows, channels4: c4 / 4, strip, strips, epsilon, correction },
    buffers,
    workgroups: [context.grid(((groups * c4) / 4) * mergeSharing.SHARE, mergeSharing.WORKGROUP_SIZE)],
  })
}

/** What the first pass over the gradient does about the ReLU. */
export interface Masking {
  /** Computes the mask again from x, gain and offset. */
  readonly mask: boolean
  /** With a residual: the output of the ReLU, from which the mask is read. */
  readonly y?: Slice
  /** With a residual: takes the gradient after the mask. */
  readonly keep?: Slice
}

/** Σ g and Σ g (x − mean) of each strip, in `partial` [groups, strips, 2, C], or in scratch memory. */
export function stripGradientSums(
  context: LoweringContext,
  layout: Layout,
  { dy, x, mean, gain, offset }: Record<'dy' | 'x' | 'mean' | 'gain' | 'offset', Slice>,
  { mask, y, keep }: Masking,
  dtype: DType,
  partial = context.temporary(partialBytes(layout)),
): Slice {
  for (const run of layout.runs)
    context.dispatch({
      kernel: 'batch_norm_gradient_sums',
      constants: { ...summing(layout.sharing), MASK: mask, MASK_FROM_Y: !!y, KEEP: !!keep, T: vec4Of(dtype) },
      params: {
        rows: run.rows,
        channels4: layout.c4 / 4,
        strip: layout.strip,
        strips: layout.strips,
        first_strip: run.firstStrip,
        first_group: run.firstGroup,
      },
      buffers: {
        dy: cut(dy, run),
        x: cut(x, run),
        y: y && cut(y, run),
        mean,
        gain,
        offset,
        partial,
        masked: keep ? cut(keep, run) : context.temporary(256),
      },
      workgroups: workgroupsOf(context, run, layout),
    })
  return partial
}

/** Merges the sums of the strips: the line of the second pass [groups, 2, C], and the gradients [C] in scale and shift. */
export function mergeGradientSums(
  context: LoweringContext,
  { groups, rows, c4, strips, mergeSharing }: Rows,
  statistics: Record<'partial' | 'mean' | 'variance' | 'gain', Slice>,
  { scale, shift }: Record<'scale' | 'shift', Slice>,
  { epsilon, correction }: Deviation,
): Slice {
  const line = context.temporary(4 * groups * 2 * c4)
  context.dispatch({
    kernel: 'batch_norm_gradient_merge',
    constants: summing(mergeSharing),
    params: { groups, rows, channels4: c4 / 4, strips, epsilon, correction },
    buffers: { ...statistics, line, d_scale: scale, d_shift: shift },
    workgroups: [Math.ceil(((c4 / 4) * mergeSharing.SHARE) / mergeSharing.WORKGROUP_SIZE)],
  })
  return line
}

/** The second pass: dx = gain · g + slope · x + constant. */
export function applyGradient(
  context: LoweringContext,
  layout: Layout,
  { dy, x, dx, ...vectors }: Record<'dy' | 'x' | 'gain' | 'offset' | 'line' | 'dx', Slice>,
  mask: boolean,
  dtype: DType,
): void {
  for (const run of layout.runs)
    context.dispatch({
      kernel: 'batch_norm_gradient_apply',
      constants: { ...layout.sharing, MASK: mask, T: vec4Of(dtype), store: dtype },
      params: { rows: run.rows, channels4: layout.c4 / 4, strip: layout.strip, first_group: run.firstGroup },
      buffers: { dy: cut(dy, run), x: cut(x, run), ...vectors, dx: cut(dx, run) },
      workgroups: workgroupsOf(context, run, layout),
    })
}
