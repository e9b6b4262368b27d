/** Shape checks and lowerings that several ops share. */
import type { LoweringContext } from '../lowering_context.js'
import { part, type Slice } from '../plan.js'
import { bytesOf, ShapeError, show, type DType, type Value } from '../value.js'

/** Throws unless `value` has one of the given ranks. */
export function checkRank(op: string, what: string, value: Value, ...ranks: number[]): void {
  if (!ranks.includes(value.shape.length))
    throw new ShapeError(`${op}: ${what} must have ${ranks.join(' or ')} dimensions, not shape ${show(value.shape)}`)
}

/** Throws unless all are f32. */
export function checkFloat(op: string, ...values: Value[]): void {
  for (const v of values)
    if (v.dtype !== 'f32') throw new ShapeError(`${op}: takes f32, not ${v.dtype} ${show(v.shape)}`)
}

/** Throws unless all are f32 or f16, the dtypes of stored activations. */
export function checkActivations(op: string, ...values: Value[]): void {
  for (const v of values)
    if (v.dtype === 'u32') throw new ShapeError(`${op}: takes f32 or f16, not ${v.dtype} ${show(v.shape)}`)
}

/** `n` rounded up to a multiple of `multiple`. */
export const up = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple

/** The WGSL type of four stored numbers. */
export const vec4Of = (dtype: DType): string => (dtype === 'f16' ? 'vec4h' : 'vec4f')

/**
 * Pads with zeros, or crops, the last two dimensions of [batch, rows, columns]. Returns x itself if nothing changes.
 */
export function padded(
  context: LoweringContext,
  x: Slice,
  from: readonly [batch: number, rows: number, columns: number],
  rows: number,
  columns: number,
  dtype: DType = 'f32',
): Slice {
  if (from[1] === rows && from[2] === columns) return x
  const y = context.temporary(up(bytesOf[dtype] * from[0] * rows * columns, 16))
  resize(context, x, from, y, rows, columns, dtype)
  return y
}

/** As `padded`, into the caller's slice y. A single matrix larger than a binding is cut by rows. */
export function resize(
  context: LoweringContext,
  x: Slice,
  [batch, inRows, inColumns]: readonly [number, number, number],
  y: Slice,
  rows: number,
  columns: number,
  dtype: DType = 'f32',
): void {
  const bytes = bytesOf[dtype]
  const cut = batch === 1 && inRows === rows
  const runs = cut ? context.rows(rows, bytes * inColumns, bytes * columns) : [{ start: 0, count: rows }]
  for (const { start, count } of runs) {
    const whole = count === rows
    context.dispatch({
      kernel: 'pad',
      constants: { T: dtype },
      params: {
        count: batch * count * columns,
        in_rows: whole ? inRows : count,
        in_columns: inColumns,
        out_rows: count,
        out_columns: columns,
      },
      buffers: {
        x: whole ? x : part(x, bytes * inColumns * start, bytes * inColumns * count),
        y: whole ? y : part(y, bytes * columns * start, bytes * columns * count),
      },
      workgroups: [context.grid(batch * count * columns, 256)],
    })
  }
}

/** y[b, c, r] = x[b, r, c], in scratch memory. */
export function transposed(
  context: LoweringContext,
  x: Slice,
  batch: number,
  rows: number,
  columns: number,
  dtype: DType = 'f32',
): Slice {
  const y = context.temporary(up(bytesOf[dtype] * batch * rows * columns, 16))
  const count = batch * rows * columns
  if (rows % 4 === 0 && columns % 4 === 0)
    context.dispatch({
      kernel: 'transpose4',
      constants: { T: dtype === 'f16' ? 'vec4h' : 'vec4f' },
      params: { count16: count / 16, rows4: rows / 4, columns4: columns / 4 },
      buffers: { x, y },
      workgroups: [context.grid(count / 16, 64)],
    })
  else
    context.dispatch({
      kernel: 'transpose',
      constants: { T: dtype },
      params: { count, rows, columns },
      buffers: { x, y },
      workgroups: [context.grid(count, 256)],
    })
  return y
}

/**
 * y[i] = factor · Σₛ x[s, i] over `splits` splits of `count` numbers, added in order. On a GPU one thread would add the
 * splits of a single number: there a workgroup adds them by a tree.
 */
export function sumSplits(
  context: LoweringContext,
  x: Slice,
  y: Slice,
  splits: number,
  count: number,
  factor = 1,
): void {
  const gpu = context.target.adapterClass === 'gpu'
  if (gpu && count === 1) return sumRows(context, x, y, { rows: 1, length: splits, factor })
  const vector = count % 4 === 0
  context.dispatch({
    kernel: vector ? 'reduce4' : 'reduce',
    ...(vector && { constants: { AT_ONCE: gpu ? 8 : 1 } }),
    params: {
      outer: 1,
      length: splits,
      [vector ? 'inner4' : 'inner']: vector ? count / 4 : count,
      splits: 1,
      length_per_split: splits,
      first_split: 0,
      factor,
      ...plainTerm,
    },
    buffers: { x, y },
    workgroups: [context.grid(vector ? count / 4 : count, 64)],
  })
}

/** Params of the sums for what is added: x itself, by default. */
const plainTerm = { minus: 0, w_outer: 0, w_length: 0, w_inner: 1 }

/** What the kernels of sums add: x, (x − minus)² or x · w, where w may repeat. */
export interface SumTerm {
  readonly constants: { readonly TERM: number }
  readonly params: typeof plainTerm
  /** The second tensor of the products. */
  readonly w?: Slice
}

/** y[s, r] = factor · Σ over c of split s of the term of x[r, c], by one workgroup for each: for GPUs. */
export function sumRows(
  context: LoweringContext,
  x: Slice,
  y: Slice,
  sums: {
    rows: number
    length: number
    splits?: number
    firstSplit?: number
    factor?: number
    dtype?: DType
    term?: SumTerm
  },
): void {
  const { rows, length, splits = 1, firstSplit = 0, factor = 1, dtype = 'f32', term } = sums
  const { minus, w_outer, w_length } = term?.params ?? plainTerm
  const cut = { splits, length_per_split: Math.ceil(length / splits), first_split: firstSplit }
  context.dispatch({
    kernel: 'reduce_rows',
    constants: { In: dtype, ...term?.constants },
    params: { rows, length, ...cut, factor, minus, w_outer, w_length },
    buffers: { x, y, w: term?.w },
    workgroups: [context.grid(rows * splits, 1)],
  })
}

/**
 * Constants of a kernel that works on rows of `columns` numbers, and its number of workgroups. On a GPU the threads of a
 * workgroup share a row; on a software driver each lane has a row of its own.
 */
export function rowSharing(context: LoweringContext, rows: number, columns: number) {
  const shared = context.target.adapterClass === 'gpu' && columns >= 32
  const constants = shared ? { SHARE: 64, share: 'shared' } : { SHARE: 1, share: 'alone' }
  return { constants, workgroups: [context.grid(rows * constants.SHARE, 64)] as const }
}

/** The number of workgroups that keep an adapter busy. Sums are split until there are about this many. */
export const busyWorkgroups = (context: LoweringContext): number => (context.target.adapterClass === 'cpu' ? 16 : 512)

/**
 * The width of a register tile, in vec4s of output channels. It is not wider than there are channels. Software drivers
 * with subgroups use the widest tile where the channels fill it: their loads cost more than sums that do not all fit
 * the registers (measured: 25 to 40 % faster than a width of 4).
 */
export const channelTile = (channels4: number, { target }: Pick<LoweringContext, 'target'>): number => {
  const { adapterClass, subgroups } = target
  if (adapterClass === 'cpu' && subgroups && channels4 % 8 === 0) return 8
  return channels4 <= 2 ? 2 : 4
}

/**
 * Invocations of a workgroup in the products by register tiles. A software driver runs one subgroup of 8 lanes at a
 * time, so that a larger workgroup only leaves more lanes idle at the edges. A GPU needs whole wavefronts.
 */
export const tileLanes = (context: LoweringContext): number => (context.target.adapterClass === 'cpu' ? 8 : 64)
