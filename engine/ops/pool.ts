/** Pooling over the spatial dimensions. */
import { part } from '../lowering.js'
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat, checkRank } from './common.js'
import { mean } from './reduce.js'

interface Attributes {
  size: number
  stride: number
  padding: number
}

const paramsOf = (
  x: readonly number[],
  y: readonly number[],
  { size, stride, padding }: Attributes,
  images: number,
) => ({
  images,
  in_height: x[1],
  in_width: x[2],
  channels: x[3],
  out_height: y[1],
  out_width: y[2],
  size,
  stride,
  padding,
})

const maxPoolOp = defineOp<Attributes>({
  name: 'maxPool2d',
  infer: ([x], { size, stride, padding }) => {
    checkFloat('maxPool2d', x)
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
      { shape, dtype: 'f32' },
      { shape, dtype: 'u32' },
    ]
  },
  gradient: ({ inputs: [x], outputs: [, tap], attributes }, [g]) => [
    maxPoolGradientOp([g!, tap], { ...attributes, shape: x.shape })[0],
  ],
  lower: ({ inputs: [x], outputs: [y, tap], attributes }, emit) => {
    const [n] = x.shape
    const [inBytes, outBytes] = [x.bytes / n, y.bytes / n]
    const slices = { x: emit.of(x), y: emit.of(y), tap: emit.of(tap) }
    for (const { start, count } of emit.rows(n, inBytes, outBytes)) {
      const whole = count === n
      const out = (s: typeof slices.y) => (whole ? s : part(s, start * outBytes, count * outBytes))
      emit.dispatch({
        kernel: 'max_pool',
        params: paramsOf(x.shape, y.shape, attributes, count),
        buffers: {
          x: whole ? slices.x : part(slices.x, start * inBytes, count * inBytes),
          y: out(slices.y),
          tap: out(slices.tap),
        },
        workgroups: [emit.grid((y.size / n) * count, 64)],
      })
    }
  },
})

const maxPoolGradientOp = defineOp<Attributes & { shape: readonly number[] }>({
  name: 'maxPool2dGradient',
  infer: (_, { shape }) => [{ shape, dtype: 'f32' }],
  lower: ({ inputs: [g, tap], outputs: [dx], attributes }, emit) => {
    const [n] = dx.shape
    const [inBytes, outBytes] = [dx.bytes / n, g.bytes / n]
    const slices = { dy: emit.of(g), tap: emit.of(tap), dx: emit.of(dx) }
    for (const { start, count } of emit.rows(n, inBytes, outBytes)) {
      const whole = count === n
      const out = (s: typeof slices.dy) => (whole ? s : part(s, start * outBytes, count * outBytes))
      emit.dispatch({
        kernel: 'max_pool_gradient',
        params: paramsOf(dx.shape, g.shape, attributes, count),
        buffers: {
          dy: out(slices.dy),
          tap: out(slices.tap),
          dx: whole ? slices.dx : part(slices.dx, start * inBytes, count * inBytes),
        },
        workgroups: [emit.grid((dx.size / n) * count, 64)],
      })
    }
  },
})

/** Maximum over windows; outside the image counts as −∞. x: [N, H, W, C]. */
export const maxPool2d = (
  x: Value,
  { size, stride = size, padding = 0 }: { size: number; stride?: number; padding?: number },
): Value => maxPoolOp([x], { size, stride, padding })[0]

/** Mean over height and width: [N, H, W, C] → [N, C]. */
export function globalAveragePool(x: Value): Value {
  checkRank('globalAveragePool', 'x (NHWC)', x, 4)
  return mean(x, [1, 2])
}
