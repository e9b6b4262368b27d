/**
 * Matrix products by register tiles: each invocation keeps a block of the result in registers and loads from memory.
 */
import type { LoweringContext, RowRun } from '../../lowering_context.js'
import { part, type Slice } from '../../plan.js'
import { bytesOf } from '../../value.js'
import { busyWorkgroups, channelTile, sumSplits, tileLanes, up, vec4Of } from '../common.js'
import { matmulFlops, registerCost } from './cost.js'
import { PLAIN, type MatmulWork, type Variant } from './work.js'

/** Serves every product, also one whose operands are larger than a binding: b is cut along K, and c along M. */
export const registerMatmul: Variant<MatmulWork> = {
  name: PLAIN,
  serves: () => true,
  cost: (work, target) => {
    const { batch, M, N, dtypes } = work
    const invocations = (batch * M * N) / (16 * channelTile(N / 4, { target }))
    return registerCost(matmulFlops(work), target, dtypes.c === 'f32' ? Infinity : invocations)
  },
  lower: (work, context) => {
    const { c, batch, M, N, columns = { first: 0, of: N } } = work
    const rowBytes = rowBytesOf(work)
    const depths = depthRuns(work, context)
    const splits = depths.reduce((total, run) => total + run.splits, 0)
    for (const rows of rowRuns(work, splits, context)) {
      const target = rows.count === M ? c : part(c, rowBytes.c * rows.start, rowBytes.c * rows.count)
      const size = batch * rows.count * N
      const partial = splits === 1 ? target : context.temporary(4 * splits * size)
      let first = 0
      for (const depth of depths) {
        dispatchBlock(context, { ...work, columns, c: partial }, rows, depth, first)
        first += depth.splits
      }
      if (splits > 1) sumSplits(context, partial, target, splits, size)
    }
  },
}

/** Bytes of a row of each operand as it is stored. */
const rowBytesOf = ({ transposeA, M, N, K, dtypes, columns }: MatmulWork) => ({
  a: bytesOf[dtypes.a] * (transposeA ? M : K),
  b: bytesOf[dtypes.b] * N,
  c: bytesOf[dtypes.c] * (columns?.of ?? N),
})

/** A range of K that one dispatch sums, in splits of `each` terms. */
interface DepthRun extends RowRun {
  readonly each: number
  readonly splits: number
}

/**
 * The sum over K is cut where b is larger than a binding, and split further where there are few workgroups. The partial
 * sums are f32, and are added in order.
 */
function depthRuns(work: MatmulWork, context: LoweringContext): DepthRun[] {
  const { batch, M, N, K, dtypes, columns } = work
  const blocks = Math.ceil(M / 4 / tileLanes(context)) * Math.ceil(N / 4 / channelTile(N / 4, context)) * batch
  const runs4 = batch > 1 ? [{ start: 0, count: K / 4 }] : context.rows(K / 4, 4 * rowBytesOf(work).b)
  // A single product is cut into rows whose partial sums fit a binding. A batch is not.
  const most = batch > 1 ? Math.floor(context.target.maxBindingBytes / (4 * batch * M * N)) : Infinity
  const splittable = dtypes.c === 'f32' && (columns?.of ?? N) === N
  return runs4.map((run) => {
    const [start, count] = [4 * run.start, 4 * run.count]
    const wanted = Math.max(1, Math.min(Math.ceil(busyWorkgroups(context) / blocks), Math.floor(count / 64), most))
    const each = up(Math.ceil(count / (splittable ? wanted : 1)), 4)
    return { start, count, each, splits: Math.ceil(count / each) }
  })
}

/** The rows of c are cut where c, a or all partial sums together are larger than a binding. */
function rowRuns(work: MatmulWork, splits: number, context: LoweringContext): RowRun[] {
  const { batch, M, N, transposeA } = work
  if (batch > 1) return [{ start: 0, count: M }]
  const rowBytes = rowBytesOf(work)
  const perRow = [rowBytes.c, 4 * N * splits, ...(transposeA ? [] : [rowBytes.a])]
  // The rows of c are the columns of a transposed a, which the kernel reads four at a time.
  const unit = transposeA ? 4 : 1
  return context
    .rows(M / unit, ...perRow.map((bytes) => unit * bytes))
    .map(({ start, count }) => ({ start: unit * start, count: unit * count }))
}

/** One dispatch: a run of rows of c, summed over a run of K, into the splits from `first` on. */
function dispatchBlock(
  context: LoweringContext,
  work: MatmulWork & Required<Pick<MatmulWork, 'columns'>>,
  rows: RowRun,
  depth: DepthRun,
  first: number,
): void {
  const { a, b, bias, c, batch, M, N, K, transposeA, dtypes, columns } = work
  const tile = channelTile(N / 4, context)
  const lanes = tileLanes(context)
  const rowBytes = rowBytesOf(work)
  const along = (slice: Slice, of: number, { start, count }: RowRun, bytes: number): Slice =>
    count === of ? slice : part(slice, bytes * start, bytes * count)
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
      rows: rows.count,
      columns4: N / 4,
      depth: depth.count,
      batches: batch,
      splits: depth.splits,
      depth_per_split: depth.each,
      a_columns: transposeA ? M : K,
      a_first: transposeA ? rows.start : depth.start,
      c_columns4: columns.of / 4,
      c_first4: columns.first / 4,
      first_split: first,
    },
    buffers: {
      a: transposeA ? along(a, K, depth, rowBytes.a) : along(a, M, rows, rowBytes.a),
      b: along(b, K, depth, rowBytes.b),
      bias,
      c,
    },
    workgroups: [Math.ceil(rows.count / 4 / lanes), Math.ceil(N / 4 / tile), batch * depth.splits],
    flops: 2 * batch * rows.count * N * depth.count,
  })
}
