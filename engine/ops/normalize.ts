/** L2 normalisation of rows. */
import { defineOp, type Value } from '../value.js'
import { checkFloat, checkRank, rowSharing } from './common.js'

const normalizeOp = defineOp<{ epsilon: number }>({
  name: 'l2NormalizeRows',
  infer: ([x]) => {
    checkFloat('l2NormalizeRows', x)
    checkRank('l2NormalizeRows', 'x', x, 2)
    return [
      { shape: x.shape, dtype: 'f32' },
      { shape: [x.shape[0]], dtype: 'f32' },
    ]
  },
  gradient: ({ outputs: [y, reciprocal], attributes }, [g]) => [
    normalizeGradientOp([y, g!, reciprocal], attributes)[0],
  ],
  lower: ({ inputs: [x], outputs: [y, reciprocal], attributes: { epsilon } }, context) => {
    const { constants, workgroups } = rowSharing(context, x.shape[0], x.shape[1])
    context.dispatch({
      kernel: 'normalize_rows',
      constants,
      params: { rows: x.shape[0], columns: x.shape[1], epsilon },
      buffers: { x: context.of(x), y: context.of(y), reciprocal: context.of(reciprocal) },
      workgroups,
    })
  },
})

const normalizeGradientOp = defineOp<{ epsilon: number }>({
  name: 'l2NormalizeRowsGradient',
  infer: ([y]) => [{ shape: y.shape, dtype: 'f32' }],
  lower: ({ inputs: [y, g, reciprocal], outputs: [dx], attributes: { epsilon } }, context) => {
    const { constants, workgroups } = rowSharing(context, y.shape[0], y.shape[1])
    context.dispatch({
      kernel: 'normalize_rows',
      constants: { ...constants, GRADIENT: true },
      params: { rows: y.shape[0], columns: y.shape[1], epsilon },
      buffers: {
        x: context.of(y),
        g: context.of(g),
        given: context.of(reciprocal),
        y: context.of(dx),
        reciprocal: context.temporary(256),
      },
      workgroups,
    })
  },
})

/** x / max(‖x‖₂, epsilon) for every row. x: [rows, columns]. */
export const l2NormalizeRows = (x: Value, { epsilon = 1e-12 }: { epsilon?: number } = {}): Value =>
  normalizeOp([x], { epsilon })[0]
