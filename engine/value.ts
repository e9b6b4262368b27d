/**
 * Values and the ops that make them. Building a network is calling functions on Values;
 * nothing runs until a graph is compiled into a Program.
 */
import type { LoweringContext } from './lowering_context.js'

/** f16 is a way to store activations and their gradients: every kernel computes in f32. */
export type DType = 'f32' | 'f16' | 'u32'

export const bytesOf: Record<DType, number> = { f32: 4, f16: 2, u32: 4 }

/** What is known of a tensor before anything runs. */
export interface TensorSpec {
  readonly shape: readonly number[]
  readonly dtype: DType
}

/**
 * One kind of computation: its shape rule, its gradient as more graph, and its lowering to kernels.
 * An op is this one object, and nothing else in the engine knows about it. engine/README.md lists the steps to add one.
 */
export interface Op<A = unknown> {
  readonly name: string
  /** Which inputs have the batch as their first dimension: the tuner measures variants on fewer rows of these. */
  readonly batched?: readonly number[]
  /** Shapes and dtypes of the outputs; throws a ShapeError that names the op and the shapes. */
  infer(inputs: readonly Value[], attributes: A): TensorSpec[]
  /**
   * The gradient of the loss in each input, as graph Values, from its gradient in each output
   * (undefined where the loss does not depend on that output). Absent: the op is not differentiable.
   */
  gradient?(node: Node<A>, outputGradients: readonly (Value | undefined)[]): (Value | undefined)[]
  /** Emits the dispatches that compute the outputs from the inputs. */
  lower(node: Node<A>, context: LoweringContext): void
}

/** One application of an op. `id` grows with creation, so ascending ids are a topological order. */
export interface Node<A = unknown> {
  readonly id: number
  readonly op: Op<A>
  readonly inputs: readonly Value[]
  readonly attributes: A
  readonly outputs: readonly Value[]
}

/** A tensor in the graph: a shape, a dtype, and the node that makes it. */
export class Value implements TensorSpec {
  readonly shape: readonly number[]
  readonly dtype: DType
  /** The node whose output number `output` this is. */
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

/** `[3, 5]` as people write it; of what is too long to be a shape (data in its place, say), the beginning. */
export const show = (shape: readonly number[]): string =>
  shape.length > 8 ? `[${shape.slice(0, 8).join(', ')}, … ${shape.length} numbers]` : `[${shape.join(', ')}]`

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i])

/** Throws unless `shape` is a list of positive whole numbers; plain JavaScript may leave one out. */
export function checkShape(what: string, shape: readonly number[] | undefined): asserts shape is readonly number[] {
  if (!Array.isArray(shape)) throw new ShapeError(`${what}: its shape is missing: give a list of whole numbers`)
  if (!shape.every((n) => Number.isInteger(n) && n > 0))
    throw new ShapeError(`${what}: shape ${show(shape)} must be whole numbers of at least 1`)
}

let nextId = 1

/** Applies an op: checks shapes, makes the node, returns its outputs. */
export function apply<A>(op: Op<A>, inputs: readonly Value[], attributes: A): Value[] {
  return attach(
    op,
    inputs,
    attributes,
    op.infer(inputs, attributes).map((spec) => new Value(spec)),
  )
}

/** Makes the node for outputs that exist already (Variables are Values of their own class). */
export function attach<A>(op: Op<A>, inputs: readonly Value[], attributes: A, outputs: Value[]): Value[] {
  const node: Node<A> = { id: nextId++, op, inputs, attributes, outputs }
  outputs.forEach((value, i) => {
    checkShape(op.name, value.shape)
    value.node = node as Node
    value.output = i
  })
  return outputs
}

/** All nodes that `values` depend on, in the order in which they were made (a topological order). */
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
 * Makes a function of graph Values out of an op. Ops with one output usually wrap the result:
 * `export const relu = (x: Value) => reluOp([x], {})[0]`.
 */
export function defineOp<A>(op: Op<A>): ((inputs: readonly Value[], attributes: A) => Value[]) & { op: Op<A> } {
  return Object.assign((inputs: readonly Value[], attributes: A) => apply(op, inputs, attributes), { op })
}
