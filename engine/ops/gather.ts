/** Rows of a table by index. */
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat, checkRank } from './common.js'

const gatherOp = defineOp<object>({
  name: 'gather',
  infer: ([table, index]) => {
    checkFloat('gather', table)
    checkRank('gather', 'table', table, 2)
    if (index.dtype !== 'u32' || index.shape.length !== 1)
      throw new ShapeError(
        `gather: index ${show(index.shape)} ${index.dtype} must be [count] u32 for table ${show(table.shape)}`,
      )
    return [{ shape: [index.shape[0], table.shape[1]], dtype: 'f32' }]
  },
  gradient: ({ inputs: [table, index] }, [g]) => [
    gatherGradientOp([g!, index], { entries: table.shape[0] })[0],
    undefined,
  ],
  lower: ({ inputs: [table, index], outputs: [y] }, context) =>
    context.dispatch({
      kernel: 'gather',
      params: { entries: table.shape[0], count: index.size, columns: table.shape[1] },
      buffers: { x: context.of(table), index: context.of(index), y: context.of(y) },
      workgroups: [context.grid(y.size, 64)],
    }),
})

const gatherGradientOp = defineOp<{ entries: number }>({
  name: 'gatherGradient',
  infer: ([g], { entries }) => [{ shape: [entries, g.shape[1]], dtype: 'f32' }],
  lower: ({ inputs: [g, index], outputs: [d] }, context) =>
    context.dispatch({
      kernel: 'gather',
      constants: { GRADIENT: true },
      params: { entries: d.shape[0], count: index.size, columns: d.shape[1] },
      buffers: { x: context.of(g), index: context.of(index), y: context.of(d) },
      workgroups: [context.grid(d.size, 64)],
    }),
})

/**
 * table[index[i], :] for every i. table: [entries, columns]; index: [count] u32, each below `entries` → [count,
 * columns].
 */
export const gather = (table: Value, index: Value): Value => gatherOp([table, index], {})[0]
