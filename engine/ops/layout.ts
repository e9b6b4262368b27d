/** Other shapes and rows of the same bytes. No kernel runs, unless the rows begin at an offset that cannot be bound. */
import { defineOp, ShapeError, show, sizeOf, type Value } from '../value.js'
import type { LoweringContext } from '../lowering_context.js'
import { part } from '../plan.js'
import { constant } from '../leaves.js'

const reshapeOp = defineOp<{ shape: readonly number[] }>({
  name: 'reshape',
  infer: ([x], { shape }) => {
    if (sizeOf(shape) !== x.size) throw new ShapeError(`reshape: ${show(x.shape)} and ${show(shape)} differ in size`)
    return [{ shape, dtype: x.dtype }]
  },
  gradient: ({ inputs: [x] }, [g]) => [reshape(g!, x.shape)],
  scaled: ({ inputs: [x], attributes: { shape } }, factor) => {
    const scaled = x.node.op.scaled?.(x.node, factor)
    return scaled && reshape(scaled, shape)
  },
  lower: ({ inputs: [x], outputs: [y] }, context) => context.alias(y, context.of(x)),
})

/** The same numbers in another shape of equal size. */
export const reshape = (x: Value, shape: readonly number[]): Value =>
  shape.length === x.shape.length && shape.every((n, i) => n === x.shape[i])
    ? x
    : reshapeOp([x], { shape: [...shape] })[0]

/** y[i] = x[i − place + skip] if x has this element, else 0. `skip` and `place` count elements. */
function shift(
  context: LoweringContext,
  x: Value,
  y: Value,
  { skip = 0, place = 0 }: { skip?: number; place?: number },
): void {
  context.dispatch({
    kernel: 'shift',
    constants: { T: x.dtype === 'f16' ? 'f16' : 'u32' },
    params: { count: y.size, size: x.size, skip, place },
    buffers: { x: context.of(x), y: context.of(y) },
    workgroups: [context.grid(y.size, 256)],
  })
}

const sliceOp = defineOp<{ start: number; count: number }>({
  name: 'sliceRows',
  infer: ([x], { start, count }) => {
    if (!Number.isInteger(start) || !Number.isInteger(count) || start < 0 || count < 1 || start + count > x.shape[0])
      throw new ShapeError(`sliceRows: rows ${start} to ${start + count} of shape ${show(x.shape)}`)
    return [{ shape: [count, ...x.shape.slice(1)], dtype: x.dtype }]
  },
  gradient: ({ inputs: [x], attributes: { start } }, [g]) => [placeRows(g!, x.shape[0], start)],
  lower: ({ inputs: [x], outputs: [y], attributes: { start } }, context) => {
    const row = x.bytes / x.shape[0]
    const from = part(context.of(x), start * row, y.bytes)
    // The rows share the bytes of x if a binding can begin there and has whole vec4s.
    if (from.offset % 256 === 0 && y.bytes % 16 === 0) return context.alias(y, from)
    // Otherwise they are copied. The kernel binds all of x, because it cannot bind it from that offset on.
    shift(context, x, y, { skip: (start * x.size) / x.shape[0] })
  },
})

/** Rows start … start + count − 1 along the first dimension. */
export const sliceRows = (x: Value, start: number, count: number): Value =>
  start === 0 && count === x.shape[0] ? x : sliceOp([x], { start, count })[0]

const placeOp = defineOp<{ rows: number; start: number }>({
  name: 'placeRows',
  infer: ([x], { rows }) => [{ shape: [rows, ...x.shape.slice(1)], dtype: x.dtype }],
  gradient: ({ inputs: [x], attributes: { start } }, [g]) => [sliceRows(g!, start, x.shape[0])],
  lower: ({ inputs: [x], outputs: [y], attributes: { start } }, context) =>
    shift(context, x, y, { place: (start * x.size) / x.shape[0] }),
})

/** A tensor of `rows` rows that has x from row `start` on, and zeros elsewhere: the gradient of `sliceRows`. */
export const placeRows = (x: Value, rows: number, start: number): Value => placeOp([x], { rows, start })[0]

const stopOp = defineOp<object>({
  name: 'stopGradient',
  infer: ([x]) => [{ shape: x.shape, dtype: x.dtype }],
  gradient: () => [undefined],
  lower: ({ inputs: [x], outputs: [y] }, context) => context.alias(y, context.of(x)),
})

/** x itself, but no gradient flows through it. */
export const stopGradient = (x: Value): Value => stopOp([x], {})[0]

/** A constant tensor of one repeated number. */
export const filled = (shape: readonly number[], value: number): Value =>
  constant(new Float32Array(sizeOf(shape)).fill(value), shape)
