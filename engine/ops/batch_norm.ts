/**
 * Batch normalisation (Ioffe & Szegedy 2015) over all dimensions except the last, for the whole batch or for groups of
 * rows. A residual addition and a ReLU after it are options of the same op.
 */
import type { LoweringContext } from '../lowering_context.js'
import { part, type Slice } from '../plan.js'
import type { Assignment, Variable } from '../leaves.js'
import { bytesOf, defineOp, ShapeError, show, type DType, type Value } from '../value.js'
import { checkActivations, checkFloat, padded, resize, up, vec4Of } from './common.js'
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

/** The sizes of x as [groups, rows, channels], and c4, the channels padded to whole vec4s. */
function layout(x: Value, groups: number) {
  const channels = x.shape[x.shape.length - 1]
  const rows = x.size / channels / groups
  return { channels, rows, c4: up(channels, 4) }
}

interface Run {
  /** Offset and size in bytes within the padded tensor. */
  offset: number
  bytes: number
  rows: number
  groups: number
  firstGroup: number
  firstStrip: number
}

/** The dispatches that cover [groups, rows, c4]: one if it can be bound, else one for each run of rows. */
function runsOf(
  context: LoweringContext,
  groups: number,
  rows: number,
  c4: number,
  strip: number,
  dtype: DType,
): Run[] {
  const rowBytes = bytesOf[dtype] * c4
  if (groups * rows * rowBytes <= context.target.maxBindingBytes)
    return [{ offset: 0, bytes: groups * rows * rowBytes, rows, groups, firstGroup: 0, firstStrip: 0 }]
  const runs: Run[] = []
  for (let group = 0; group < groups; group++)
    for (const { start, count } of context.rows(Math.ceil(rows / strip), strip * rowBytes)) {
      const some = Math.min(count * strip, rows - start * strip)
      const offset = (group * rows + start * strip) * rowBytes
      if (offset % 256)
        throw new Error(
          `batchNorm: a group of ${rows} rows × ${c4} channels is over one binding and does not start at a bindable offset: ` +
            'use a batch that is a multiple of 8',
        )
      runs.push({ offset, bytes: some * rowBytes, rows: some, groups: 1, firstGroup: group, firstStrip: start })
    }
  return runs
}

/** Rows of a strip. One invocation sums one strip, and the statistics of the strips are then merged. */
const stripOf = (rows: number): number => Math.max(16, Math.min(256, Math.ceil(rows / 64)))

const workgroupsOf = (context: LoweringContext, run: Run, strip: number, c4: number): [number, number] => [
  context.grid((Math.ceil(run.rows / strip) * c4) / 4, 64),
  run.groups,
]

const cut = (x: Slice, run: Run): Slice => part(x, run.offset, run.bytes)

/** Tensors with their channels padded to whole vec4s. */
const widened =
  (context: LoweringContext, channels: number, c4: number) =>
  (v: Value): Slice =>
    padded(context, context.of(v), [1, v.size / channels, channels], v.size / channels, c4, v.dtype)

/** Throws unless x and the residual are activations of one dtype, and the vectors f32. */
function checkTypes(name: string, x: Value, residual: Value | undefined, vectors: Value[]): void {
  checkActivations(name, x)
  checkFloat(name, ...vectors)
  if (residual && residual.dtype !== x.dtype)
    throw new ShapeError(`${name}: residual is ${residual.dtype} and x ${x.dtype}: cast one to the other`)
}

/** y = x·gain + offset (+ residual), then the ReLU if asked for. */
function applyLine(
  context: LoweringContext,
  x: Slice,
  gain: Slice,
  offset: Slice,
  residual: Slice | undefined,
  y: Slice,
  relu: boolean,
  runs: Run[],
  strip: number,
  c4: number,
  dtype: DType,
): void {
  for (const run of runs)
    context.dispatch({
      kernel: 'batch_norm_apply',
      constants: { RELU: relu, RESIDUAL: !!residual, T: vec4Of(dtype), store: dtype },
      params: { rows: run.rows, channels4: c4 / 4, strip, first_group: run.firstGroup },
      buffers: { x: cut(x, run), gain, offset, residual: residual && cut(residual, run), y: cut(y, run) },
      workgroups: workgroupsOf(context, run, strip, c4),
    })
}

/** Inputs x, scale, shift (, residual); outputs y, mean, variance, gain, offset ([groups, C] each but y). */
const batchNormOp = defineOp<Attributes>({
  name: 'batchNorm',
  infer: ([x, scale, shift, residual], { groups, name, correction }) => {
    checkTypes(name, x, residual, [scale, shift])
    const { channels, rows } = layout(x, groups)
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
    const { channels, rows, c4 } = layout(x, groups)
    const strip = stripOf(rows)
    const strips = Math.ceil(rows / strip)
    const runs = runsOf(context, groups, rows, c4, strip, x.dtype)
    const wide = widened(context, channels, c4)
    const from = wide(x)
    const partial = context.temporary(4 * groups * strips * 2 * c4)
    for (const run of runs)
      context.dispatch({
        kernel: 'batch_norm_statistics',
        constants: { T: vec4Of(x.dtype) },
        params: {
          rows: run.rows,
          channels4: c4 / 4,
          strip,
          strips,
          first_strip: run.firstStrip,
          first_group: run.firstGroup,
        },
        buffers: { x: cut(from, run), partial },
        workgroups: workgroupsOf(context, run, strip, c4),
      })
    const exact = c4 === channels
    const statistic = (v: Value): Slice => (exact ? context.of(v) : context.temporary(4 * groups * c4))
    const merged = {
      mean: statistic(mean),
      variance: statistic(variance),
      gain: statistic(gain),
      offset: statistic(offset),
    }
    context.dispatch({
      kernel: 'batch_norm_merge',
      params: { groups, rows, channels4: c4 / 4, strip, strips, epsilon, correction },
      buffers: { partial, scale: wide(scale), shift: wide(shift), ...merged },
      workgroups: [Math.ceil((groups * c4) / 4 / 64)],
    })
    const target = exact ? context.of(y) : context.temporary(up(bytesOf[y.dtype] * groups * rows * c4, 16))
    const more = residual && wide(residual)
    applyLine(context, from, merged.gain, merged.offset, more, target, relu, runs, strip, c4, x.dtype)
    if (!exact) {
      resize(context, target, [1, groups * rows, c4], context.of(y), groups * rows, channels, y.dtype)
      for (const [v, slice] of [
        [mean, merged.mean],
        [variance, merged.variance],
        [gain, merged.gain],
        [offset, merged.offset],
      ] as const)
        resize(context, slice, [1, groups, c4], context.of(v), groups, channels)
    }
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
    const { channels, rows, c4 } = layout(x, groups)
    const strip = stripOf(rows)
    const strips = Math.ceil(rows / strip)
    const runs = runsOf(context, groups, rows, c4, strip, x.dtype)
    const exact = c4 === channels
    const wide = widened(context, channels, c4)
    const result = (v: Value): Slice =>
      exact ? context.of(v) : context.temporary(up((bytesOf[v.dtype] * v.size * c4) / channels, 16))
    const [dy, from, m, v, a, b] = [wide(g), wide(x), wide(mean), wide(variance), wide(gain), wide(offset)]
    const out = y && wide(y)
    const keep = relu && residual ? result(masked) : undefined
    const mask = relu && !residual
    const partial = context.temporary(4 * groups * strips * 2 * c4)
    for (const run of runs)
      context.dispatch({
        kernel: 'batch_norm_gradient_sums',
        constants: { MASK: mask, MASK_FROM_Y: !!out, KEEP: !!keep, T: vec4Of(x.dtype) },
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
        workgroups: workgroupsOf(context, run, strip, c4),
      })
    const line = context.temporary(4 * groups * 2 * c4)
    const [ds, dh] = [result(dscale), result(dshift)]
    context.dispatch({
      kernel: 'batch_norm_gradient_merge',
      params: { groups, rows, channels4: c4 / 4, strips, epsilon, correction },
      buffers: { partial, mean: m, variance: v, gain: a, line, d_scale: ds, d_shift: dh },
      workgroups: [Math.ceil(c4 / 4 / 64)],
    })
    const to = result(dx)
    for (const run of runs)
      context.dispatch({
        kernel: 'batch_norm_gradient_apply',
        constants: { MASK: mask, T: vec4Of(x.dtype), store: x.dtype },
        params: { rows: run.rows, channels4: c4 / 4, strip, first_group: run.firstGroup },
        buffers: { dy: cut(keep ?? dy, run), x: cut(from, run), gain: a, offset: b, line, dx: cut(to, run) },
        workgroups: workgroupsOf(context, run, strip, c4),
      })
    if (exact) return
    const narrow = (slice: Slice, value: Value): void =>
      resize(
        context,
        slice,
        [1, value.size / channels, c4],
        context.of(value),
        value.size / channels,
        channels,
        value.dtype,
      )
    narrow(to, dx)
    narrow(ds, dscale)
    narrow(dh, dshift)
    if (keep) narrow(keep, masked)
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

/** Inputs x, mean, variance, scale, shift (, residual). */
const inferenceOp = defineOp<{ epsilon: number; relu: boolean }>({
  name: 'batchNormInference',
  infer: ([x, ...others]) => {
    const channels = x.shape[x.shape.length - 1]
    checkTypes('batchNormInference', x, others[4], others.slice(0, 4))
    for (const v of others.slice(0, 4))
      if (v.size !== channels)
        throw new ShapeError(`batchNormInference: ${show(v.shape)} does not fit the channels of x ${show(x.shape)}`)
    if (others[4] && show(others[4].shape) !== show(x.shape))
      throw new ShapeError(`batchNormInference: residual ${show(others[4].shape)} and x ${show(x.shape)} differ`)
    return [{ shape: x.shape, dtype: x.dtype }]
  },
  lower: (
    { inputs: [x, mean, variance, scale, shift, residual], outputs: [y], attributes: { epsilon, relu } },
    context,
  ) => {
    const { channels, rows, c4 } = layout(x, 1)
    const strip = stripOf(rows)
    const runs = runsOf(context, 1, rows, c4, strip, x.dtype)
    const wide = widened(context, channels, c4)
    const gain = context.temporary(4 * c4)
    const offset = context.temporary(4 * c4)
    context.dispatch({
      kernel: 'batch_norm_fold',
      params: { channels4: c4 / 4, epsilon },
      buffers: { mean: wide(mean), variance: wide(variance), scale: wide(scale), shift: wide(shift), gain, offset },
      workgroups: [Math.ceil(c4 / 4 / 64)],
    })
    const target = c4 === channels ? context.of(y) : context.temporary(up(bytesOf[y.dtype] * rows * c4, 16))
    applyLine(context, wide(x), gain, offset, residual && wide(residual), target, relu, runs, strip, c4, x.dtype)
    if (c4 !== channels) resize(context, target, [1, rows, c4], context.of(y), rows, channels, y.dtype)
  },
})

/** Batch-norm with given statistics ([C] each), for evaluation. Not differentiable. */
export function batchNormInference(
  x: Value,
  mean: Value,
  variance: Value,
  scale: Value,
  shift: Value,
  { epsilon = 1e-5, relu = false, residual }: Omit<BatchNormOptions, 'groups'> = {},
): Value {
  const inputs = [x, mean, variance, scale, shift]
  return inferenceOp(residual ? [...inputs, residual] : inputs, { epsilon, relu })[0]
}

const runningOp = defineOp<{ momentum: number; factor: number }>({
  name: 'runningStatistics',
  infer: ([running]) => [{ shape: running.shape, dtype: 'f32' }],
  lower: ({ inputs: [running, batch], outputs: [next], attributes: { momentum, factor } }, context) => {
    const slice = context.inPlace(next, running)
    const channels = running.size
    context.dispatch({
      kernel: 'batch_norm_running',
      params: { groups: batch.size / channels, channels, momentum, factor },
      buffers: { batch: context.of(batch), running: slice },
      workgroups: [Math.ceil(channels / 64)],
    })
  },
})

/**
 * Running statistics after a batch: r ← (1 − momentum) r + momentum · s once for each group, in order. As in PyTorch,
 * the variance in s is the unbiased one, n / (n − 1) times the batch's. If the result is not finite, r does not change.
 *
 * @param count rows of each group
 */
export function updateRunningStatistics(
  running: { mean: Variable; variance: Variable },
  batch: { mean: Value; variance: Value },
  count: number,
  momentum = 0.1,
): Assignment[] {
  return [
    { variable: running.mean, value: runningOp([running.mean, batch.mean], { momentum, factor: 1 })[0] },
    {
      variable: running.variance,
      value: runningOp([running.variance, batch.variance], { momentum, factor: count / (count - 1) })[0],
    },
  ]
}
