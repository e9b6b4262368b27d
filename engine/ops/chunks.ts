/**
 * Ops for a program that processes a large tensor in chunks, one chunk in each run: reading a chunk of a Variable,
 * writing one, and sums over the runs. The index of the chunk is an `input`, so that one program serves all chunks.
 */
import type { LoweringContext } from '../lowering_context.js'
import { part, resolve, type Slice } from '../plan.js'
import { align, assign, type Assignment, type Variable } from '../leaves.js'
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat } from './common.js'

/** Throws unless x consists of whole chunks of `rows` rows, and the index is one u32. */
function checkChunks(name: string, x: Value, rows: number, index: Value): void {
  checkFloat(name, x)
  if (!Number.isInteger(rows) || rows < 1 || x.shape[0] % rows)
    throw new ShapeError(`${name}: chunks of ${rows} rows do not divide the first dimension of ${show(x.shape)}`)
  checkIndex(name, index)
}

function checkIndex(name: string, index: Value): void {
  if (index.size !== 1 || index.dtype !== 'u32')
    throw new ShapeError(`${name}: index ${show(index.shape)} ${index.dtype} must be one u32`)
}

/** Copies between x and a chunk of it, with one dispatch for each pair of parts that can be bound. */
function copyChunk(
  context: LoweringContext,
  x: Slice,
  chunk: Slice,
  index: Slice,
  sizes: CopySizes,
  store: boolean,
): void {
  const rowBytes = 4 * sizes.columns
  const cut = (slice: Slice, of: number, { start, count }: { start: number; count: number }): Slice =>
    count === of ? slice : part(slice, start * rowBytes, count * rowBytes)
  for (const from of context.rows(sizes.chunkRows, rowBytes))
    for (const to of context.rows(sizes.rows, rowBytes)) {
      const [some, all] = [cut(chunk, sizes.chunkRows, from), cut(x, sizes.rows, to)]
      context.dispatch({
        kernel: 'chunk',
        constants: { STORE: store },
        params: {
          count: from.count * sizes.columns,
          first: from.start * sizes.columns,
          chunk_size: sizes.chunkRows * sizes.columns,
          base: to.start * sizes.columns,
          size: to.count * sizes.columns,
        },
        buffers: { index, source: store ? some : all, destination: store ? all : some },
        workgroups: [context.grid(from.count * sizes.columns, 256)],
      })
    }
}

interface CopySizes {
  rows: number
  chunkRows: number
  columns: number
}

const sizesOf = (x: Value, chunk: Value): CopySizes => ({
  rows: x.shape[0],
  chunkRows: chunk.shape[0],
  columns: x.size / x.shape[0],
})

const takeOp = defineOp<{ rows: number }>({
  name: 'takeChunk',
  infer: ([x, index], { rows }) => {
    checkChunks('takeChunk', x, rows, index)
    return [{ shape: [rows, ...x.shape.slice(1)], dtype: 'f32' }]
  },
  lower: ({ inputs: [x, index], outputs: [y] }, context) =>
    copyChunk(context, context.of(x), context.of(y), context.of(index), sizesOf(x, y), false),
})

/**
 * Chunk `index` of x: rows index · rows … (index + 1) · rows − 1 along the first dimension. Not differentiable.
 *
 * @param x f32; its first dimension is a multiple of `rows`
 * @param index [1] u32, below the number of chunks
 */
export const takeChunk = (x: Value, rows: number, index: Value): Value => takeOp([x, index], { rows })[0]

const putOp = defineOp<object>({
  name: 'putChunk',
  infer: ([x, chunk, index]) => {
    checkFloat('putChunk', chunk)
    if (chunk.shape.slice(1).join() !== x.shape.slice(1).join())
      throw new ShapeError(`putChunk: rows of ${show(chunk.shape)} do not fit into ${show(x.shape)}`)
    checkChunks('putChunk', x, chunk.shape[0], index)
    return [{ shape: x.shape, dtype: 'f32' }]
  },
  lower: ({ inputs: [x, chunk, index], outputs: [next] }, context) =>
    copyChunk(context, context.inPlace(next, x), context.of(chunk), context.of(index), sizesOf(x, chunk), true),
})

/**
 * Writes the chunk that `takeChunk` of the same index reads. The Variable's other rows stay.
 *
 * @param chunk [rows, …]; the Variable's first dimension is a multiple of `rows`
 * @param index [1] u32, below the number of chunks
 */
export const putChunk = (target: Variable, chunk: Value, index: Value): Assignment =>
  assign(target, putOp([target, chunk, index], {})[0])

/** Inputs: totals…, values…, index. Outputs: totals…. */
const accumulateOp = defineOp<{ early?: boolean }>({
  name: 'accumulate',
  early: ({ early }) => early === true,
  infer: (inputs) => inputs.slice(0, (inputs.length - 1) / 2).map(({ shape }) => ({ shape, dtype: 'f32' })),
  lower: ({ inputs, outputs }, context) => {
    const values = inputs.slice(outputs.length, -1)
    const index = context.of(inputs[inputs.length - 1])
    const totals = outputs.map((next, i) => context.inPlace(next, inputs[i]))
    for (const [total, value] of pairs(context, totals, values))
      for (const { start, count } of context.rows(Math.ceil(total.bytes / 16), 16))
        context.dispatch({
          kernel: 'accumulate',
          params: { count4: count },
          buffers: {
            index,
            value: part(value, 16 * start, 16 * count),
            total: part(total, 16 * start, 16 * count),
          },
          workgroups: [context.grid(count, 64)],
        })
  },
})

/**
 * Which value to add to which total. If the totals are neighbours in an arena, all are one range of memory with its
 * gaps.
 */
function pairs(context: LoweringContext, totals: Slice[], values: readonly Value[]): [total: Slice, value: Slice][] {
  const places = totals.map(resolve)
  const offsets = places.map(({ offset }) => offset - places[0].offset)
  const last = totals.length - 1
  const bytes = offsets[last] + places[last].bytes
  const neighbours = places.every(
    ({ storage }, i) =>
      storage === places[0].storage && (i === last || offsets[i + 1] === offsets[i] + align(places[i].bytes)),
  )
  if (last > 0 && neighbours && context.colocate(values, offsets, bytes))
    return [
      [
        { ...places[0], bytes },
        { ...resolve(context.of(values[0])), bytes },
      ],
    ]
  return totals.map((total, i) => [total, context.of(values[i])])
}

/**
 * Sums over the runs of a program: the run of index 0 sets each total to its value, every other run adds to it. Totals
 * in one arena take one dispatch.
 *
 * @param totals f32 Variables, of the values' sizes
 * @param index [1] u32
 * @param options.early add as soon as the values are computed; nothing else in the program may read the totals
 */
export function accumulate(
  totals: readonly Variable[],
  values: readonly Value[],
  index: Value,
  { early = false }: { early?: boolean } = {},
): Assignment[] {
  checkFloat('accumulate', ...totals, ...values)
  checkIndex('accumulate', index)
  if (totals.length !== values.length)
    throw new ShapeError(`accumulate: ${values.length} values for ${totals.length} totals`)
  totals.forEach((total, i) => {
    if (total.size !== values[i]?.size)
      throw new ShapeError(
        `accumulate: '${total.name}' ${show(total.shape)} cannot add ${show(values[i]?.shape ?? [])}`,
      )
  })
  return accumulateOp([...totals, ...values, index], early ? { early } : {}).map((next, i) => assign(totals[i], next))
}
