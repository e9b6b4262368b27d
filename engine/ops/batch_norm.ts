/**
 * Batch normalisation (Ioffe & Szegedy 2015) over all dimensions except the last, for the whole batch or for groups of
 * rows. A residual addition and a ReLU after it are options of the same op. engine/one_layer.md explains this file.
 */
import { defineOp, ShapeError, show, type Value } from '../value.js'
import {
  applyLine,
  checkTypes,
  cut,
  layoutOf,
  mergeWorkgroups,
  narrow,
  sizesOf,
  summing,
  wide,
  wideTarget,
  workgroupsOf,
} from './batch_norm_layout.js'
import { vec4Of } from './common.js'
import { filled } from './layout.js'

export interface BatchNormOptions {
  /** The number of equal parts (views) of the first dimension, each with its own statistics. */
  groups?: number
  epsilon?: number
  /** Applies max(·, 0) at the end. */
  relu?: boolean
  /** Added before the ReLU; of x's shape. */
  residual?: Value
}

interface Attributes {
  groups: number
  epsilon: number
  correction: number
  relu: boolean
  /** The op's name in messages. */
  name: string
}

/** Inputs x, scale, shift (, residual); outputs y, mean, variance, gain, offset ([groups, C] each but y). */
const batchNormOp = defineOp<Attributes>({
  name: 'batchNorm',
  infer: ([x, scale, shift, residual], { groups, name, correction }) => {
    checkTypes(name, x, residual, [scale, shift])
    const { rows, channels } = sizesOf(x, groups)
    if (!Number.isInteger(groups) || groups < 1 || x.shape[0] % groups)
      throw new ShapeError(`${name}: ${groups} groups do not divide the first dimension of ${show(x.shape)}`)
    for (const [what, v] of [
      ['scale', scale],
      ['shift', shift],
    ] as const)
      if (v.shape.length !== 1 || v.shape[0] !== channels)
        throw new ShapeError(`${name}: ${what} ${show(v.shape)} does not fit the channels of x ${show(x.shape)}`)
    if (residual && show(residual.shape) !== show(x.shape))
      throw new ShapeError(`${name}: residual ${show(residual.shape)} and x ${show(x.shape)} differ`)
    if (rows < 2)
      throw new ShapeError(
        `${name}: x ${show(x.shape)}${groups > 1 ? ` in ${groups} groups` : ''} has one row for each statistic; ` +
          `${correction ? 'the standard deviation' : 'batch statistics'} need at least 2: use a larger batch`,
      )
    const spec = { shape: [groups, channels], dtype: 'f32' } as const
    return [{ shape: x.shape, dtype: x.dtype }, spec, spec, spec, spec]
  },
  gradient: (node, [g, ...others]) => {
    const [x, scale, , residual] = node.inputs
    const [y, mean, variance, gain, offset] = node.outputs
    if (others.some((o) => o)) throw new Error(`${node.attributes.name}: its statistics have no gradient`)
    const inputs = [g!, x, mean, variance, gain, offset, ...(residual && node.attributes.relu ? [y] : [])]
    const [dx, dscale, dshift, masked] = batchNormGradientOp(inputs, {
      ...node.attributes,
      residual: !!residual,
      channels: scale.shape,
    })
    return [dx, dscale, dshift, residual && (node.attributes.relu ? masked : g)]
  },
  lower: (node, context) => {
    const [x, scale, shift, residual] = node.inputs
    const [y, mean, variance, gain, offset] = node.outputs
    const { groups, epsilon, correction, relu } = node.attributes
    const layout = layoutOf(context, x, groups)
    const { rows, c4, strip, strips } = layout
    const from = wide(context, layout, x)
    const partial = context.temporary(4 * groups * strips * 2 * c4)
    for (const run of layout.runs)
      context.dispatch({
        kernel: 'batch_norm_statistics',
        constants: { ...summing(layout.sharing), T: vec4Of(x.dtype) },
        params: {
          rows: run.rows,
          channels4: c4 / 4,
          strip,
          strips,
          first_strip: run.firstStrip,
          first_group: run.firstGroup,
        },
        buffers: { x: cut(from, run), partial },
        workgroups: workgroupsOf(context, run, layout),
      })
    const [m, v, a, b] = [mean, variance, gain, offset].map((value) => wideTarget(context, layout, value))
    context.dispatch({
      kernel: 'batch_norm_merge',
      constants: summing(layout.mergeSharing),
      params: { groups, rows, channels4: c4 / 4, strip, strips, epsilon, correction },
      buffers: {
        partial,
        scale: wide(context, layout, scale),
        shift: wide(context, layout, shift),
        mean: m,
        variance: v,
        gain: a,
        offset: b,
      },
      workgroups: mergeWorkgroups((groups * c4) / 4, layout),
    })
    const to = wideTarget(context, layout, y)
    const added = residual && wide(context, layout, residual)
    applyLine(context, layout, { x: from, gain: a, offset: b, residual: added, y: to }, relu, x.dtype)
    narrow(context, layout, to, y)
    narrow(context, layout, m, mean)
    narrow(context, layout, v, variance)
    narrow(context, layout, a, gain)
    narrow(context, layout, b, offset)
  },
})

/** Inputs g, x, mean, variance, gain, offset (, y); outputs dx, dscale, dshift, and g masked by the ReLU. */
const batchNormGradientOp = defineOp<Attributes & { residual: boolean; channels: readonly number[] }>({
  name: 'batchNormGradient',
  infer: ([g], { channels }) => [
    { shape: g.shape, dtype: g.dtype },
    { shape: channels, dtype: 'f32' },
    { shape: channels, dtype: 'f32' },
    { shape: g.shape, dtype: g.dtype },
  ],
  lower: (node, context) => {
    const [g, x, mean, variance, gain, offset, y] = node.inputs
    const [dx, dscale, dshift, masked] = node.outputs
    const { groups, epsilon, correction, relu, residual } = node.attributes
    const layout = layoutOf(context, x, groups)
    const { rows, c4, strip, strips } = layout
    const [dy, from, m, v, a, b] = [g, x, mean, variance, gain, offset].map((value) => wide(context, layout, value))
    const out = y && wide(context, layout, y)
    // With a residual, g masked by the ReLU is also the gradient in the residual, so it is kept.
    const keep = relu && residual ? wideTarget(context, layout, masked) : undefined
    const mask = relu && !residual
    const partial = context.temporary(4 * groups * strips * 2 * c4)
    for (const run of layout.runs)
      context.dispatch({
        kernel: 'batch_norm_gradient_sums',
        constants: {
          ...summing(layout.sharing),
          MASK: mask,
          MASK_FROM_Y: !!out,
          KEEP: !!keep,
          T: vec4Of(x.dtype),
        },
        params: {
          rows: run.rows,
          channels4: c4 / 4,
          strip,
          strips,
          first_strip: run.firstStrip,
          first_group: run.firstGroup,
        },
        buffers: {
          dy: cut(dy, run),
          x: cut(from, run),
          y: out && cut(out, run),
          mean: m,
          gain: a,
          offset: b,
          partial,
          masked: keep ? cut(keep, run) : context.temporary(256),
        },
        workgroups: workgroupsOf(context, run, layout),
      })
    const line = context.temporary(4 * groups * 2 * c4)
    const [ds, dh] = [dscale, dshift].map((value) => wideTarget(context, layout, value))
    context.dispatch({
      kernel: 'batch_norm_gradient_merge',
      constants: summing(layout.mergeSharing),
      params: { groups, rows, channels4: c4 / 4, strips, epsilon, correction },
      buffers: { partial, mean: m, variance: v, gain: a, line, d_scale: ds, d_shift: dh },
      workgroups: mergeWorkgroups(c4 / 4, layout),
    })
    const to = wideTarget(context, layout, dx)
    for (const run of layout.runs)
      context.dispatch({
        kernel: 'batch_norm_gradient_apply',
        constants: { ...layout.sharing, MASK: mask, T: vec4Of(x.dtype), store: x.dtype },
        params: { rows: run.rows, channels4: c4 / 4, strip, first_group: run.firstGroup },
        buffers: { dy: cut(keep ?? dy, run), x: cut(from, run), gain: a, offset: b, line, dx: cut(to, run) },
        workgroups: workgroupsOf(context, run, layout),
      })
    narrow(context, layout, to, dx)
    narrow(context, layout, ds, dscale)
    narrow(context, layout, dh, dshift)
    if (keep) narrow(context, layout, keep, masked)
  },
})

/**
 * y = (x − mean) / √(variance + ε) · scale + shift (+ residual), then the ReLU if asked for. mean and the biased
 * variance are those of the batch, for each channel and group.
 *
 * @param x [N, …, C], with at least 2 rows in each group. If it is f16, y and the residual are too; the rest is f32.
 * @param scale [C]
 * @param shift [C]
 * @returns y of x's shape, and the statistics mean and variance [groups, C]
 */
export function batchNorm(
  x: Value,
  scale: Value,
  shift: Value,
  { groups = 1, epsilon = 1e-5, relu = false, residual }: BatchNormOptions = {},
): { y: Value; mean: Value; variance: Value } {
  const inputs = residual ? [x, scale, shift, residual] : [x, scale, shift]
  const [y, mean, variance] = batchNormOp(inputs, { groups, epsilon, correction: 0, relu, name: 'batchNorm' })
  return { y, mean, variance }
}

/**
 * (x − mean) / std of each column. The divisor of the variance is rows − correction, with 1 by default as in the
 * paper's code.
 *
 * @param x [rows, columns]; with groups, each group of rows has its own statistics
 */
export function standardizeColumns(
  x: Value,
  { groups = 1, epsilon = 0, correction = 1 }: { groups?: number; epsilon?: number; correction?: number } = {},
): Value {
  const columns = [x.shape[x.shape.length - 1]]
  const attributes = { groups, epsilon, correction, relu: false, name: 'standardizeColumns' }
  return batchNormOp([x, filled(columns, 1), filled(columns, 0)], attributes)[0]
}
