/**
 * Optimisers as ops of the graph. If parameters, moments and gradients lie in arenas of the same layout, one dispatch
 * updates all tensors, or as many as fit a binding.
 */
import type { LoweringContext } from '../lowering_context.js'
import { part, resolve, type Slice } from '../plan.js'
import { Arena, assign, variable, type Assignment, type Variable } from '../leaves.js'
import { defineOp, ShapeError, type Node, type Value } from '../value.js'
import { add, affine } from './elementwise.js'
import type { Unscaling } from './loss_scale.js'
import { extentsOf } from './segments.js'

/** A range of memory that one dispatch updates, in whole vec4s. It may include the gaps of an arena. */
export interface Piece {
  slices: Slice[]
  count4: number
}

/**
 * The pieces that an update consists of. Neighbouring tensors that lie at the same distances in every column belong to
 * one piece, with the gaps between them.
 *
 * @param columns lists of equally many tensors (parameters, moments, gradients)
 * @param offsets of the tensors in an arena, in bytes
 */
export function pieces(
  context: LoweringContext,
  columns: readonly (readonly Slice[])[],
  offsets: readonly number[],
): Piece[] {
  const places = columns.map((column) => column.map(resolve))
  const follows = (first: number, i: number): boolean =>
    places.every(
      (column) =>
        column[i].storage === column[first].storage &&
        column[i].offset - column[first].offset === offsets[i] - offsets[first],
    )
  const list: Piece[] = []
  for (let first = 0, next: number; first < offsets.length; first = next) {
    for (next = first + 1; next < offsets.length && follows(first, next);) next++
    const bytes = offsets[next - 1] - offsets[first] + places[0][next - 1].bytes
    for (const { start, count } of context.rows(Math.ceil(bytes / 16), 16))
      list.push({
        slices: places.map((column) => part({ ...column[first], bytes }, 16 * start, 16 * count)),
        count4: count,
      })
  }
  return list
}

/**
 * The columns [parameters, states…, gradients] of an update. Parameters and states are updated in place. The gradients
 * get the layout of the parameters, if they can be moved.
 *
 * @param node inputs: n parameters, n of each state, n gradients, …; outputs: parameters, states
 */
export function columnsOf(node: Node, context: LoweringContext, n: number, states: number): Slice[][] {
  const gradients = node.inputs.slice(n * (1 + states), n * (2 + states))
  const { extents, bytes } = extentsOf(node.inputs.slice(0, n))
  context.colocate(
    gradients,
    extents.map(({ offset }) => offset),
    bytes,
  )
  const inPlace = Array.from({ length: 1 + states }, (_, s) =>
    Array.from({ length: n }, (_, i) => context.inPlace(node.outputs[s * n + i], node.inputs[s * n + i])),
  )
  return [...inPlace, gradients.map((g) => context.of(g))]
}

/** The pieces of an update of n parameters and their states. */
function prepare(node: Node, context: LoweringContext, n: number, states: number): Piece[] {
  const { extents } = extentsOf(node.inputs.slice(0, n))
  return pieces(
    context,
    columnsOf(node, context, n, states),
    extents.map(({ offset }) => offset),
  )
}

interface AdamAttributes {
  beta1: number
  beta2: number
  epsilon: number
  weightDecay: number
  decoupled: boolean
}

/** Inputs: parameters…, m…, v…, gradients…, rate, step (, factor). Outputs: parameters…, m…, v…. */
export const adamOp = defineOp<AdamAttributes>({
  name: 'adam',
  infer: (inputs) =>
    inputs.slice(0, 3 * Math.floor((inputs.length - 2) / 4)).map(({ shape, dtype }) => ({ shape, dtype })),
  lower: (node, context) => {
    const n = Math.floor((node.inputs.length - 2) / 4)
    const { beta1, beta2, epsilon, weightDecay, decoupled } = node.attributes
    const [rate, step, factor] = node.inputs.slice(4 * n)
    for (const { slices, count4 } of prepare(node as Node, context, n, 2))
      context.dispatch({
        kernel: 'adam',
        constants: { DECOUPLED: decoupled, SCALED: !!factor },
        params: {
          count4,
          beta1,
          beta2,
          rest1: 1 - beta1,
          rest2: 1 - beta2,
          log_beta1: Math.log(beta1),
          log_beta2: Math.log(beta2),
          epsilon,
          decay: weightDecay,
        },
        buffers: {
          parameters: slices[0],
          m: slices[1],
          v: slices[2],
          gradients: slices[3],
          rate: context.of(rate),
          step: context.of(step),
          factor: factor && context.of(factor),
        },
        workgroups: [context.grid(count4, 64)],
      })
  },
})

interface SgdAttributes {
  momentum: number
  weightDecay: number
  nesterov: boolean
}

/** Inputs: parameters…, buffers…, gradients…, rate (, factor). Outputs: parameters…, buffers…. */
export const sgdOp = defineOp<SgdAttributes>({
  name: 'sgd',
  infer: (inputs) =>
    inputs.slice(0, 2 * Math.floor((inputs.length - 1) / 3)).map(({ shape, dtype }) => ({ shape, dtype })),
  lower: (node, context) => {
    const n = Math.floor((node.inputs.length - 1) / 3)
    const { momentum, weightDecay, nesterov } = node.attributes
    const [rate, factor] = node.inputs.slice(3 * n)
    for (const { slices, count4 } of prepare(node as Node, context, n, 1))
      context.dispatch({
        kernel: 'sgd',
        constants: { NESTEROV: nesterov, SCALED: !!factor },
        params: { count4, momentum, decay: weightDecay },
        buffers: {
          parameters: slices[0],
          buffer: slices[1],
          gradients: slices[2],
          rate: context.of(rate),
          factor: factor && context.of(factor),
        },
        workgroups: [context.grid(count4, 64)],
      })
  },
})

/** An optimiser: its Variables, and the updates for given gradients and a learning rate. */
export interface Optimizer {
  /** Moments and counters, which a checkpoint keeps beside the parameters. */
  readonly state: readonly Variable[]
  /**
   * @param rate the learning rate, a scalar [1], usually an `input`
   * @param unscaling for gradients of a scaled loss: they are unscaled, and nothing changes if they overflowed
   */
  updates(gradients: readonly Value[], rate: Value, unscaling?: Unscaling): Assignment[]
}

/** Variables of the parameters' shapes, initially zero, in an arena of the same layout. */
export function moments(parameters: readonly Variable[], name: string): Variable[] {
  const list = parameters.map((p) => variable(`${p.name}.${name}`, p.shape))
  new Arena(list)
  return list
}

/** Throws unless there is one gradient of the right size for each parameter. */
export function checkGradients(parameters: readonly Variable[], gradients: readonly Value[]): void {
  gradients.forEach((g, i) => {
    if (g.size !== parameters[i]?.size)
      throw new ShapeError(`optimizer: gradient ${i} has ${g.size} numbers, its parameter ${parameters[i]?.size}`)
  })
  if (gradients.length !== parameters.length)
    throw new ShapeError(`optimizer: ${gradients.length} gradients for ${parameters.length} parameters`)
}

/**
 * Adam (Kingma & Ba 2015), with weight decay added to the gradient, as in PyTorch's Adam. With `decoupled`, AdamW
 * (Loshchilov & Hutter 2019). The count of steps is a Variable, too.
 */
export function adam(
  parameters: readonly Variable[],
  { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, decoupled = false }: Partial<AdamAttributes> = {},
): Optimizer {
  const m = moments(parameters, 'adam_m')
  const v = moments(parameters, 'adam_v')
  // The name contains a parameter's name, because one checkpoint may contain two optimisers.
  const step = variable(`${parameters[0]?.name}.adam_step`, [1])
  return {
    state: [...m, ...v, step],
    updates: (gradients, rate, unscaling) => {
      checkGradients(parameters, gradients)
      const next = unscaling ? add(step, unscaling.applied) : affine(step, 1, 1)
      const factor = unscaling ? [unscaling.factor] : []
      const attributes = { beta1, beta2, epsilon, weightDecay, decoupled }
      const outputs = adamOp([...parameters, ...m, ...v, ...gradients, rate, next, ...factor], attributes)
      return [...[...parameters, ...m, ...v].map((target, i) => assign(target, outputs[i])), assign(step, next)]
    },
  }
}

/** Adam with decoupled weight decay. */
export const adamW = (
  parameters: readonly Variable[],
  options: Partial<Omit<AdamAttributes, 'decoupled'>> = {},
): Optimizer => adam(parameters, { weightDecay: 0.01, ...options, decoupled: true })

/** Stochastic gradient descent with momentum, and with weight decay added to the gradient, as in PyTorch's SGD. */
export function sgd(
  parameters: readonly Variable[],
  { momentum = 0, weightDecay = 0, nesterov = false }: Partial<SgdAttributes> = {},
): Optimizer {
  const buffers = moments(parameters, 'sgd_momentum')
  return {
    state: buffers,
    updates: (gradients, rate, unscaling) => {
      checkGradients(parameters, gradients)
      const factor = unscaling ? [unscaling.factor] : []
      const inputs = [...parameters, ...buffers, ...gradients, rate, ...factor]
      const outputs = sgdOp(inputs, { momentum, weightDecay, nesterov })
      return [...parameters, ...buffers].map((target, i) => assign(target, outputs[i]))
    },
  }
}
