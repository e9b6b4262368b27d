/** Register tiles: every invocation keeps a block of the result and loads straight from memory. Serves everything. */
import { part, type Slice } from '../../plan.js'
import { bytesOf } from '../../value.js'
import { busyWorkgroups, channelTile, sumSplits, tileLanes, up, vec4Of } from '../common.js'
import { convFlops, matmulFlops, ratesOf, weightGradientFlops } from './cost.js'
import { imageRuns, isPlain3x3, type ConvWork, type MatmulWork, type Variant, type WeightGradientWork } from './work.js'

export const registerConv: Variant<ConvWork> = {
  name: 'register',
  serves: () => true,
  cost: (work, target) => convFlops(work) / ratesOf(target).register,
  lower: (work, context) => {
    const { inShape, outShape, w, kernel, bias, walk, dtype } = work
    const tile = channelTile(outShape[3] / 4, context)
    for (const { count, x, y } of imageRuns(context, work))
      context.dispatch({
        kernel: 'conv2d',
        constants: {
          WORKGROUP_SIZE: 64,
          PIXELS: 4,
          CHANNELS: tile,
          HAS_BIAS: !!bias,
          In: vec4Of(dtype),
          Out: vec4Of(dtype),
          store: dtype,
          weights: context.target.subgroups ? 'shuffled' : 'direct',
        },
        params: {
          images: count,
          in_height: inShape[1],
          in_width: inShape[2],
          in_channels4: inShape[3] / 4,
          out_height: outShape[1],
          out_width: outShape[2],
          out_channels4: outShape[3] / 4,
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
          kernel_width: kernel[1],
        },
        buffers: { x, w, bias, y },
        workgroups: [Math.ceil((count * walk.grid[0] * walk.grid[1]) / 256), Math.ceil(outShape[3] / 4 / tile)],
      })
  },
}

/**
 * The block of an invocation of conv2d_row.wgsl: pixels of one row × output channels in vec4s. Measured: the 32 sums
 * stay in a processor's registers, where twice as many, with half the loads, do not.
 */
const ROW_PIXELS = 4
const ROW_CHANNELS = 2

export const registerRowConv: Variant<ConvWork> = {
  name: 'register, by rows',
  serves: ({ kernel, walk }) => isPlain3x3(kernel, walk),
  // Measured: some fifth faster than register tiles on a software driver, where loads are what takes time.
  cost: (work, target) => (0.85 * convFlops(work)) / ratesOf(target).register,
  lower: (work, context) => {
    const { inShape, outShape, w, bias, walk, dtype } = work
    const reversed = walk.direction < 0
    // Walking backwards from an origin is walking forwards from two pixels before it, with the taps turned round.
    const origin = [walk.originY, walk.originX].map((at) => at - (reversed ? 2 : 0))
    const width = outShape[2]
    const wholeRows =
      width === inShape[2] && origin[1] === -1 && width % ROW_PIXELS === 0 && (8 * ROW_PIXELS) % width === 0
    const { subgroups, adapterClass } = context.target
    const runs = Math.ceil(outShape[2] / ROW_PIXELS) * outShape[1]
    for (const { count, x, y } of imageRuns(context, work))
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
          // Software drivers number the lanes of a subgroup as the invocations; WGSL does not promise it.
          ends: subgroups && adapterClass === 'cpu' && wholeRows ? 'shuffled' : 'loaded',
        },
        params: {
          images: count,
          in_height: inShape[1],
          in_width: inShape[2],
          in_channels4: inShape[3] / 4,
          out_height: outShape[1],
          out_width: outShape[2],
          out_channels4: outShape[3] / 4,
          origin_y: origin[0],
          origin_x: origin[1],
        },
        buffers: { x, w, bias, y },
        workgroups: [Math.ceil((count * runs) / 64), Math.ceil(outShape[3] / 4 / ROW_CHANNELS)],
      })
  },
}

export const registerWeightGradient: Variant<WeightGradientWork> = {
  name: 'register',
  serves: () => true,
  cost: (work, target) => weightGradientFlops(work) / ratesOf(target).register,
  lower: ({ x, inShape, dy, outShape, kernel, stride, padding, dw, dtype }, context) => {
    const [, height, width, c] = inShape
    const [, outHeight, outWidth, o] = outShape
    const tile = channelTile(o / 4, context)
    const rows = (kernel[0] * kernel[1] * c) / 4
    const lanes = tileLanes(context)
    const groups = [Math.ceil(rows / lanes), Math.ceil(o / 4 / tile)] as const
    // Each run of images makes partial sums of its own; more splits where few workgroups would be.
    const runs = imageRuns(context, { x, inShape, y: dy, outShape, dtype }).map((run) => {
      const pixels = run.count * outHeight * outWidth
      const wanted = Math.max(
        1,
        Math.min(Math.ceil(busyWorkgroups(context) / (groups[0] * groups[1])), Math.floor(pixels / 64)),
      )
      const each = up(Math.ceil(pixels / wanted), 8)
      return { ...run, each, splits: Math.ceil(pixels / each) }
    })
    const splits = runs.reduce((total, run) => total + run.splits, 0)
    const count = 4 * rows * o
    const partial = splits === 1 ? dw : context.temporary(4 * splits * count)
    let first = 0
    for (const run of runs) {
      context.dispatch({
        kernel: 'conv2d_weight_gradient',
        constants: {
          WORKGROUP_SIZE: lanes,
          CHANNELS: tile,
          In: vec4Of(dtype),
          gradients: context.target.subgroups ? 'shuffled' : 'direct',
        },
        params: {
          images: run.count,
          in_height: height,
          in_width: width,
          in_channels4: c / 4,
          out_height: outHeight,
          out_width: outWidth,
          out_channels4: o / 4,
          stride,
          padding,
          kernel_height: kernel[0],
          kernel_width: kernel[1],
          pixels_per_split: run.each,
          first_split: first,
        },
        buffers: { x: run.x, dy: run.y, partial },
        workgroups: [groups[0], groups[1], run.splits],
      })
      first += run.splits
    }
    if (splits > 1) sumSplits(context, partial, dw, splits, count)
  },
}

/** Register tiles take products whose operands are larger than a binding: b is cut along K, c along M. */
export const registerMatmul: Variant<MatmulWork> = {
  name: 'register',
  serves: () => true,
  cost: (work, target) => matmulFlops(work) / ratesOf(target).register,
  lower: (work, context) => {
    const { a, b, bias, c, batch, M, N, K, transposeA, dtypes, columns = { first: 0, of: N } } = work
    const tile = channelTile(N / 4, context)
    const lanes = tileLanes(context)
    const blocks = Math.ceil(M / 4 / lanes) * Math.ceil(N / 4 / tile) * batch
    // The sum over K is cut where few workgroups would be, or where b is too large to bind; the parts are f32, and
    // summed in order.
    const rowBytes = {
      a: bytesOf[dtypes.a] * (transposeA ? M : K),
      b: bytesOf[dtypes.b] * N,
      c: bytesOf[dtypes.c] * columns.of,
    }
    const depths = (batch > 1 ? [{ start: 0, count: K / 4 }] : context.rows(K / 4, 4 * rowBytes.b)).map(
      ({ start, count }) => ({ start: 4 * start, count: 4 * count }),
    )
    const splittable = dtypes.c === 'f32' && columns.of === N
    const parts = depths.map((run) => {
      const wanted = Math.max(1, Math.min(Math.ceil(busyWorkgroups(context) / blocks), Math.floor(run.count / 64)))
      const each = up(Math.ceil(run.count / (splittable ? wanted : 1)), 4)
      return { ...run, each, splits: Math.ceil(run.count / each) }
    })
    const splits = parts.reduce((total, part) => total + part.splits, 0)
    // A product larger than a binding, or whose parts together are, is cut by rows.
    const perRow = [rowBytes.c, 4 * N * splits, ...(transposeA ? [] : [rowBytes.a])]
    // With a transposed, four rows are one vec4 of it.
    const unit = transposeA ? 4 : 1
    const runs = batch > 1 ? [{ start: 0, count: M / unit }] : context.rows(M / unit, ...perRow.map((b) => unit * b))
    for (const run of runs) {
      const [start, count] = [unit * run.start, unit * run.count]
      const cut = (slice: Slice, bytes: number): Slice =>
        count === M ? slice : part(slice, bytes * start, bytes * count)
      const target = cut(c, rowBytes.c)
      const partial = splits === 1 ? target : context.temporary(4 * splits * batch * count * N)
      let first = 0
      for (const depth of parts) {
        const along = (slice: Slice, bytes: number): Slice =>
          parts.length === 1 ? slice : part(slice, bytes * depth.start, bytes * depth.count)
        context.dispatch({
          kernel: 'matmul',
          constants: {
            WORKGROUP_SIZE: lanes,
            CHANNELS: tile,
            TRANSPOSE_A: transposeA,
            HAS_BIAS: !!bias,
            Left: vec4Of(dtypes.a),
            Right: vec4Of(dtypes.b),
            Out: vec4Of(dtypes.c),
            store: dtypes.c,
            right: context.target.subgroups ? 'shuffled' : 'direct',
          },
          params: {
            rows: count,
            columns4: N / 4,
            depth: depth.count,
            batches: batch,
            splits: depth.splits,
            depth_per_split: depth.each,
            a_columns: transposeA ? M : K,
            a_first: transposeA ? start : depth.start,
            c_columns4: columns.of / 4,
            c_first4: columns.first / 4,
            first_split: first,
          },
          buffers: {
            a: transposeA ? along(a, rowBytes.a) : cut(a, rowBytes.a),
            b: along(b, rowBytes.b),
            bias,
            c: partial,
          },
          workgroups: [Math.ceil(count / 4 / lanes), Math.ceil(N / 4 / tile), batch * depth.splits],
        })
        first += depth.splits
      }
      if (splits > 1) sumSplits(context, partial, target, splits, batch * count * N)
    }
  },
}
