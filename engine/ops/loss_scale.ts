/**
 * Dynamic loss scaling (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740; the constants are those of
 * PyTorch's GradScaler). The gradients are those of scale · loss, so that small ones do not vanish when they are stored
 * as f16. If the gradients of a step overflow, the step is skipped and the scale is halved. After many steps without
 * overflow the scale is doubled. All of this happens on the GPU.
 */
import { assign, constant, variable, type Assignment, type Variable } from '../leaves.js'
import { defineOp, type Value } from '../value.js'
import { checkFloat } from './common.js'
import { sliceRows } from './layout.js'
import { extentsOf, segmentRuns, segmentTable } from './segments.js'

/** Tells an optimiser how to use scaled gradients, and whether to skip the step. */
export interface Unscaling {
  /** [1]: 1 / scale, or 0 if the step is skipped. */
  readonly factor: Value
  /** [1]: 1, or 0 if the step is skipped. */
  readonly applied: Value
}

/** A loss scale: its Variable, and its part in a step. */
export interface LossScale {
  /** [3]: the scale, the steps without overflow since its last change, the skipped steps so far. */
  readonly state: Variable
  /** [1]: the seed for `gradients`, which multiplies the loss by the scale. */
  readonly seed: Value
  /**
   * Looks for infinities and NaNs in all gradients of a step.
   *
   * @param gradients f32
   * @returns what the optimiser needs, the next value of `state`, and its update
   */
  judge(gradients: readonly Value[]): Unscaling & { next: Value; update: Assignment }
}

/** Inputs: gradients…, the table of segments, state. Outputs: state, factor, applied. */
const lossScaleOp = defineOp<{ interval: number }>({
  name: 'lossScale',
  infer: () => [{ shape: [3], dtype: 'f32' }, one, one],
  lower: ({ inputs, outputs: [next, factor, applied], attributes: { interval } }, context) => {
    const gradients = inputs.slice(0, -2)
    const [table, state] = inputs.slice(-2)
    const { extents, bytes } = extentsOf(gradients)
    context.colocate(
      gradients,
      extents.map(({ offset }) => offset),
      bytes,
    )
    const count = table.shape[0]
    const overflow = context.temporary(Math.ceil(count / 4) * 16)
    const places = gradients.map((g) => context.of(g))
    for (const { slices, base, first, segments } of segmentRuns(context, [places], extents))
      context.dispatch({
        kernel: 'finite',
        params: { first, base4: base / 16 },
        buffers: { x: slices[0], segments: context.of(table), overflow },
        workgroups: [segments],
      })
    context.dispatch({
      kernel: 'loss_scale',
      params: { count, interval },
      buffers: {
        overflow,
        state: context.inPlace(next, state),
        factor: context.of(factor),
        applied: context.of(applied),
      },
      workgroups: [1],
    })
  },
})

const one = { shape: [1], dtype: 'f32' } as const

/**
 * A loss scale that adapts itself.
 *
 * @param initial the scale of the first step
 * @param interval steps without overflow after which the scale is doubled
 */
export function dynamicLossScale({ initial = 65536, interval = 2000 } = {}): LossScale {
  const state = variable('loss_scale', [3], Float32Array.of(initial, 0, 0))
  return {
    state,
    seed: sliceRows(state, 0, 1),
    judge(gradients) {
      checkFloat('lossScale', ...gradients)
      const table = segmentTable(gradients)
      const segments = constant(table, [table.length / 3, 3])
      const [next, factor, applied] = lossScaleOp([...gradients, segments, state], { interval })
      return { factor, applied, next, update: assign(state, next) }
    },
  }
}
