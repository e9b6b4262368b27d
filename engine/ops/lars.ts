/**
 * LARS (You et al. 2017, https://arxiv.org/abs/1708.03888): a learning rate for each tensor, from the norms of the
 * tensor and its gradient.
 */
import type { Slice } from '../plan.js'
import { assign, constant, type Variable } from '../leaves.js'
import { defineOp, type Node } from '../value.js'
import { checkGradients, columnsOf, moments, type Optimizer } from './optimizers.js'
import { extentsOf, segmentRuns, segmentTable } from './segments.js'

interface LarsAttributes {
  momentum: number
  weightDecay: number
  coefficient: number
}

/** Inputs: parameters…, buffers…, gradients…, segments, tensors, rate (, factor). Outputs: parameters…, buffers…. */
const larsOp = defineOp<LarsAttributes>({
  name: 'lars',
  infer: (inputs) =>
    inputs.slice(0, 2 * Math.floor((inputs.length - 3) / 3)).map(({ shape, dtype }) => ({ shape, dtype })),
  lower: (node, context) => {
    const n = Math.floor((node.inputs.length - 3) / 3)
    const { momentum, weightDecay, coefficient } = node.attributes
    const [segments, tensors, rate, factor] = node.inputs.slice(3 * n)
    const columns = columnsOf(node as Node, context, n, 1)
    const { extents } = extentsOf(node.inputs.slice(0, n))
    const shared = {
      segments: context.of(segments),
      tensors: context.of(tensors),
      factor: factor && context.of(factor),
    }
    const norms: Slice = context.temporary(Math.ceil(segments.shape[0] / 2) * 16)
    for (const { slices, base, first, segments: count } of segmentRuns(context, [columns[0], columns[2]], extents))
      context.dispatch({
        kernel: 'lars_norms',
        constants: { SCALED: !!factor },
        params: { first, base4: base / 16, decay: weightDecay },
        buffers: { parameters: slices[0], gradients: slices[1], norms, ...shared },
        workgroups: [count],
      })
    const trust = context.temporary(Math.ceil(n / 4) * 16)
    context.dispatch({
      kernel: 'lars_trust',
      params: { count: n, coefficient },
      buffers: { norms, tensors: shared.tensors, trust },
      workgroups: [Math.ceil(n / 64)],
    })
    for (const { slices, base, first, segments: count } of segmentRuns(context, columns, extents))
      context.dispatch({
        kernel: 'lars',
        constants: { SCALED: !!factor },
        params: { first, base4: base / 16, momentum, decay: weightDecay },
        buffers: {
          parameters: slices[0],
          buffer: slices[1],
          gradients: slices[2],
          trust,
          rate: context.of(rate),
          ...shared,
        },
        workgroups: [count],
      })
  },
})

/**
 * Layer-wise adaptive rates, for large batches. For each tensor w with gradient g:
 *
 *   q = coefficient · ‖w‖ / ‖g + weightDecay · w‖,   v ← momentum · v + q · (g + weightDecay · w),   w ← w − rate · v
 *
 * q is 1 if either norm is 0. Tensors of one dimension (biases, scales and shifts of batch-norm) have q = 1 and no
 * weight decay.
 */
export function lars(
  parameters: readonly Variable[],
  { momentum = 0.9, weightDecay = 0, coefficient = 0.001 }: Partial<LarsAttributes> = {},
): Optimizer {
  const buffers = moments(parameters, 'lars_momentum')
  return {
    state: buffers,
    updates: (gradients, rate, unscaling) => {
      checkGradients(parameters, gradients)
      const table = segmentTable(parameters)
      const tensors = extentsOf(parameters).extents.flatMap(({ firstSegment, segments }, i) => [
        firstSegment,
        segments,
        parameters[i].shape.length > 1 ? 1 : 0,
      ])
      const inputs = [
        ...parameters,
        ...buffers,
        ...gradients,
        constant(table, [table.length / 3, 3]),
        constant(Uint32Array.from(tensors), [parameters.length, 3]),
        rate,
        ...(unscaling ? [unscaling.factor] : []),
      ]
      const outputs = larsOp(inputs, { momentum, weightDecay, coefficient })
      return [...parameters, ...buffers].map((target, i) => assign(target, outputs[i]))
    },
  }
}
