/** The log-determinant of symmetric positive definite matrices. */
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat } from './common.js'
import { checkSquare } from './correlation.js'
import { multiply } from './elementwise.js'
import { reshape } from './layout.js'

/** Two vectors of this length fit in workgroup memory. */
const LARGEST_SIDE = 1024

/** A dispatch updates at most so many elements of a matrix. One workgroup of a slow GPU takes about 0.1 s for them. */
const UPDATES_AT_ONCE = 2 ** 26

/** Input: [n, d, d]. Outputs: the log-determinants [n], the inverses [n, d, d]. No gradient flows through the inverses. */
const spdInverseOp = defineOp<object>({
  name: 'spdInverse',
  infer: ([a]) => [
    { shape: [a.shape[0]], dtype: 'f32' },
    { shape: a.shape, dtype: 'f32' },
  ],
  gradient: ({ outputs: [, inverse] }, [g]) => [g && multiply(reshape(g, [inverse.shape[0], 1, 1]), inverse)],
  lower: ({ inputs: [a], outputs: [logdet, inverse] }, context) => {
    const [count, side] = a.shape
    const columns = Math.min(count, context.target.maxWorkgroupsPerDimension)
    const steps = Math.floor(UPDATES_AT_ONCE / side ** 2)
    for (let begin = 0; begin < side; begin += steps) {
      const end = Math.min(side, begin + steps)
      context.dispatch({
        kernel: 'spd_inverse',
        constants: { SIDE: side },
        params: { count, begin, end },
        buffers: { a: context.of(a), y: context.of(inverse), logdet: context.of(logdet) },
        workgroups: [columns, Math.ceil(count / columns)],
        flops: 2 * count * (end - begin) * side ** 2,
      })
    }
  },
})

/**
 * ln det a of symmetric positive definite matrices, by Gauss-Jordan elimination in f32; its gradient is a⁻¹. The result is
 * NaN where a is not positive definite. The relative error of a⁻¹ is about 2⁻²³ times the condition number of a.
 *
 * @param a [d, d] or [n, d, d], d at most 1024
 * @returns [1] or [n]
 */
export function logDeterminant(a: Value): Value {
  checkFloat('logDeterminant', a)
  checkSquare('logDeterminant', a)
  const side = a.shape[a.shape.length - 1]
  if (side > LARGEST_SIDE)
    throw new ShapeError(`logDeterminant: matrices ${show(a.shape)} have more than ${LARGEST_SIDE} rows`)
  return spdInverseOp([reshape(a, [a.size / side ** 2, side, side])], {})[0]
}
