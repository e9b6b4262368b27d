/** How the batch-norm kernels divide a tensor: groups, strips of rows, and runs that one dispatch each covers. */
import type { LoweringContext } from '../lowering_context.js'
import { part, type Slice } from '../plan.js'
import { bytesOf, ShapeError, show, type DType, type Value } from '../value.js'
import { checkActivations, checkFloat, padded, resize, up, vec4Of } from './common.js'

/** x as [groups, rows, channels]. */
export interface Layout {
  readonly groups: number
  readonly rows: number
  readonly channels: number
  /** Channels padded to whole vec4s. */
  readonly c4: number
  /** Rows of a strip. The statistics of the strips are merged after the rows of each are summed. */
  readonly strip: number
  /** Strips of a group. */
  readonly strips: number
  /** How the threads of the kernels that read all rows share the strips, and those of the merges. */
  readonly sharing: Sharing
  readonly mergeSharing: Sharing
  readonly runs: readonly Run[]
}

/** The rows that one dispatch covers: all, or a part of one group if they cannot be bound together. */
export interface Run {
  /** Offset and size in bytes within the padded tensor. */
  readonly offset: number
  readonly bytes: number
  readonly rows: number
  readonly groups: number
  readonly firstGroup: number
  readonly firstStrip: number
}

/** Constants of the kernels: SHARE threads of a workgroup handle the rows of one strip, or the strips of one merge. */
export interface Sharing {
  readonly WORKGROUP_SIZE: number
  readonly SHARE: number
  /** Rows, or strips, that a thread loads before it uses the first. */
  readonly AT_ONCE: number
}

/** A software driver works through whole strips, one to a lane. */
const alone: Sharing = { WORKGROUP_SIZE: 64, SHARE: 1, AT_ONCE: 1 }
/** A GPU waits for memory: it needs many threads, each with several loads under way. */
const shared: Sharing = { WORKGROUP_SIZE: 256, SHARE: 16, AT_ONCE: 4 }
const sharedMerge: Sharing = { WORKGROUP_SIZE: 64, SHARE: 32, AT_ONCE: 4 }
/** Workgroups that keep a wide GPU busy. */
const BUSY = 1024

/** The constants of a kernel that sums, which adds its threads' sums where several share a strip. */
export const summing = (sharing: Sharing) => ({ ...sharing, total: sharing.SHARE > 1 ? 'shared' : 'alone' })

/** Rows of each group, and channels. */
export function sizesOf(x: Value, groups: number): { rows: number; channels: number } {
  const channels = x.shape[x.shape.length - 1]
  return { rows: x.size / channels / groups, channels }
}

/** Rows of a strip, of so many rows in a group. */
export const stripOf = (rows: number): number => Math.max(16, Math.min(256, Math.ceil(rows / 64)))

/** @param given rows of a strip, where they must not depend on the adapter */
export function layoutOf(context: LoweringContext, x: Value, groups: number, given?: number): Layout {
  const { rows, channels } = sizesOf(x, groups)
  const c4 = up(channels, 4)
  const gpu = context.target.adapterClass === 'gpu'
  const strip = given ?? (gpu ? gpuStrip(groups, rows, c4) : stripOf(rows))
  const runs = runsOf(context, groups, rows, c4, strip, x.dtype)
  const [sharing, mergeSharing] = gpu ? [shared, sharedMerge] : [alone, alone]
  return { groups, rows, channels, c4, strip, strips: Math.ceil(rows / strip), sharing, mergeSharing, runs }
}

/** Rows of a strip, such that the strips of all groups keep a wide GPU busy and no thread loads rows in vain. */
function gpuStrip(groups: number, rows: number, c4: number): number {
  const { WORKGROUP_SIZE, SHARE, AT_ONCE } = shared
  const workgroupsPerStrip = (groups * c4 * SHARE) / 4 / WORKGROUP_SIZE
  return up(Math.ceil((rows * workgroupsPerStrip) / BUSY), SHARE * AT_ONCE)
}

function runsOf(
  context: LoweringContext,
  groups: number,
  rows: number,
  c4: number,
  strip: number,
  dtype: DType,
): Run[] {
  const rowBytes = bytesOf[dtype] * c4
  if (groups * rows * rowBytes <= context.target.maxBindingBytes)
    return [{ offset: 0, bytes: groups * rows * rowBytes, rows, groups, firstGroup: 0, firstStrip: 0 }]
  const runs: Run[] = []
  for (let group = 0; group < groups; group++)
    for (const { start, count } of context.rows(Math.ceil(rows / strip), strip * rowBytes)) {
      const some = Math.min(count * strip, rows - start * strip)
      const offset = (group * rows + start * strip) * rowBytes
      if (offset % 256)
        throw new Error(
          `batchNorm: a group of ${rows} rows × ${c4} channels is over one binding and does not start at a bindable offset: ` +
            'use a batch that is a multiple of 8',
        )
      runs.push({ offset, bytes: some * rowBytes, rows: some, groups: 1, firstGroup: group, firstStrip: start })
    }
  return runs
}

/** Workgroups of the kernels that read all rows. */
export const workgroupsOf = (context: LoweringContext, run: Run, { strip, c4, sharing }: Layout): [number, number] => [
  context.grid(((Math.ceil(run.rows / strip) * c4) / 4) * sharing.SHARE, sharing.WORKGROUP_SIZE),
  run.groups,
]

/** The rows of a run. */
export const cut = (x: Slice, run: Run): Slice => part(x, run.offset, run.bytes)

/** A tensor with its channels padded to whole vec4s. */
export const wide = (context: LoweringContext, { channels, c4 }: Layout, v: Value): Slice =>
  padded(context, context.of(v), [1, v.size / channels, channels], v.size / channels, c4, v.dtype)

/** Memory for an output with its channels padded; `narrow` then removes the padding. */
export const wideTarget = (context: LoweringContext, { channels, c4 }: Layout, v: Value): Slice =>
  c4 === channels ? context.of(v) : context.temporary(up((bytesOf[v.dtype] * v.size * c4) / channels, 16))

export function narrow(context: LoweringContext, { channels, c4 }: Layout, slice: Slice, v: Value): void {
  const rows = v.size / channels
  if (c4 !== channels) resize(context, slice, [1, rows, c4], context.of(v), rows, channels, v.dtype)
}

/** y = x·gain + offset (+ residual), then the ReLU if asked for. */
export function applyLine(
  context: LoweringContext,
  layout: Layout,
  slices: { x: Slice; gain: Slice; offset: Slice; residual?: Slice; y: Slice },
  relu: boolean,
  dtype: DType,
): void {
  const { x, gain, offset, residual, y } = slices
  for (const run of layout.runs)
    context.dispatch({
      kernel: 'batch_norm_apply',
      constants: { ...layout.sharing, RELU: relu, RESIDUAL: !!residual, T: vec4Of(dtype), store: dtype },
      params: { rows: run.rows, channels4: layout.c4 / 4, strip: layout.strip, first_group: run.firstGroup },
      buffers: { x: cut(x, run), gain, offset, residual: residual && cut(residual, run), y: cut(y, run) },
      workgroups: workgroupsOf(context, run, layout),
    })
}

/** What the ops of batch-norm have in common. */
export interface BatchNormAttributes {
  groups: number
  epsilon: number
  correction: number
  relu: boolean
  /** The op's name in messages. */
  name: string
}

/** Checks the inputs. @returns the rows of each group, and the channels */
export function checkBatchNorm(
  { x, scale, shift, residual }: { x: Value; scale: Value; shift: Value; residual?: Value },
  { groups, name }: BatchNormAttributes,
): { rows: number; channels: number } {
  checkTypes(name, x, residual, [scale, shift])
  const { rows, channels } = sizesOf(x, groups)
  if (!Number.isInteger(groups) || groups < 1 || x.shape[0] % groups)
    throw new ShapeError(`${name}: ${groups} groups do not divide the first dimension of ${show(x.shape)}`)
  for (const [what, v] of [
    ['scale', scale],
    ['shift', shift],
  ] as const)
    if (v.shape.length !== 1 || v.shape[0] !== channels)
      throw new ShapeError(`${name}: ${what} ${show(v.shape)} does not fit the channels of x ${show(x.shape)}`)
  if (residual && show(residual.shape) !== show(x.shape))
    throw new ShapeError(`${name}: residual ${show(residual.shape)} and x ${show(x.shape)} differ`)
  return { rows, channels }
}

/** Throws unless x and the residual are activations of one dtype, and the vectors f32. */
export function checkTypes(name: string, x: Value, residual: Value | undefined, vectors: Value[]): void {
  checkActivations(name, x)
  checkFloat(name, ...vectors)
  if (residual && residual.dtype !== x.dtype)
    throw new ShapeError(`${name}: residual is ${residual.dtype} and x ${x.dtype}: cast one to the other`)
}
