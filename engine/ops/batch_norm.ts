/**
 * Batch normalisation (Ioffe & Szegedy 2015) over all dimensions except the last, for the whole batch or for groups of
 * rows. A residual addition and a ReLU after it are options of the same op. engine/one_layer.md explains this file.
 */
import { defineOp, ShapeError, show, type Value } from '../value.js'
import type { Collective } from '../collective.js'
import { acrossRanks } from './batch_norm_across.js'
import {
  applyGradient,
  mergeGradientSums,
  mergeStatistics,
  stripGradientSums,
  stripStatistics,
} from './batch_norm_kernels.js'
import {
  applyLine,
  checkBatchNorm,
  layoutOf,
  narrow,
  wide,
  wideTarget,
  type BatchNormAttributes,
} from './batch_norm_layout.js'
import { filled } from './layout.js'

export interface BatchNormOptions {
  /** The number of equal parts (views) of the first dimension, each with its own statistics. */
  groups?: number
  epsilon?: number
  /** Applies max(·, 0) at the end. */
  relu?: boolean
  /** Added before the ReLU; of x's shape. */
  residual?: Value
  /** The statistics are those of all ranks' rows. */
  across?: Collective
}

/** Inputs x, scale, shift (, residual); outputs y, mean, variance, gain, offset ([groups, C] each but y). */
const batchNormOp = defineOp<BatchNormAttributes>({
  name: 'batchNorm',
  infer: ([x, scale, shift, residual], attributes) => {
    const { rows, channels } = checkBatchNorm({ x, scale, shift, residual }, attributes)
    const { groups, name, correction } = attributes
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
    const from = wide(context, layout, x)
    const partial = stripStatistics(context, layout, from, x.dtype)
    const [m, v, a, b] = [mean, variance, gain, offset].map((value) => wideTarget(context, layout, value))
    mergeStatistics(
      context,
      layout,
      {
        partial,
        scale: wide(context, layout, scale),
        shift: wide(context, layout, shift),
        ...{ mean: m, variance: v, gain: a, offset: b },
      },
      { epsilon, correction },
    )
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
const batchNormGradientOp = defineOp<BatchNormAttributes & { residual: boolean; channels: readonly number[] }>({
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
    const [dy, from, m, v, a, b] = [g, x, mean, variance, gain, offset].map((value) => wide(context, layout, value))
    // With a residual, g masked by the ReLU is also the gradient in the residual, so it is kept.
    const keep = relu && residual ? wideTarget(context, layout, masked) : undefined
    const mask = relu && !residual
    const masking = { mask, y: y && wide(context, layout, y), keep }
    const read = { dy, x: from, mean: m, gain: a, offset: b }
    const partial = stripGradientSums(context, layout, read, masking, x.dtype)
    const [ds, dh] = [dscale, dshift].map((value) => wideTarget(context, layout, value))
    const merged = { partial, mean: m, variance: v, gain: a }
    const line = mergeGradientSums(context, layout, merged, { scale: ds, shift: dh }, { epsilon, correction })
    const to = wideTarget(context, layout, dx)
    const applied = { dy: keep ?? dy, x: from, gain: a, offset: b, line, dx: to }
    applyGradient(context, layout, applied, mask, x.dtype)
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
  { groups = 1, epsilon = 1e-5, relu = false, residual, across }: BatchNormOptions = {},
): { y: Value; mean: Value; variance: Value } {
  const inputs = residual ? [x, scale, shift, residual] : [x, scale, shift]
  const attributes = { groups, epsilon, correction: 0, relu, name: 'batchNorm' }
  const [y, mean, variance] = across ? acrossRanks(inputs, attributes, across) : batchNormOp(inputs, attributes)
  return { y, mean, variance }
}

/**
 * (x − mean) / std of each column. The divisor of the variance is rows − correction, with 1 by default as in the
 * paper's code.
 *
 * @param x [rows, columns]; with groups, each group of rows has its own statistics; with `across`, those of all ranks'
 *   rows
 */
export function standardizeColumns(
  x: Value,
  {
    groups = 1,
    epsilon = 0,
    correction = 1,
    across,
  }: { groups?: number; epsilon?: number; correction?: number; across?: Collective } = {},
): Value {
  const columns = [x.shape[x.shape.length - 1]]
  const attributes = { groups, epsilon, correction, relu: false, name: 'standardizeColumns' }
  const inputs = [x, filled(columns, 1), filled(columns, 0)]
  return (across ? acrossRanks(inputs, attributes, across) : batchNormOp(inputs, attributes))[0]
}
