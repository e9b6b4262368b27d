/** What a watch over many tensors reads: the sum of squares of each, and whether all their numbers are finite. */
import { constant } from '../leaves.js'
import { defineOp, type Value } from '../value.js'
import { checkFloat } from './common.js'
import { extentsOf, segmentRuns, segmentTable } from './segments.js'

/** Inputs: tensors…, the table of segments. Outputs: sums of squares, flags; one number for each segment. */
const tensorHealthOp = defineOp<object>({
  name: 'tensorHealth',
  infer: (inputs) => {
    const segments = inputs[inputs.length - 1].shape[0]
    return [
      { shape: [segments], dtype: 'f32' },
      { shape: [segments], dtype: 'u32' },
    ]
  },
  lower: ({ inputs, outputs: [sums, flags] }, context) => {
    const tensors = inputs.slice(0, -1)
    const segments = context.of(inputs[inputs.length - 1])
    const { extents } = extentsOf(tensors)
    for (const run of segmentRuns(context, [tensors.map((t) => context.of(t))], extents)) {
      const { slices, base, first } = run
      const [params, workgroups] = [{ first, base4: base / 16 }, [run.segments] as const]
      context.dispatch({
        kernel: 'squares',
        params,
        buffers: { x: slices[0], segments, sums: context.of(sums) },
        workgroups,
      })
      context.dispatch({
        kernel: 'finite',
        params,
        buffers: { x: slices[0], segments, overflow: context.of(flags) },
        workgroups,
      })
    }
  },
})

/** The parts of tensors that are summed alone. */
export interface TensorHealth {
  /** [segments] f32: the sum of squares of each segment. */
  readonly sums: Value
  /** [segments] u32: 1 where a segment holds an infinity or NaN, else 0. */
  readonly flags: Value
  /** [segments]: the index of the tensor that each segment belongs to. */
  readonly owners: Uint32Array
}

/**
 * Sums of squares, and flags for values that are not finite, of many tensors. Tensors are summed in segments.
 *
 * @param tensors f32
 */
export function tensorHealth(tensors: readonly Value[]): TensorHealth {
  checkFloat('tensorHealth', ...tensors)
  const table = segmentTable(tensors)
  const [sums, flags] = tensorHealthOp([...tensors, constant(table, [table.length / 3, 3])], {})
  return { sums, flags, owners: table.filter((_, i) => i % 3 === 2) }
}
