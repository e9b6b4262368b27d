/**
 * 2-D convolution (cross-correlation, as deep learning has it) and its two gradients. All three are
 * implicit matrix products: no im2col buffer exists.
 */
import { part, type Emit, type Slice } from '../lowering.js'
import { defineOp, ShapeError, show, type Value } from '../value.js'
import {
  busyWorkgroups,
  channelTile,
  checkFloat,
  padded,
  resize,
  sumSplits,
  tileLanes,
  transposed,
  up,
} from './common.js'
import { sum } from './reduce.js'

export interface Conv2dOptions {
  stride?: number
  padding?: number
  /** [O], added at every pixel. */
  bias?: Value
}

interface Geometry {
  stride: number
  padding: number
}

const outSize = (n: number, k: number, { stride, padding }: Geometry): number =>
  Math.floor((n + 2 * padding - k) / stride) + 1

function check(name: string, { stride, padding }: Geometry): void {
  if (!Number.isInteger(stride) || stride < 1)
    throw new ShapeError(`${name}: stride ${stride} must be a whole number of at least 1`)
  if (!Number.isInteger(padding) || padding < 0)
    throw new ShapeError(`${name}: padding ${padding} must be a whole number of at least 0`)
}

/** What one dispatch of conv2d.wgsl computes, beyond the tensors' sizes. */
interface Walk {
  grid: readonly [height: number, width: number]
  step: number
  y0: number
  x0: number
  stride: number
  originY: number
  originX: number
  direction: number
  tapsY: number
  tapsX: number
  ky0: number
  kx0: number
  tapStep: number
}

/** Dispatches the implicit GEMM over all images, cut where activations are larger than a binding. */
function implicitGemm(
  emit: Emit,
  x: Slice,
  [images, inHeight, inWidth, inChannels]: readonly number[],
  w: Slice,
  kernelWidth: number,
  bias: Slice | undefined,
  y: Slice,
  [, outHeight, outWidth, outChannels]: readonly number[],
  walk: Walk,
): void {
  const inBytes = 4 * inHeight * inWidth * inChannels
  const outBytes = 4 * outHeight * outWidth * outChannels
  const tile = channelTile(outChannels / 4)
  for (const { start, count } of emit.rows(images, inBytes, outBytes)) {
    const pixels = count * walk.grid[0] * walk.grid[1]
    emit.dispatch({
      kernel: emit.target.subgroups ? 'conv2d' : 'conv2d_direct',
      constants: { WORKGROUP_SIZE: 64, PIXELS: 4, CHANNELS: tile, HAS_BIAS: !!bias },
      params: {
        images: count,
        in_height: inHeight,
        in_width: inWidth,
        in_channels4: inChannels / 4,
        out_height: outHeight,
        out_width: outWidth,
        out_channels4: outChannels / 4,
        grid_height: walk.grid[0],
        grid_width: walk.grid[1],
        step: walk.step,
        y0: walk.y0,
        x0: walk.x0,
        stride: walk.stride,
        origin_y: walk.originY,
        origin_x: walk.originX,
        direction: walk.direction,
        taps_y: walk.tapsY,
        taps_x: walk.tapsX,
        ky0: walk.ky0,
        kx0: walk.kx0,
        tap_step: walk.tapStep,
        kernel_width: kernelWidth,
      },
      buffers: {
        x: count === images ? x : part(x, start * inBytes, count * inBytes),
        w,
        bias,
        y: count === images ? y : part(y, start * outBytes, count * outBytes),
      },
      workgroups: [Math.ceil(pixels / 256), Math.ceil(outChannels / 4 / tile)],
    })
  }
}

const conv2dOp = defineOp<Geometry>({
  name: 'conv2d',
  infer: ([x, w, bias], geometry) => {
    check('conv2d', geometry)
    checkFloat('conv2d', x, w, ...(bias ? [bias] : []))
    if (x.shape.length !== 4 || w.shape.length !== 4)
      throw new ShapeError(`conv2d: x ${show(x.shape)} must be [N, H, W, C] and w ${show(w.shape)} [kh, kw, C, O]`)
    const [n, height, width, c] = x.shape
    const [kh, kw, i, o] = w.shape
    const out = [n, outSize(height, kh, geometry), outSize(width, kw, geometry), o]
    if (c !== i)
      throw new ShapeError(`conv2d: channels of x ${show(x.shape)} (NHWC) and w ${show(w.shape)} (HWIO) differ`)
    if (out[1] < 1 || out[2] < 1)
      throw new ShapeError(`conv2d: kernel of w ${show(w.shape)} is larger than the padded image of x ${show(x.shape)}`)
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== o))
      throw new ShapeError(`conv2d: bias ${show(bias.shape)} does not fit w ${show(w.shape)}`)
    return [{ shape: out, dtype: 'f32' }]
  },
  gradient: ({ inputs: [x, w, bias], attributes }, [g]) => [
    inputGradientOp([g!, w], { ...attributes, height: x.shape[1], width: x.shape[2] })[0],
    weightGradientOp([x, g!], { ...attributes, kernelHeight: w.shape[0], kernelWidth: w.shape[1] })[0],
    bias && sum(g!, [0, 1, 2]),
  ],
  lower: ({ inputs: [x, w, bias], outputs: [y], attributes: { stride, padding } }, emit) => {
    const [n, height, width, c] = x.shape
    const [kh, kw, , o] = w.shape
    const [, outHeight, outWidth] = y.shape
    const [c4, o4] = [up(c, 4), up(o, 4)]
    const target = o4 === o ? emit.of(y) : emit.temporary(4 * n * outHeight * outWidth * o4)
    implicitGemm(
      emit,
      padded(emit, emit.of(x), [1, n * height * width, c], n * height * width, c4),
      [n, height, width, c4],
      padded(emit, emit.of(w), [kh * kw, c, o], c4, o4),
      kw,
      bias && padded(emit, emit.of(bias), [1, 1, o], 1, o4),
      target,
      [n, outHeight, outWidth, o4],
      {
        grid: [outHeight, outWidth],
        step: 1,
        y0: 0,
        x0: 0,
        stride,
        originY: -padding,
        originX: -padding,
        direction: 1,
        tapsY: kh,
        tapsX: kw,
        ky0: 0,
        kx0: 0,
        tapStep: 1,
      },
    )
    if (o4 !== o) resize(emit, target, [1, n * outHeight * outWidth, o4], emit.of(y), n * outHeight * outWidth, o)
  },
})

/** dx from dy [N, Ho, Wo, O] and w [kh, kw, C, O]. */
const inputGradientOp = defineOp<Geometry & { height: number; width: number }>({
  name: 'conv2dInputGradient',
  infer: ([g, w], { height, width }) => [{ shape: [g.shape[0], height, width, w.shape[2]], dtype: 'f32' }],
  lower: ({ inputs: [g, w], outputs: [dx], attributes: { stride, padding, height, width } }, emit) => {
    const [n, outHeight, outWidth, o] = g.shape
    const [kh, kw, c] = w.shape
    const [c4, o4] = [up(c, 4), up(o, 4)]
    // HWIO is contiguous along O, and here the sum runs over O: the weights are transposed once a step.
    const turned = transposed(emit, padded(emit, emit.of(w), [kh * kw, c, o], c4, o4), kh * kw, c4, o4)
    const dy = padded(emit, emit.of(g), [1, n * outHeight * outWidth, o], n * outHeight * outWidth, o4)
    const target = c4 === c ? emit.of(dx) : emit.temporary(4 * n * height * width * c4)
    // Pixels (y, x) of one parity class meet the same taps: ky ≡ y + padding (mod stride).
    for (let y0 = 0; y0 < Math.min(stride, height); y0++)
      for (let x0 = 0; x0 < Math.min(stride, width); x0++) {
        const ky0 = (y0 + padding) % stride
        const kx0 = (x0 + padding) % stride
        implicitGemm(emit, dy, [n, outHeight, outWidth, o4], turned, kw, undefined, target, [n, height, width, c4], {
          grid: [Math.ceil((height - y0) / stride), Math.ceil((width - x0) / stride)],
          step: stride,
          y0,
          x0,
          stride: 1,
          originY: (y0 + padding - ky0) / stride,
          originX: (x0 + padding - kx0) / stride,
          direction: -1,
          tapsY: Math.max(0, Math.ceil((kh - ky0) / stride)),
          tapsX: Math.max(0, Math.ceil((kw - kx0) / stride)),
          ky0,
          kx0,
          tapStep: stride,
        })
      }
    if (c4 !== c) resize(emit, target, [1, n * height * width, c4], emit.of(dx), n * height * width, c)
  },
})

/** dw from x [N, H, W, C] and dy [N, Ho, Wo, O]. */
const weightGradientOp = defineOp<Geometry & { kernelHeight: number; kernelWidth: number }>({
  name: 'conv2dWeightGradient',
  infer: ([x, g], { kernelHeight, kernelWidth }) => [
    { shape: [kernelHeight, kernelWidth, x.shape[3], g.shape[3]], dtype: 'f32' },
  ],
  lower: ({ inputs: [x, g], outputs: [dw], attributes: { stride, padding, kernelHeight, kernelWidth } }, emit) => {
    const [n, height, width, c] = x.shape
    const [, outHeight, outWidth, o] = g.shape
    const [c4, o4] = [up(c, 4), up(o, 4)]
    const taps = kernelHeight * kernelWidth
    const from = padded(emit, emit.of(x), [1, n * height * width, c], n * height * width, c4)
    const dy = padded(emit, emit.of(g), [1, n * outHeight * outWidth, o], n * outHeight * outWidth, o4)
    const exact = c4 === c && o4 === o
    const target = exact ? emit.of(dw) : emit.temporary(4 * taps * c4 * o4)

    const tile = channelTile(o4 / 4)
    const rows = (taps * c4) / 4
    const lanes = tileLanes(emit)
    const groups = [Math.ceil(rows / lanes), Math.ceil(o4 / 4 / tile)] as const
    const inBytes = 4 * height * width * c4
    const outBytes = 4 * outHeight * outWidth * o4
    // Each run of images makes partial sums of its own; more splits where few workgroups would be.
    const runs = emit.rows(n, inBytes, outBytes).map(({ start, count }) => {
      const pixels = count * outHeight * outWidth
      const wanted = Math.max(
        1,
        Math.min(Math.ceil(busyWorkgroups(emit) / (groups[0] * groups[1])), Math.floor(pixels / 64)),
      )
      const each = up(Math.ceil(pixels / wanted), 8)
      return { start, count, each, splits: Math.ceil(pixels / each) }
    })
    const splits = runs.reduce((total, run) => total + run.splits, 0)
    const partial = splits === 1 ? target : emit.temporary(4 * splits * taps * c4 * o4)
    let first = 0
    for (const run of runs) {
      const whole = run.count === n
      emit.dispatch({
        kernel: emit.target.subgroups ? 'conv2d_weight_gradient' : 'conv2d_weight_gradient_direct',
        constants: { WORKGROUP_SIZE: lanes, CHANNELS: tile },
        params: {
          images: run.count,
          in_height: height,
          in_width: width,
          in_channels4: c4 / 4,
          out_height: outHeight,
          out_width: outWidth,
          out_channels4: o4 / 4,
          stride,
          padding,
          kernel_height: kernelHeight,
          kernel_width: kernelWidth,
          pixels_per_split: run.each,
          first_split: first,
        },
        buffers: {
          x: whole ? from : part(from, run.start * inBytes, run.count * inBytes),
          dy: whole ? dy : part(dy, run.start * outBytes, run.count * outBytes),
          partial,
        },
        workgroups: [groups[0], groups[1], run.splits],
      })
      first += run.splits
    }
    if (splits > 1) sumSplits(emit, partial, target, splits, taps * c4 * o4)
    if (!exact) resize(emit, target, [taps, c4, o4], emit.of(dw), c, o)
  },
})

/**
 * y[n, i, j, o] = Σ x[n, i·stride + ky − padding, j·stride + kx − padding, c] · w[ky, kx, c, o] (+ bias[o]).
 *
 * @param x [N, H, W, C]
 * @param w [kh, kw, C, O]
 * @returns [N, ⌊(H + 2·padding − kh) / stride⌋ + 1, likewise, O]
 */
export function conv2d(x: Value, w: Value, { stride = 1, padding = 0, bias }: Conv2dOptions = {}): Value {
  return conv2dOp(bias ? [x, w, bias] : [x, w], { stride, padding })[0]
}
