/** Pooling over the spatial dimensions. */
import type { LoweringContext } from '../lowering_context.js'
import { part, type Slice } from '../plan.js'
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkActivations, checkRank, vec4Of } from './common.js'
import { mean } from './reduce.js'

interface Attributes {
  size: number
  stride: number
  padding: number
}

/** Params of the kernels; `lanes` channels are one. */
const paramsOf = (
  x: readonly number[],
  y: readonly number[],
  { size, stride, padding }: Attributes,
  images: number,
  lanes: number,
) => ({
  images,
  in_height: x[1],
  in_width: x[2],
  channels: x[3] / lanes,
  out_height: y[1],
  out_width: y[2],
  size,
  stride,
  padding,
})

/** How many neighbouring channels a thread handles, and the types that the kernels then have. */
function lanesOf({ dtype, shape }: Value): { lanes: number; T: string; U: string } {
  return shape[3] % 4 === 0 ? { lanes: 4, T: vec4Of(dtype), U: 'vec4u' } : { lanes: 1, T: dtype, U: 'u32' }
}

/** Images start … start + count − 1 of x. */
function images(context: LoweringContext, x: Value, start: number, count: number): Slice {
  const each = x.bytes / x.shape[0]
  return count === x.shape[0] ? context.of(x) : part(context.of(x), start * each, count * each)
}

const maxPoolOp = defineOp<Attributes>({
  name: 'maxPool2d',
  infer: ([x], { size, stride, padding }) => {
    checkActivations('maxPool2d', x)
    checkRank('maxPool2d', 'x (NHWC)', x, 4)
    for (const [what, n, least] of [
      ['window', size, 1],
      ['stride', stride, 1],
      ['padding', padding, 0],
    ] as const)
      if (!Number.isInteger(n) || n < least)
        throw new ShapeError(`maxPool2d: ${what} ${n} must be a whole number of at least ${least}`)
    if (2 * padding > size)
      throw new ShapeError(`maxPool2d: padding ${padding} is more than half of the window ${size}`)
    const out = (n: number): number => Math.floor((n + 2 * padding - size) / stride) + 1
    const shape = [x.shape[0], out(x.shape[1]), out(x.shape[2]), x.shape[3]]
    if (shape[1] < 1 || shape[2] < 1)
      throw new ShapeError(
        `maxPool2d: window ${show([size, size])} is larger than the padded image of x ${show(x.shape)}`,
      )
    return [
      { shape, dtype: x.dtype },
      { shape, dtype: 'u32' },
    ]
  },
  gradient: ({ inputs: [x], outputs: [, tap], attributes }, [g]) => [
    maxPoolGradientOp([g!, tap], { ...attributes, shape: x.shape })[0],
  ],
  lower: ({ inputs: [x], outputs: [y, tap], attributes }, context) => {
    const [n] = x.shape
    const { lanes, ...types } = lanesOf(x)
    for (const { start, count } of context.rows(n, ...[x, y, tap].map((v) => v.bytes / n)))
      context.dispatch({
        kernel: 'max_pool',
        constants: types,
        params: paramsOf(x.shape, y.shape, attributes, count, lanes),
        buffers: {
          x: images(context, x, start, count),
          y: images(context, y, start, count),
          tap: images(context, tap, start, count),
        },
        workgroups: [context.grid((y.size / n / lanes) * count, 64)],
      })
  },
})

const maxPoolGradientOp = defineOp<Attributes & { shape: readonly number[] }>({
  name: 'maxPool2dGradient',
  infer: ([g], { shape }) => [{ shape, dtype: g.dtype }],
  lower: ({ inputs: [g, tap], outputs: [dx], attributes }, context) => {
    const [n] = dx.shape
    const { lanes, ...types } = lanesOf(dx)
    const V = lanes === 4 ? 'vec4f' : 'f32'
    const store = dx.dtype === 'f16' && lanes === 4 ? 'f16x4' : dx.dtype
    for (const { start, count } of context.rows(n, ...[g, tap, dx].map((v) => v.bytes / n)))
      context.dispatch({
        kernel: 'max_pool_gradient',
        constants: { ...types, V, store },
        params: paramsOf(dx.shape, g.shape, attributes, count, lanes),
        buffers: {
          dy: images(context, g, start, count),
          tap: images(context, tap, start, count),
          dx: images(context, dx, start, count),
        },
        workgroups: [context.grid((dx.size / n / lanes) * count, 64)],
      })
  },
})

/** Maximum over windows; padding counts as −∞. x: [N, H, W, C], f32 or f16. */
export const maxPool2d = (
  x: Value,
  { size, stride = size, padding = 0 }: { size: number; stride?: number; padding?: number },
): Value => maxPoolOp([x], { size, stride, padding })[0]

/** Mean over height and width: [N, H, W, C], f32 or f16 → [N, C], f32. */
export function globalAveragePool(x: Value): Value {
  checkRank('globalAveragePool', 'x (NHWC)', x, 4)
  return mean(x, [1, 2])
}
