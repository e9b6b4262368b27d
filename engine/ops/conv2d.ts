/**
 * 2-D convolution (cross-correlation, as usual in deep learning) and its two gradients. All three are implicit matrix
 * products, without an im2col buffer.
 */
import type { LoweringContext } from '../lowering_context.js'
import type { Slice } from '../plan.js'
import { bytesOf, defineOp, ShapeError, show, type Value } from '../value.js'
import { checkActivations, checkFloat, padded, resize, transposed, up } from './common.js'
import { forwardWalk, inputGradientWalks, type Stepping } from './products/geometry.js'
import { matrixConvs, matrixWeightGradients } from './products/matrix.js'
import { registerConv, registerRowConv, registerWeightGradient } from './products/register.js'
import { tiledConvs, tiledWeightGradients } from './products/tiled.js'
import { winogradConv, winogradWeightGradient } from './products/winograd.js'
import { compute, type ConvWork, type Variant, type WeightGradientWork } from './products/work.js'
import { sum } from './reduce.js'

export interface Conv2dOptions {
  stride?: number
  padding?: number
  /** [O], added at each pixel. */
  bias?: Value
}

const outSize = (n: number, k: number, { stride, padding }: Stepping): number =>
  Math.floor((n + 2 * padding - k) / stride) + 1

function check(name: string, { stride, padding }: Stepping): void {
  if (!Number.isInteger(stride) || stride < 1)
    throw new ShapeError(`${name}: stride ${stride} must be a whole number of at least 1`)
  if (!Number.isInteger(padding) || padding < 0)
    throw new ShapeError(`${name}: padding ${padding} must be a whole number of at least 0`)
}

/** The variants of each product. */
export const convVariants: readonly Variant<ConvWork>[] = [
  ...matrixConvs,
  winogradConv,
  ...tiledConvs,
  registerRowConv,
  registerConv,
]
export const weightGradientVariants: readonly Variant<WeightGradientWork>[] = [
  ...matrixWeightGradients,
  winogradWeightGradient,
  ...tiledWeightGradients,
  registerWeightGradient,
]

const conv2dOp = defineOp<Stepping>({
  name: 'conv2d',
  batched: [0],
  infer: ([x, w, bias], stepping) => {
    check('conv2d', stepping)
    checkActivations('conv2d', x)
    checkFloat('conv2d', w, ...(bias ? [bias] : []))
    if (x.shape.length !== 4 || w.shape.length !== 4)
      throw new ShapeError(`conv2d: x ${show(x.shape)} must be [N, H, W, C] and w ${show(w.shape)} [kh, kw, C, O]`)
    const [n, height, width, c] = x.shape
    const [kh, kw, i, o] = w.shape
    const out = [n, outSize(height, kh, stepping), outSize(width, kw, stepping), o]
    if (c !== i)
      throw new ShapeError(`conv2d: channels of x ${show(x.shape)} (NHWC) and w ${show(w.shape)} (HWIO) differ`)
    if (out[1] < 1 || out[2] < 1)
      throw new ShapeError(`conv2d: kernel of w ${show(w.shape)} is larger than the padded image of x ${show(x.shape)}`)
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== o))
      throw new ShapeError(`conv2d: bias ${show(bias.shape)} does not fit w ${show(w.shape)}`)
    return [{ shape: out, dtype: x.dtype }]
  },
  gradient: ({ inputs: [x, w, bias], attributes }, [g]) => [
    inputGradientOp([g!, w], { ...attributes, height: x.shape[1], width: x.shape[2] })[0],
    weightGradientOp([x, g!], { ...attributes, kernelHeight: w.shape[0], kernelWidth: w.shape[1] })[0],
    bias && sum(g!, [0, 1, 2]),
  ],
  lower: ({ inputs: [x, w, bias], outputs: [y], attributes: { stride, padding } }, context) => {
    const [n, outHeight, outWidth, o] = y.shape
    const [kh, kw, c] = w.shape
    const [c4, o4] = [up(c, 4), up(o, 4)]
    const target = wideTarget(context, y)
    const work: ConvWork = {
      x: wide(context, x),
      inShape: [...x.shape.slice(0, 3), c4],
      w: padded(context, context.of(w), [kh * kw, c, o], c4, o4),
      kernel: [kh, kw],
      bias: bias && padded(context, context.of(bias), [1, 1, o], 1, o4),
      y: target,
      outShape: [n, outHeight, outWidth, o4],
      walk: forwardWalk([outHeight, outWidth], [kh, kw], { stride, padding }),
      dtype: x.dtype,
    }
    compute(work, convVariants, context)
    narrow(context, target, y)
  },
})

/** An activation with its channels padded to whole vec4s. */
function wide(context: LoweringContext, x: Value): Slice {
  const [n, height, width, c] = x.shape
  return padded(context, context.of(x), [1, n * height * width, c], n * height * width, up(c, 4), x.dtype)
}

/** Memory for an activation with its channels padded to whole vec4s. `narrow` then removes the padding. */
function wideTarget(context: LoweringContext, y: Value): Slice {
  const [n, height, width, c] = y.shape
  return c % 4 ? context.temporary(up(bytesOf[y.dtype] * n * height * width * up(c, 4), 16)) : context.of(y)
}

function narrow(context: LoweringContext, from: Slice, y: Value): void {
  const [n, height, width, c] = y.shape
  const rows = n * height * width
  if (c % 4) resize(context, from, [1, rows, up(c, 4)], context.of(y), rows, c, y.dtype)
}

/** dx from dy [N, Ho, Wo, O] and w [kh, kw, C, O]. */
const inputGradientOp = defineOp<Stepping & { height: number; width: number }>({
  name: 'conv2dInputGradient',
  batched: [0],
  infer: ([g, w], { height, width }) => [{ shape: [g.shape[0], height, width, w.shape[2]], dtype: g.dtype }],
  lower: ({ inputs: [g, w], outputs: [dx], attributes: { stride, padding, height, width } }, context) => {
    const [n, outHeight, outWidth, o] = g.shape
    const [kh, kw, c] = w.shape
    const [c4, o4] = [up(c, 4), up(o, 4)]
    // HWIO is contiguous along O, but here the sum runs over O: the weights are transposed.
    const turned = transposed(context, padded(context, context.of(w), [kh * kw, c, o], c4, o4), kh * kw, c4, o4)
    const dy = wide(context, g)
    const target = wideTarget(context, dx)
    const inShape = [n, outHeight, outWidth, o4]
    const outShape = [n, height, width, c4]
    for (const walk of inputGradientWalks([height, width], [kh, kw], { stride, padding }))
      compute(
        { x: dy, inShape, w: turned, kernel: [kh, kw], y: target, outShape, walk, dtype: g.dtype },
        convVariants,
        context,
      )
    narrow(context, target, dx)
  },
})

/** dw from x [N, H, W, C] and dy [N, Ho, Wo, O]. */
const weightGradientOp = defineOp<Stepping & { kernelHeight: number; kernelWidth: number }>({
  name: 'conv2dWeightGradient',
  batched: [0, 1],
  infer: ([x, g], { kernelHeight, kernelWidth }) => [
    { shape: [kernelHeight, kernelWidth, x.shape[3], g.shape[3]], dtype: 'f32' },
  ],
  lower: ({ inputs: [x, g], outputs: [dw], attributes: { stride, padding, kernelHeight, kernelWidth } }, context) => {
    const [c, o] = [x.shape[3], g.shape[3]]
    const [c4, o4] = [up(c, 4), up(o, 4)]
    const taps = kernelHeight * kernelWidth
    const exact = c4 === c && o4 === o
    const target = exact ? context.of(dw) : context.temporary(4 * taps * c4 * o4)
    const work: WeightGradientWork = {
      x: wide(context, x),
      inShape: [...x.shape.slice(0, 3), c4],
      dy: wide(context, g),
      outShape: [...g.shape.slice(0, 3), o4],
      kernel: [kernelHeight, kernelWidth],
      stride,
      padding,
      dw: target,
      dtype: x.dtype,
    }
    compute(work, weightGradientVariants, context)
    if (!exact) resize(context, target, [taps, c4, o4], context.of(dw), c, o)
  },
})

/**
 * y[n, i, j, o] = Σ x[n, i·stride + ky − padding, j·stride + kx − padding, c] · w[ky, kx, c, o] (+ bias[o]).
 *
 * @param x [N, H, W, C]
 * @param w [kh, kw, C, O]
 * @returns [N, ⌊(H + 2·padding − kh) / stride⌋ + 1, ⌊(W + 2·padding − kw) / stride⌋ + 1, O]
 */
export function conv2d(x: Value, w: Value, { stride = 1, padding = 0, bias }: Conv2dOptions = {}): Value {
  return conv2dOp(bias ? [x, w, bias] : [x, w], { stride, padding })[0]
}
