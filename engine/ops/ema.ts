/** Exponential moving averages of Variables, such as averaged weights for evaluation or the target network of BYOL. */
import { assign, type Assignment, type Variable } from '../leaves.js'
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat } from './common.js'
import { pieces } from './optimizers.js'
import { extentsOf } from './segments.js'

/** Inputs: averages…, values…, rate. Outputs: averages…. */
const emaOp = defineOp<object>({
  name: 'ema',
  infer: (inputs) => inputs.slice(0, (inputs.length - 1) / 2).map(({ shape }) => ({ shape, dtype: 'f32' })),
  lower: ({ inputs, outputs }, context) => {
    const n = outputs.length
    const { extents } = extentsOf(outputs)
    const averages = outputs.map((next, i) => context.inPlace(next, inputs[i]))
    const values = inputs.slice(n, -1).map((v) => context.of(v))
    const offsets = extents.map(({ offset }) => offset)
    for (const { slices, count4 } of pieces(context, [averages, values], offsets))
      context.dispatch({
        kernel: 'ema',
        params: { count4 },
        buffers: { average: slices[0], value: slices[1], rate: context.of(inputs[2 * n]) },
        workgroups: [context.grid(count4, 64)],
      })
  },
})

/**
 * average ← rate · average + (1 − rate) · value. It is one dispatch if both lie in arenas of the same layout.
 *
 * @param averages f32 Variables
 * @param values of the averages' sizes. A Variable stands for its value before this program; for its value after the
 *   program, use the `value` of its Assignment.
 * @param rate [1], an `input` or a Variable: 0 copies the values, 1 leaves the averages unchanged
 */
export function ema(averages: readonly Variable[], values: readonly Value[], rate: Value): Assignment[] {
  checkFloat('ema', ...averages, ...values, rate)
  if (rate.size !== 1) throw new ShapeError(`ema: the rate must be a scalar, not ${show(rate.shape)}`)
  if (averages.length !== values.length)
    throw new ShapeError(`ema: ${values.length} values for ${averages.length} averages`)
  averages.forEach((average, i) => {
    if (average.size !== values[i].size)
      throw new ShapeError(`ema: '${average.name}' ${show(average.shape)} cannot average ${show(values[i].shape)}`)
  })
  return emaOp([...averages, ...values, rate], {}).map((next, i) => assign(averages[i], next))
}
