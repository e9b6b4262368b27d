/**
 * Points where a program leaves the device: the host takes tensors, works on them, and gives tensors back. The program
 * goes on with what does not depend on the result, so that the host and the device work at the same time.
 */
import type { Collective } from '../collective.js'
import type { Exchange, HostWork } from '../plan.js'
import { constant } from '../leaves.js'
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat } from './common.js'
import { gather } from './gather.js'

interface Departure {
  exchange: Exchange
}

interface Arrival extends Departure {
  shapes: readonly (readonly number[])[]
  /** The gradient in the value that departs, from the gradient in the one that arrives. */
  adjoint?(gradient: Value): Value
}

/** Departs as soon as its inputs are computed. Its output has no contents: it only stands for the departure. */
const departOp = defineOp<Departure>({
  name: 'depart',
  early: () => true,
  infer: (values) => {
    checkFloat('exchange', ...values)
    return [{ shape: [1], dtype: 'f32' }]
  },
  gradient: (_, [g]) => [g],
  lower: ({ inputs, attributes: { exchange } }, context) =>
    context.exchange(
      'depart',
      exchange,
      inputs.map((v) => ({ ...context.of(v), bytes: v.bytes })),
    ),
})

const arriveOp = defineOp<Arrival>({
  name: 'arrive',
  infer: (_, { shapes }) => shapes.map((shape) => ({ shape: [...shape], dtype: 'f32' })),
  gradient: ({ attributes: { adjoint } }, [g]) => {
    if (!adjoint) throw new Error('exchange: has no gradient')
    return [adjoint(g!)]
  },
  lower: ({ outputs, attributes: { exchange } }, context) =>
    context.exchange(
      'arrive',
      exchange,
      outputs.map((v) => ({ ...context.of(v), bytes: v.bytes })),
    ),
})

/**
 * Lets the host compute values from values in the middle of a program. Not differentiable.
 *
 * @param values f32
 * @param shapes of the results
 */
export function exchange(values: readonly Value[], shapes: readonly (readonly number[])[], work: HostWork): Value[] {
  if (values.length === 0) throw new ShapeError('exchange: needs at least one value')
  const made = { work }
  return arriveOp(departOp(values, { exchange: made }), { exchange: made, shapes })
}

/** As `exchange`, of one value to one, with a gradient. */
function differentiable(
  x: Value,
  shape: readonly number[],
  work: HostWork,
  adjoint: (gradient: Value) => Value,
): Value {
  const made = { work }
  return arriveOp(departOp([x], { exchange: made }), { exchange: made, shapes: [shape], adjoint })[0]
}

/**
 * The sums over all ranks of some values, in one exchange. Not differentiable.
 *
 * @param values f32, of the same shapes on all ranks
 * @returns values of these shapes
 */
export const summed = (values: readonly Value[], collective: Collective): Value[] =>
  exchange(
    values,
    values.map(({ shape }) => shape),
    (data) => collective.allReduce(data),
  )

/**
 * The sum over all ranks of each rank's share of a term of the loss, for a loss that every rank then computes whole. As
 * the whole loss counts once, its gradient in a share is its gradient in the sum.
 *
 * @param share f32, of the same shape on all ranks
 */
export const sumOfShares = (share: Value, collective: Collective): Value =>
  differentiable(
    share,
    share.shape,
    (data) => collective.allReduce(data),
    (gradient) => gradient,
  )

/**
 * The embeddings of all ranks in the order that one rank with all images has, for a loss that every rank computes whole.
 * The gradient in a rank's own rows is that part of the gradient in all rows.
 *
 * @param z [views · B, d] view-major: the images of this rank
 * @returns [views · size · B, d] view-major: in each view the images of rank 0, then those of rank 1, …
 */
export function gatheredRows(z: Value, views: number, collective: Collective): Value {
  const { rank, size } = collective
  const [rows, width] = z.shape
  if (z.shape.length !== 2 || rows % views)
    throw new ShapeError(`gatheredRows: ${views} views do not divide the rows of ${show(z.shape)}`)
  const images = rows / views
  const block = images * width
  const work: HostWork = async (data) => {
    const byRank = await collective.allGather(data)
    const byView = new Float32Array(byRank.length)
    for (let r = 0; r < size; r++)
      for (let v = 0; v < views; v++) {
        const from = (r * views + v) * block
        byView.set(byRank.subarray(from, from + block), (v * size + r) * block)
      }
    return byView
  }
  const own = Uint32Array.from(
    { length: rows },
    (_, row) => (Math.floor(row / images) * size + rank) * images + (row % images),
  )
  return differentiable(z, [size * rows, width], work, (gradient) => gather(gradient, constant(own)))
}
