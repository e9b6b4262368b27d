/**
 * Gradient clipping by the global norm (Pascanu et al. 2013, https://arxiv.org/abs/1211.5063; the constant in the
 * divisor is that of PyTorch's clip_grad_norm_). The factor stays on the GPU. The optimiser multiplies by it when it
 * reads the gradients, so they are not written again.
 */
import { constant } from '../leaves.js'
import { defineOp, ShapeError, type Value } from '../value.js'
import { checkFloat } from './common.js'
import type { Unscaling } from './loss_scale.js'
import { extentsOf, segmentRuns, segmentTable } from './segments.js'

/** Inputs: gradients…, the table of segments (, factor). Outputs: factor, applied, norm. */
const clipOp = defineOp<{ most: number; scaled: boolean }>({
  name: 'clipByGlobalNorm',
  infer: () => [one, one, one],
  lower: ({ inputs, outputs: [factor, applied, norm], attributes: { most, scaled } }, context) => {
    const gradients = inputs.slice(0, scaled ? -2 : -1)
    const [table, given] = inputs.slice(gradients.length)
    const { extents, bytes } = extentsOf(gradients)
    context.colocate(
      gradients,
      extents.map(({ offset }) => offset),
      bytes,
    )
    const count = table.shape[0]
    const sums = context.temporary(Math.ceil(count / 4) * 16)
    for (const { slices, base, first, segments } of segmentRuns(
      context,
      [gradients.map((g) => context.of(g))],
      extents,
    ))
      context.dispatch({
        kernel: 'squares',
        constants: { SCALED: scaled },
        params: { first, base4: base / 16 },
        buffers: { x: slices[0], segments: context.of(table), factor: given && context.of(given), sums },
        workgroups: [segments],
      })
    context.dispatch({
      kernel: 'clip',
      constants: { SCALED: scaled },
      params: { count, most },
      buffers: {
        sums,
        given: given && context.of(given),
        norm: context.of(norm),
        factor: context.of(factor),
        applied: context.of(applied),
      },
      workgroups: [1],
    })
  },
})

const one = { shape: [1], dtype: 'f32' } as const

/**
 * Scales the gradients so that the norm of all of them together is at most `most`. An optimiser takes the result as its
 * `unscaling`. A step whose norm is not finite is skipped.
 *
 * @param most the largest norm, above 0
 * @param unscaling for gradients of a scaled loss; the norm is then that of the unscaled gradients
 * @returns the unscaling with the clipping included, and the norm [1] before clipping
 */
export function clipByGlobalNorm(
  gradients: readonly Value[],
  most: number,
  unscaling?: Unscaling,
): Unscaling & { norm: Value } {
  checkFloat('clipByGlobalNorm', ...gradients)
  if (!(most > 0)) throw new ShapeError(`clipByGlobalNorm: the largest norm ${most} must be above 0`)
  const table = segmentTable(gradients)
  const inputs = [...gradients, constant(table, [table.length / 3, 3]), ...(unscaling ? [unscaling.factor] : [])]
  const [factor, applied, norm] = clipOp(inputs, { most, scaled: !!unscaling })
  return { factor, applied, norm }
}
