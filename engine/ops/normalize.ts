/** L2 normalisation of rows. */
import { defineOp, type Value } from '../value.js'
import { checkFloat, checkRank } from './common.js'

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
  lower: ({ inputs: [x], outputs: [y, reciprocal], attributes: { epsilon } }, emit) =>
    emit.dispatch({
      kernel: 'normalize_rows',
      params: { rows: x.shape[0], columns: x.shape[1], epsilon },
      buffers: { x: emit.of(x), y: emit.of(y), reciprocal: emit.of(reciprocal) },
      workgroups: [emit.grid(x.shape[0], 64)],
    }),
})

const normalizeGradientOp = defineOp<{ epsilon: number }>({
  name: 'l2NormalizeRowsGradient',
  infer: ([y]) => [{ shape: y.shape, dtype: 'f32' }],
  lower: ({ inputs: [y, g, reciprocal], outputs: [dx], attributes: { epsilon } }, emit) =>
    emit.dispatch({
      kernel: 'normalize_rows',
      constants: { GRADIENT: true },
      params: { rows: y.shape[0], columns: y.shape[1], epsilon },
      buffers: {
        x: emit.of(y),
        g: emit.of(g),
        given: emit.of(reciprocal),
        y: emit.of(dx),
        reciprocal: emit.temporary(256),
      },
      workgroups: [emit.grid(y.shape[0], 64)],
    }),
})

/** x / max(‖x‖₂, epsilon) for every row. x: [rows, columns]. */
export const l2NormalizeRows = (x: Value, { epsilon = 1e-12 }: { epsilon?: number } = {}): Value =>
  normalizeOp([x], { epsilon })[0]
