/** The contrastive cross-entropy NT-Xent (Chen et al. 2020, https://arxiv.org/abs/2002.05709). */
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat, rowSharing } from './common.js'
import { checkSquare } from './correlation.js'

const ntXentOp = defineOp<object>({
  name: 'ntXentRows',
  infer: ([s]) => {
    checkFloat('ntXentRows', s)
    checkSquare('ntXentRows', s)
    if (s.shape[s.shape.length - 1] % 2)
      throw new ShapeError(
        `ntXentRows: similarities ${show(s.shape)} have an odd number of rows, so one row has no partner`,
      )
    return [{ shape: s.shape.slice(0, -1), dtype: 'f32' }]
  },
  gradient: ({ inputs: [s] }, [g]) => [ntXentGradientOp([s, g!], {})[0]],
  lower: ({ inputs: [s], outputs: [loss] }, context) => {
    const { constants, workgroups } = rowSharing(context, loss.size, s.size / loss.size)
    context.dispatch({
      kernel: 'nt_xent',
      constants,
      params: { count: loss.size, size: s.size / loss.size },
      buffers: { s: context.of(s), result: context.of(loss) },
      workgroups,
    })
  },
})

const ntXentGradientOp = defineOp<object>({
  name: 'ntXentRowsGradient',
  infer: ([s]) => [{ shape: s.shape, dtype: 'f32' }],
  lower: ({ inputs: [s, g], outputs: [ds] }, context) => {
    const { constants, workgroups } = rowSharing(context, g.size, s.size / g.size)
    context.dispatch({
      kernel: 'nt_xent',
      constants: { ...constants, GRADIENT: true },
      params: { count: g.size, size: s.size / g.size },
      buffers: { s: context.of(s), g: context.of(g), result: context.of(ds) },
      workgroups,
    })
  },
})

/**
 * log Σ_{c≠r} exp s[r, c] − s[r, p] for every row r, where p is its partner, half the rows away. It is a softmax
 * cross-entropy over all rows except r itself.
 *
 * @param s similarities divided by the temperature, [2B, 2B] or [batch, 2B, 2B]; rows b and B + b are partners
 * @returns [2B] or [batch, 2B]
 */
export const ntXentRows = (s: Value): Value => ntXentOp([s], {})[0]
