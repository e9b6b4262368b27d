/** Register tiles: every invocation keeps a block of the result and loads straight from memory. Serves everything. */
import { part } from '../../lowering.js'
import { bytesOf } from '../../value.js'
import { busyWorkgroups, channelTile, sumSplits, tileLanes, up } from '../common.js'
import { convFlops, matmulFlops, ratesOf, weightGradientFlops } from './cost.js'
import { imageRuns, vec4Of, type ConvWork, type MatmulWork, type Way, type WeightGradientWork } from './work.js'

export const registerConv: Way<ConvWork> = {
  name: 'register',
  serves: () => true,
  cost: (work, target) => convFlops(work) / ratesOf(target).register,
  lower: (work, emit) => {
    const { inShape, outShape, w, kernel, bias, walk, dtype } = work
    const tile = channelTile(outShape[3] / 4)
    for (const { count, x, y } of imageRuns(emit, work))
      emit.dispatch({
        kernel: 'conv2d',
        constants: {
          WORKGROUP_SIZE: 64,
          PIXELS: 4,
          CHANNELS: tile,
          HAS_BIAS: !!bias,
          In: vec4Of(dtype),
          Out: vec4Of(dtype),
          store: dtype,
          weights: emit.target.subgroups ? 'shuffled' : 'direct',
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

export const registerWeightGradient: Way<WeightGradientWork> = {
  name: 'register',
  serves: () => true,
  cost: (work, target) => weightGradientFlops(work) / ratesOf(target).register,
  lower: ({ x, inShape, dy, outShape, kernel, stride, padding, dw, dtype }, emit) => {
    const [, height, width, c] = inShape
    const [, outHeight, outWidth, o] = outShape
    const tile = channelTile(o / 4)
    const rows = (kernel[0] * kernel[1] * c) / 4
    const lanes = tileLanes(emit)
    const groups = [Math.ceil(rows / lanes), Math.ceil(o / 4 / tile)] as const
    // Each run of images makes partial sums of its own; more splits where few workgroups would be.
    const runs = imageRuns(emit, { x, inShape, y: dy, outShape, dtype }).map((run) => {
      const pixels = run.count * outHeight * outWidth
      const wanted = Math.max(
        1,
        Math.min(Math.ceil(busyWorkgroups(emit) / (groups[0] * groups[1])), Math.floor(pixels / 64)),
      )
      const each = up(Math.ceil(pixels / wanted), 8)
      return { ...run, each, splits: Math.ceil(pixels / each) }
    })
    const splits = runs.reduce((total, run) => total + run.splits, 0)
    const count = 4 * rows * o
    const partial = splits === 1 ? dw : emit.temporary(4 * splits * count)
    let first = 0
    for (const run of runs) {
      emit.dispatch({
        kernel: 'conv2d_weight_gradient',
        constants: {
          WORKGROUP_SIZE: lanes,
          CHANNELS: tile,
          In: vec4Of(dtype),
          gradients: emit.target.subgroups ? 'shuffled' : 'direct',
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
    if (splits > 1) sumSplits(emit, partial, dw, splits, count)
  },
}

export const registerMatmul: Way<MatmulWork> = {
  name: 'register',
  serves: () => true,
  cost: (work, target) => matmulFlops(work) / ratesOf(target).register,
  lower: ({ a, b, bias, c, batch, M, N, K, transposeA, dtypes }, emit) => {
    const tile = channelTile(N / 4)
    const lanes = tileLanes(emit)
    const blocks = Math.ceil(M / 4 / lanes) * Math.ceil(N / 4 / tile) * batch
    // The sum over K is cut where few workgroups would be; the parts are f32, and summed in order.
    const wanted = Math.max(1, Math.min(Math.ceil(busyWorkgroups(emit) / blocks), Math.floor(K / 64)))
    const depthPerSplit = up(Math.ceil(K / wanted), 4)
    const splits = dtypes.c === 'f32' ? Math.ceil(K / depthPerSplit) : 1
    const partial = splits === 1 ? c : emit.temporary(4 * splits * batch * M * N)
    const [rowA, rowC] = [bytesOf[dtypes.a] * K, bytesOf[dtypes.c] * N]
    // A left operand larger than a binding is cut by rows, one product at a time.
    const runs = transposeA || batch > 1 || splits > 1 ? [{ start: 0, count: M }] : emit.rows(M, rowA, rowC)
    for (const { start, count } of runs) {
      const whole = count === M
      emit.dispatch({
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
          right: emit.target.subgroups ? 'shuffled' : 'direct',
        },
        params: {
          rows: count,
          columns4: N / 4,
          depth: K,
          batches: batch,
          splits,
          depth_per_split: splits === 1 ? up(K, 4) : depthPerSplit,
        },
        buffers: {
          a: whole ? a : part(a, rowA * start, rowA * count),
          b,
          bias,
          c: whole ? partial : part(partial, rowC * start, rowC * count),
        },
        workgroups: [Math.ceil(count / 4 / lanes), Math.ceil(N / 4 / tile), batch * splits],
      })
    }
    if (splits > 1) sumSplits(emit, partial, c, splits, batch * M * N)
  },
}
