/** Convolutions by register tiles: each invocation keeps a block of the result in registers and loads from memory. */
import type { LoweringContext } from '../../lowering_context.js'
import { busyWorkgroups, channelTile, tileLanes, up, vec4Of } from '../common.js'
import { PartialSums, splitsWithin, totalOf } from '../partial_sums.js'
import { convFlops, convResults, registerCost, weightGradientFlops } from './cost.js'
import { isPlain3x3, plainOrigin, shapeParams, walkParams, weightGradientParams } from './geometry.js'
import { imageRuns, PLAIN, type ConvWork, type Variant, type WeightGradientWork } from './work.js'

/** Pixels that one invocation of conv2d.wgsl computes. */
const PIXELS = 4

/** Images of a run at most, if each takes so many invocations along the first dimension of a dispatch. */
const mostImages = ({ target }: Pick<LoweringContext, 'target'>, invocations: number): number =>
  Math.max(1, Math.floor((64 * target.maxWorkgroupsPerDimension) / invocations))

export const registerConv: Variant<ConvWork> = {
  name: PLAIN,
  serves: () => true,
  cost: (work, target) =>
    registerCost(
      convFlops(work),
      target,
      convResults(work) / (4 * PIXELS * channelTile(work.outShape[3] / 4, { target })),
    ),
  lower: (work, context) => {
    const { inShape, outShape, w, kernel, bias, walk, dtype } = work
    const tile = channelTile(outShape[3] / 4, context)
    const most = mostImages(context, (walk.grid[0] * walk.grid[1]) / PIXELS)
    for (const { count, x, y } of imageRuns(context, work, convFlops(work), most))
      context.dispatch({
        kernel: 'conv2d',
        constants: {
          WORKGROUP_SIZE: 64,
          PIXELS,
          CHANNELS: tile,
          HAS_BIAS: !!bias,
          In: vec4Of(dtype),
          Out: vec4Of(dtype),
          store: dtype,
          weights: context.target.subgroups ? 'shuffled' : 'direct',
        },
        params: { ...shapeParams(count, inShape, outShape), ...walkParams(walk), kernel_width: kernel[1] },
        buffers: { x, w, bias, y },
        workgroups: [
          Math.ceil((count * walk.grid[0] * walk.grid[1]) / (64 * PIXELS)),
          Math.ceil(outShape[3] / 4 / tile),
        ],
        flops: (convFlops(work) * count) / inShape[0],
      })
  },
}

/**
 * The block of one invocation of conv2d_row.wgsl: pixels of one row × vec4s of output channels. Measured on a
 * processor: these 32 sums stay in registers, but 64 sums, which would need half the loads, do not.
 */
const ROW_PIXELS = 4
const ROW_CHANNELS = 2

export const registerRowConv: Variant<ConvWork> = {
  name: 'register, by rows',
  serves: ({ kernel, walk }) => isPlain3x3(kernel, walk),
  // Measured: about a fifth faster than `registerConv` on a software driver, where loads take most of the time.
  cost: (work, target) =>
    registerCost(0.85 * convFlops(work), target, convResults(work) / (4 * ROW_PIXELS * ROW_CHANNELS)),
  lower: (work, context) => {
    const { inShape, outShape, w, bias, walk, dtype } = work
    const { origin, reversed } = plainOrigin(walk)
    const width = outShape[2]
    const wholeRows =
      width === inShape[2] && origin[1] === -1 && width % ROW_PIXELS === 0 && (8 * ROW_PIXELS) % width === 0
    const { subgroups, adapterClass } = context.target
    const runs = Math.ceil(outShape[2] / ROW_PIXELS) * outShape[1]
    for (const { count, x, y } of imageRuns(context, work, convFlops(work), mostImages(context, runs)))
      context.dispatch({
        kernel: 'conv2d_row',
        constants: {
          WORKGROUP_SIZE: 64,
          PIXELS: ROW_PIXELS,
          CHANNELS: ROW_CHANNELS,
          HAS_BIAS: !!bias,
          REVERSED: reversed,
          In: vec4Of(dtype),
          Out: vec4Of(dtype),
          store: dtype,
          weights: subgroups ? 'shuffled' : 'direct',
          // Software drivers number the lanes of a subgroup like the invocations. WGSL does not guarantee that.
          ends: subgroups && adapterClass === 'cpu' && wholeRows ? 'shuffled' : 'loaded',
        },
        params: { ...shapeParams(count, inShape, outShape), origin_y: origin[0], origin_x: origin[1] },
        buffers: { x, w, bias, y },
        workgroups: [Math.ceil((count * runs) / 64), Math.ceil(outShape[3] / 4 / ROW_CHANNELS)],
        flops: (convFlops(work) * count) / inShape[0],
      })
  },
}

export const registerWeightGradient: Variant<WeightGradientWork> = {
  name: PLAIN,
  serves: () => true,
  cost: (work, target) => registerCost(weightGradientFlops(work), target),
  lower: (work, context) => {
    const { inShape, dy, outShape, kernel, stride, padding, dw, dtype } = work
    const c = inShape[3]
    const [, outHeight, outWidth, o] = outShape
    const tile = channelTile(o / 4, context)
    const rows = (kernel[0] * kernel[1] * c) / 4
    const lanes = tileLanes(context)
    const groups = [Math.ceil(rows / lanes), Math.ceil(o / 4 / tile)] as const
    // Each run of images has its own partial sums. Where there are few workgroups, its pixels are split further.
    const count = 4 * rows * o
    const images = imageRuns(context, { ...work, y: dy }, weightGradientFlops(work))
    const runs = splitsWithin(context.target, count, (most) =>
      images.map((run) => {
        const pixels = run.count * outHeight * outWidth
        const wanted = Math.min(
          Math.ceil(busyWorkgroups(context) / (groups[0] * groups[1])),
          Math.floor(pixels / 64),
          most,
        )
        const each = up(Math.ceil(pixels / Math.max(1, wanted)), 8)
        return { ...run, each, splits: Math.ceil(pixels / each) }
      }),
    )
    const sums = new PartialSums(context, dw, totalOf(runs), count)
    for (const run of runs) {
      const { partial, first } = sums.next(run.splits)
      context.dispatch({
        kernel: 'conv2d_weight_gradient',
        constants: {
          WORKGROUP_SIZE: lanes,
          CHANNELS: tile,
          In: vec4Of(dtype),
          gradients: context.target.subgroups ? 'shuffled' : 'direct',
        },
        params: {
          ...shapeParams(run.count, inShape, outShape),
          ...weightGradientParams(kernel, { stride, padding }),
          pixels_per_split: run.each,
          first_split: first,
        },
        buffers: { x: run.x, dy: run.y, partial },
        workgroups: [groups[0], groups[1], run.splits],
        flops: 2 * run.count * outHeight * outWidth * count,
      })
    }
    sums.finish()
  },
}
