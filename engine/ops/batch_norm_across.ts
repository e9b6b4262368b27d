/**
 * Batch-norm with the statistics of all ranks' rows. Each rank sums its own rows. One exchange in the forward pass and
 * one in the backward pass add what the ranks have found; all other work is that of batch_norm.ts.
 */
import type { Collective } from '../collective.js'
import type { HostWork } from '../plan.js'
import { defineOp, type Value } from '../value.js'
import {
  applyGradient,
  mergeGradientSums,
  mergeStatistics,
  stripGradientSums,
  stripStatistics,
  type Rows,
} from './batch_norm_kernels.js'
import {
  applyLine,
  checkBatchNorm,
  layoutOf,
  narrow,
  sizesOf,
  stripOf,
  wide,
  wideTarget,
  type BatchNormAttributes,
  type Layout,
} from './batch_norm_layout.js'
import { up } from './common.js'
import { exchange, summed } from './exchange.js'
import { reshape } from './layout.js'
import { sum } from './reduce.js'

interface Attributes extends BatchNormAttributes {
  collective: Collective
}

/** The rows of all ranks, as one strip of each group. */
const allRows = ({ groups, rows, c4, mergeSharing }: Layout, { collective }: Attributes): Rows => {
  const all = rows * collective.size
  return { groups, rows: all, strip: all, strips: 1, c4, mergeSharing }
}

/** Inputs x, scale, shift; outputs mean and variance [groups, C] of this rank's rows. */
const statisticsOp = defineOp<Attributes>({
  name: 'batchStatistics',
  infer: ([x, scale, shift], attributes) => {
    const { channels } = checkBatchNorm({ x, scale, shift }, attributes)
    const spec = { shape: [attributes.groups, channels], dtype: 'f32' } as const
    return [spec, spec]
  },
  gradient: () => [undefined, undefined, undefined],
  lower: ({ inputs: [x, scale, shift], outputs: [mean, variance], attributes: { groups, epsilon } }, context) => {
    const layout = layoutOf(context, x, groups)
    const partial = stripStatistics(context, layout, wide(context, layout, x), x.dtype)
    const [m, v] = [mean, variance].map((value) => wideTarget(context, layout, value))
    const unused = (): ReturnType<typeof context.temporary> => context.temporary(4 * groups * layout.c4)
    const read = { partial, scale: wide(context, layout, scale), shift: wide(context, layout, shift) }
    const written = { mean: m, variance: v, gain: unused(), offset: unused() }
    mergeStatistics(context, layout, { ...read, ...written }, { epsilon, correction: 0 })
    narrow(context, layout, m, mean)
    narrow(context, layout, v, variance)
  },
})

/**
 * Statistics of all rows from those of each rank's rows: their mean, and their squared deviation Σ (x − mean)². The sums
 * are taken in f64, where E[x²] − E[x]² does not cancel.
 *
 * @param rows of one rank, in each group
 * @returns from mean and variance [groups, C] to [groups, 2, c4], the strip of `allRows`
 */
export function allStatistics(
  collective: Collective,
  { groups, rows, channels, c4 }: { groups: number; rows: number; channels: number; c4: number },
): HostWork {
  const { size } = collective
  return async (data) => {
    const count = groups * channels
    const moments = new Float64Array(2 * count)
    for (let i = 0; i < count; i++) {
      moments[i] = data[i]
      moments[count + i] = data[count + i] + data[i] * data[i]
    }
    const sums = await collective.allReduce(moments)
    const strip = new Float32Array(groups * 2 * c4)
    for (let i = 0; i < count; i++) {
      const mean = sums[i] / size
      const at = Math.floor(i / channels) * 2 * c4 + (i % channels)
      strip[at] = mean
      // A comparison keeps NaN.
      const variance = sums[count + i] / size - mean * mean
      strip[at + c4] = (variance < 0 ? 0 : variance) * rows * size
    }
    return strip
  }
}

/** Inputs x, scale, shift, strip [groups, 2, c4] (, residual); outputs y, mean, variance, gain, offset. */
const acrossOp = defineOp<Attributes>({
  name: 'batchNormAcross',
  infer: ([x, scale, shift, , residual], attributes) => {
    const { channels } = checkBatchNorm({ x, scale, shift, residual }, attributes)
    const spec = { shape: [attributes.groups, channels], dtype: 'f32' } as const
    return [{ shape: x.shape, dtype: x.dtype }, spec, spec, spec, spec]
  },
  // The gradient in x contains what flows through the statistics.
  gradient: ({ inputs, outputs, attributes }, [g, ...others]) => {
    if (others.some((o) => o)) throw new Error(`${attributes.name}: its statistics have no gradient`)
    const [dx, dscale, dshift, dresidual] = gradientAcross(inputs, outputs, attributes, g!)
    return [dx, dscale, dshift, undefined, dresidual]
  },
  lower: (node, context) => {
    const [x, scale, shift, strip, residual] = node.inputs
    const [y, mean, variance, gain, offset] = node.outputs
    const { groups, epsilon, correction, relu } = node.attributes
    const layout = layoutOf(context, x, groups)
    const [m, v, a, b] = [mean, variance, gain, offset].map((value) => wideTarget(context, layout, value))
    const read = {
      partial: context.of(strip),
      scale: wide(context, layout, scale),
      shift: wide(context, layout, shift),
    }
    const written = { mean: m, variance: v, gain: a, offset: b }
    mergeStatistics(context, allRows(layout, node.attributes), { ...read, ...written }, { epsilon, correction })
    const to = wideTarget(context, layout, y)
    const added = residual && wide(context, layout, residual)
    const from = wide(context, layout, x)
    applyLine(context, layout, { x: from, gain: a, offset: b, residual: added, y: to }, relu, x.dtype)
    narrow(context, layout, to, y)
    narrow(context, layout, m, mean)
    narrow(context, layout, v, variance)
    narrow(context, layout, a, gain)
    narrow(context, layout, b, offset)
  },
})

/** Inputs g, x, mean, gain, offset (, y); outputs the sums of each strip [groups, strips, 2 · c4], and g after the ReLU. */
const gradientSumsOp = defineOp<Attributes & { residual: boolean }>({
  name: 'batchNormAcrossSums',
  infer: ([g, x], { groups }) => {
    const { rows, channels } = sizesOf(x, groups)
    return [
      { shape: [groups, Math.ceil(rows / stripOf(rows)), 2 * up(channels, 4)], dtype: 'f32' },
      { shape: g.shape, dtype: g.dtype },
    ]
  },
  lower: (node, context) => {
    const [g, x, mean, gain, offset, y] = node.inputs
    const [partial, masked] = node.outputs
    const { groups, relu, residual } = node.attributes
    const layout = layoutOf(context, x, groups, stripOf(sizesOf(x, groups).rows))
    const [dy, from, m, a, b] = [g, x, mean, gain, offset].map((value) => wide(context, layout, value))
    const keep = relu && residual ? wideTarget(context, layout, masked) : undefined
    const masking = { mask: relu && !residual, y: y && wide(context, layout, y), keep }
    const read = { dy, x: from, mean: m, gain: a, offset: b }
    stripGradientSums(context, layout, read, masking, x.dtype, context.of(partial))
    if (keep) narrow(context, layout, keep, masked)
  },
})

/** Inputs g, x, mean, variance, gain, offset, own sums, all sums [groups, 2 · c4]; outputs dx, dscale, dshift. */
const gradientOp = defineOp<Attributes & { mask: boolean; channels: readonly number[] }>({
  name: 'batchNormAcrossGradient',
  infer: ([g], { channels }) => [
    { shape: g.shape, dtype: g.dtype },
    { shape: channels, dtype: 'f32' },
    { shape: channels, dtype: 'f32' },
  ],
  lower: (node, context) => {
    const [g, x, mean, variance, gain, offset, own, all] = node.inputs
    const [dx, dscale, dshift] = node.outputs
    const { groups, epsilon, correction, mask } = node.attributes
    const layout = layoutOf(context, x, groups)
    const [dy, from, m, v, a, b] = [g, x, mean, variance, gain, offset].map((value) => wide(context, layout, value))
    const [ds, dh] = [dscale, dshift].map((value) => wideTarget(context, layout, value))
    const rows = allRows(layout, node.attributes)
    const statistics = { mean: m, variance: v, gain: a }
    const merge = (sums: Value, scale = ds, shift = dh) =>
      mergeGradientSums(
        context,
        rows,
        { partial: context.of(sums), ...statistics },
        { scale, shift },
        { epsilon, correction },
      )
    // The ranks' gradients in scale and shift are added later, with those of all parameters.
    merge(own)
    const line = merge(all, context.temporary(4 * layout.c4), context.temporary(4 * layout.c4))
    const to = wideTarget(context, layout, dx)
    applyGradient(context, layout, { dy, x: from, gain: a, offset: b, line, dx: to }, mask, x.dtype)
    narrow(context, layout, to, dx)
    narrow(context, layout, ds, dscale)
    narrow(context, layout, dh, dshift)
  },
})

function gradientAcross(
  [x, scale, , , residual]: readonly Value[],
  [y, mean, variance, gain, offset]: readonly Value[],
  attributes: Attributes,
  g: Value,
): (Value | undefined)[] {
  const { groups, relu, collective } = attributes
  const kept = relu && residual !== undefined
  const read = [g, x, mean, gain, offset, ...(kept ? [y] : [])]
  const [partial, masked] = gradientSumsOp(read, { ...attributes, residual: residual !== undefined })
  const own = reshape(sum(partial, [1]), [groups, partial.shape[2]])
  const [all] = summed([own], collective)
  const after = kept ? masked : g
  const [dx, dscale, dshift] = gradientOp([after, x, mean, variance, gain, offset, own, all], {
    ...attributes,
    ...{ mask: relu && !kept, channels: scale.shape },
  })
  return [dx, dscale, dshift, residual && after]
}

/**
 * Batch-norm over the rows of all ranks, which must have equally many.
 *
 * @param inputs x, scale, shift (, residual) as batchNorm takes them
 * @returns y, mean, variance, gain, offset
 */
export function acrossRanks(inputs: readonly Value[], given: BatchNormAttributes, collective: Collective): Value[] {
  const [x, scale, shift, residual] = inputs
  const attributes = { ...given, collective }
  const { rows, channels } = sizesOf(x, given.groups)
  const c4 = up(channels, 4)
  const work = allStatistics(collective, { groups: given.groups, rows, channels, c4 })
  const own = statisticsOp([x, scale, shift], attributes)
  const [strip] = exchange(own, [[given.groups, 2, c4]], work)
  return acrossOp([x, scale, shift, strip, ...(residual ? [residual] : [])], attributes)
}
