/** Sums and means over dimensions. elementwise.ts and this file import each other: see there. */
import { bytesOf, defineOp, sameShape, ShapeError, show, sizeOf, type Value } from '../value.js'
import { part } from '../plan.js'
import { expand, scale } from './elementwise.js'
import { castTo } from './cast.js'
import { busyWorkgroups, checkActivations, sumRows, vec4Of } from './common.js'
import { PartialSums, splitsWithin, totalOf } from './partial_sums.js'
import { reshape } from './layout.js'

interface Attributes {
  /** x is reshaped to [outer, length, inner] and summed over `length`. */
  outer: number
  length: number
  inner: number
  factor: number
  shape: readonly number[]
}

/** Numbers of a sum that is too short for several threads. */
const SHORT_ROW = 64
/** Numbers of a sum that are enough for a workgroup of a GPU. */
const LONG_ROW = 8192

const reduce = defineOp<Attributes>({
  name: 'sum',
  infer: ([x], { shape }) => {
    checkActivations('sum', x)
    return [{ shape, dtype: 'f32' }]
  },
  gradient: ({ inputs: [x], attributes: { outer, length, inner, factor } }, [g]) => {
    const scaled = factor === 1 ? g! : scale(g!, factor)
    const spread = expand(reshape(scaled, [outer, 1, inner]), [outer, length, inner])
    return [castTo(reshape(spread, x.shape), x.dtype)]
  },
  lower: ({ inputs: [x], outputs: [y], attributes: { outer, length, inner, factor } }, context) => {
    const from = context.of(x)
    const to = context.of(y)
    const vector = inner % 4 === 0
    const width = vector ? inner / 4 : inner
    const results = outer * inner
    const bytes = bytesOf[x.dtype]
    const gpu = context.target.adapterClass === 'gpu'
    // On a GPU the threads of a workgroup share a row, and a few threads share a long column.
    const byRows = gpu && inner === 1 && length >= SHORT_ROW
    const dispatch = (
      source: typeof from,
      target: typeof from,
      o: number,
      l: number,
      splits: number,
      by: number,
      firstSplit = 0,
    ): void => {
      if (byRows)
        return sumRows(context, source, target, { rows: o, length: l, splits, firstSplit, factor: by, dtype: x.dtype })
      const each = Math.ceil(l / splits)
      const share = vector && gpu && each >= SHORT_ROW ? 16 : 1
      context.dispatch({
        kernel: vector ? 'reduce4' : 'reduce',
        constants: {
          In: vector ? vec4Of(x.dtype) : x.dtype,
          ...(vector && { SHARE: share, AT_ONCE: gpu ? 4 : 1, total: share > 1 ? 'shared' : 'alone' }),
        },
        params: {
          outer: o,
          length: l,
          [vector ? 'inner4' : 'inner']: width,
          splits,
          length_per_split: each,
          first_split: firstSplit,
          factor: by,
        },
        buffers: { x: source, y: target },
        workgroups: [context.grid(o * width * splits * share, 64)],
      })
    }
    if (outer > 1) {
      // Many sums. If x is larger than a binding, it is cut along `outer`.
      for (const { start, count } of context.rows(outer, bytes * length * inner, 4 * inner)) {
        const whole = count === outer
        dispatch(
          whole ? from : part(from, start * bytes * length * inner, count * bytes * length * inner),
          whole ? to : part(to, start * 4 * inner, count * 4 * inner),
          count,
          length,
          1,
          factor,
        )
      }
      return
    }
    // One long sum for each element of `inner`. It is split for parallelism, and the splits are added in order.
    const runs = context.rows(length, bytes * inner)
    const wanted = byRows ? length / LONG_ROW : Math.ceil((busyWorkgroups(context) * 64) / width)
    const [shortest, mostSplits] = byRows ? [LONG_ROW, 512] : gpu ? [64, 256] : [16, 1024]
    const cuts = splitsWithin(context.target, results, (most) =>
      runs.map((run) => {
        const each = Math.max(shortest, Math.ceil(run.count / Math.max(1, Math.min(wanted, mostSplits, most))))
        return { ...run, splits: Math.ceil(run.count / each) }
      }),
    )
    const total = totalOf(cuts)
    if (total === 1) return dispatch(from, to, 1, length, 1, factor)
    const sums = new PartialSums(context, to, total, results, factor)
    for (const { start, count, splits } of cuts) {
      const { partial, first } = sums.next(splits)
      dispatch(
        runs.length === 1 ? from : part(from, start * bytes * inner, count * bytes * inner),
        partial,
        1,
        count,
        splits,
        1,
        first,
      )
    }
    sums.finish()
  },
})

/**
 * Sum over `axes`, which count from 0 and are dropped from the shape. By default all are summed, and the result is [1].
 * f32 or f16 → f32.
 */
export const sum = (x: Value, axes?: readonly number[]): Value => over(x, axes, false)
/** Mean over `axes`, as `sum`. */
export const mean = (x: Value, axes?: readonly number[]): Value => over(x, axes, true)

function over(x: Value, axes: readonly number[] = x.shape.map((_, i) => i), average: boolean): Value {
  const sorted = [...new Set(axes)].sort((a, b) => a - b)
  if (sorted.some((a) => !Number.isInteger(a) || a < 0 || a >= x.shape.length))
    throw new ShapeError(
      `sum: axes [${axes.join(', ')}] of shape ${show(x.shape)} must be between 0 and ${x.shape.length - 1}`,
    )
  if (sorted.length === 0) return x
  const factor = average ? 1 / sizeOf(sorted.map((a) => x.shape[a])) : 1
  // Neighbouring axes are summed as one. Separate groups of axes are summed one after another, the last group first.
  const last = sorted[sorted.length - 1]
  let first = last
  while (sorted.includes(first - 1)) first--
  const rest = sorted.filter((a) => a < first)
  const shape = x.shape.filter((_, i) => i < first || i > last)
  const reduced = reduce([x], {
    outer: sizeOf(x.shape.slice(0, first)),
    length: sizeOf(x.shape.slice(first, last + 1)),
    inner: sizeOf(x.shape.slice(last + 1)),
    factor: rest.length ? 1 : factor,
    shape: shape.length ? shape : [1],
  })[0]
  if (!rest.length) return reduced
  const sums = over(reduced, rest, false)
  return factor === 1 ? sums : scale(sums, factor)
}

/** The gradient of broadcasting a tensor of `shape` to the shape of g: the sum over the repeated dimensions. */
export function sumTo(g: Value, shape: readonly number[]): Value {
  if (sameShape(g.shape, shape)) return g
  const lead = g.shape.length - shape.length
  const axes = g.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && g.shape[i] !== 1))
  return reshape(axes.length ? sum(g, axes) : g, shape)
}
