/**
 * Values, and the ops that make them. To build a network is to call functions on Values. Nothing runs until a graph is
 * compiled into a Program.
 */
import type { LoweringContext } from './lowering_context.js'

/** f16 is only a storage format for activations and their gradients: every kernel computes in f32. */
export type DType = 'f32' | 'f16' | 'u32'

export const bytesOf: Record<DType, number> = { f32: 4, f16: 2, u32: 4 }

/** What is known about a tensor before anything runs. */
export interface TensorSpec {
  readonly shape: readonly number[]
  readonly dtype: DType
}

/**
 * One kind of computation: its shape rule, its gradient as more nodes of the graph, and its lowering to kernels.
 * An op is this one object, and nothing else in the engine knows about it. engine/README.md lists the steps to add one.
 */
export interface Op<A = unknown> {
  readonly name: string
  /** The indices of the inputs whose first dimension is the batch. Tuning measures variants on fewer rows of these. */
  readonly batched?: readonly number[]
  /** Whether its nodes are lowered as soon as their inputs are computed, and not in the order of creation. */
  early?(attributes: A): boolean
  /** Shapes and dtypes of the outputs; throws a ShapeError that names the op and the shapes. */
  infer(inputs: readonly Value[], attributes: A): TensorSpec[]
  /**
   * The gradients of the loss in each input, as graph Values, from its gradients in each output. An output on which
   * the loss does not depend has undefined in place of a gradient. An op without this function is not differentiable.
   */
  gradient?(node: Node<A>, outputGradients: readonly (Value | undefined)[]): (Value | undefined)[]
  /**
   * The output times a number, for an op with one f32 output: the same node with other attributes, so that the factor
   * costs no dispatch. Undefined where the node cannot take it up.
   */
  scaled?(node: Node<A>, factor: number): Value | undefined
  /** Whether the output is a symmetric matrix, or a batch of them, where each input is one or a number for each matrix. */
  readonly keepsSymmetry?: boolean
  /** Records the dispatches that compute the outputs from the inputs. */
  lower(node: Node<A>, context: LoweringContext): void
}

/** One application of an op. Each new node gets a larger `id`, so ascending ids are a topological order. */
export interface Node<A = unknown> {
  readonly id: number
  readonly op: Op<A>
  readonly inputs: readonly Value[]
  readonly attributes: A
  readonly outputs: readonly Value[]
}

/** A tensor in the graph: a shape, a dtype, and the node that computes it. */
export class Value implements TensorSpec {
  readonly shape: readonly number[]
  readonly dtype: DType
  /** The node that has this value as its output number `output`. */
  node!: Node
  output = 0

  constructor(spec: TensorSpec) {
    this.shape = spec.shape
    this.dtype = spec.dtype
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }

  /** Size of the dense tensor in bytes. */
  get bytes(): number {
    return this.size * bytesOf[this.dtype]
  }
}

export class ShapeError extends Error {
  override name = 'ShapeError'
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** A shape as `[3, 5]`, for messages. Only the beginning of a long list, which is probably data and not a shape. */
export const show = (shape: readonly number[]): string =>
  shape.length > 8 ? `[${shape.slice(0, 8).join(', ')}, … ${shape.length} numbers]` : `[${shape.join(', ')}]`

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i])

/** Throws unless `shape` is a list of positive whole numbers. Callers in plain JavaScript may omit it. */
export function checkShape(what: string, shape: readonly number[] | undefined): asserts shape is readonly number[] {
  if (!Array.isArray(shape)) throw new ShapeError(`${what}: its shape is missing: give a list of whole numbers`)
  if (!shape.every((n) => Number.isInteger(n) && n > 0))
    throw new ShapeError(`${what}: shape ${show(shape)} must be whole numbers of at least 1`)
}

let nextId = 1

/** Applies an op: checks the shapes, makes the node and returns its outputs. */
export function apply<A>(op: Op<A>, inputs: readonly Value[], attributes: A): Value[] {
  return attach(
    op,
    inputs,
    attributes,
    op.infer(inputs, attributes).map((spec) => new Value(spec)),
  )
}

/** Makes the node of outputs that exist already: a Variable is a Value of its own class. */
export function attach<A>(op: Op<A>, inputs: readonly Value[], attributes: A, outputs: Value[]): Value[] {
  const node: Node<A> = { id: nextId++, op, inputs, attributes, outputs }
  outputs.forEach((value, i) => {
    checkShape(op.name, value.shape)
    value.node = node as Node
    value.output = i
  })
  return outputs
}

/** All nodes that `values` depend on, in the order of their creation, which is a topological order. */
export function reachable(values: Iterable<Value>): Node[] {
  const seen = new Set<Node>()
  const stack = [...values].map((v) => v.node)
  while (stack.length) {
    const node = stack.pop()!
    if (seen.has(node)) continue
    seen.add(node)
    for (const v of node.inputs) stack.push(v.node)
  }
  return [...seen].sort((a, b) => a.id - b.id)
}

/**
 * Turns an op into a function of graph Values that returns the list of outputs. An op with one output usually has a
 * wrapper: `export const relu = (x: Value) => reluOp([x], {})[0]`.
 */
export function defineOp<A>(op: Op<A>): ((inputs: readonly Value[], attributes: A) => Value[]) & { op: Op<A> } {
  return Object.assign((inputs: readonly Value[], attributes: A) => apply(op, inputs, attributes), { op })
}
