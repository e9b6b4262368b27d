/** The leaves of a graph: inputs that each run is given, constants, and Variables, which outlive programs. */
import { attach, checkShape, sizeOf, ShapeError, show, Value, type DType, type Op } from './value.js'

const atLeaf = (): never => {
  throw new Error('a leaf has no lowering of its own')
}

export const inputOp: Op<{ name: string }> = { name: 'input', infer: () => [], lower: atLeaf }
export const constantOp: Op<{ data: TypedArray }> = {
  name: 'constant',
  infer: () => [],
  scaled: ({ attributes: { data }, outputs: [value] }, factor) =>
    value.size === 1 ? constant([data[0] * factor], value.shape) : undefined,
  lower: atLeaf,
}
export const variableOp: Op<{ variable: Variable }> = { name: 'variable', infer: () => [], lower: atLeaf }

export type TypedArray = Float32Array | Uint32Array

const leafOps = new Set<unknown>([inputOp, constantOp, variableOp])
export const isLeaf = (op: unknown): boolean => leafOps.has(op)

/** Inputs and Variables are f32 or u32. f16 is only a storage format within a program. */
function checkHeld(what: string, dtype: DType): void {
  if (dtype === 'f16')
    throw new ShapeError(`${what}: must be f32 or u32; use \`cast\` within the program to store it as f16`)
}

/** A tensor that each run is given, as `program.run({ [name]: data })`. */
export function input(name: string, shape: readonly number[], dtype: DType = 'f32'): Value {
  checkShape(`input '${name}'`, shape)
  checkHeld(`input '${name}'`, dtype)
  return attach(inputOp, [], { name }, [new Value({ shape: [...shape], dtype })])[0]
}

/** A tensor whose numbers are fixed when the graph is built. Each program uploads it once. */
export function constant(data: TypedArray | readonly number[], shape: readonly number[] = [data.length]): Value {
  const array = data instanceof Uint32Array ? data : Float32Array.from(data)
  if (array.length !== sizeOf(shape))
    throw new ShapeError(`constant: ${array.length} numbers do not fill shape ${show(shape)}`)
  const dtype = array instanceof Uint32Array ? 'u32' : 'f32'
  return attach(constantOp, [], { data: array }, [new Value({ shape: [...shape], dtype })])[0]
}

/** Draws numbers in parts. Between parts it yields how many are drawn, and at the end it returns all of them. */
export type Drawing = Generator<number, TypedArray>

/**
 * The initial value of a Variable: numbers, or a function that gives them when the buffer is first needed. A function that
 * takes long should draw in parts, so that the event loop turns meanwhile.
 */
export type Initial = TypedArray | (() => TypedArray | Drawing)

/** The initial value as numbers. */
export function initialOf({ initial }: Variable): TypedArray {
  const given = typeof initial === 'function' ? initial() : initial
  if (!isDrawing(given)) return given
  for (;;) {
    const { done, value } = given.next()
    if (done) return value
  }
}

/** As `initialOf`, but the event loop turns between parts. @param onDrawn is told how many numbers are drawn */
export async function drawnInitialOf({ initial }: Variable, onDrawn: (count: number) => void): Promise<TypedArray> {
  const given = typeof initial === 'function' ? initial() : initial
  if (!isDrawing(given)) return given
  for (;;) {
    const { done, value } = given.next()
    if (done) return value
    onDrawn(value)
    await new Promise((resolve) => setTimeout(resolve, 0))
  }
}

const isDrawing = (given: TypedArray | Drawing): given is Drawing => 'next' in given

/**
 * A tensor that outlives programs: a parameter, an optimiser's moment, a running statistic, a counter. It is a Value,
 * so graphs use it directly. `assign` changes it.
 */
export class Variable extends Value {
  readonly name: string
  readonly initial: Initial
  /** Set if several Variables share one buffer, so that one dispatch can update them all. */
  arena?: { readonly arena: Arena; readonly offset: number }

  constructor(name: string, shape: readonly number[], initial: Initial, dtype: DType = 'f32') {
    checkShape(`variable '${name}'`, shape)
    checkHeld(`variable '${name}'`, dtype)
    super({ shape: [...shape], dtype })
    this.name = name
    this.initial = initial
    attach(variableOp, [], { variable: this }, [this])
  }
}

/** A Variable; its initial value is zero by default. */
export function variable(name: string, shape: readonly number[], initial?: Initial, dtype: DType = 'f32'): Variable {
  const zeros = (): TypedArray => (dtype === 'u32' ? new Uint32Array(sizeOf(shape)) : new Float32Array(sizeOf(shape)))
  return new Variable(name, shape, initial ?? zeros, dtype)
}

/** Binding offsets align to this in every WebGPU implementation. */
export const ALIGNMENT = 256

export const align = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

/** Variables one behind another in one buffer, each at an aligned offset. No kernel uses what is in the gaps. */
export class Arena {
  readonly bytes: number
  constructor(readonly variables: readonly Variable[]) {
    let offset = 0
    for (const v of variables) {
      if (v.arena) throw new Error(`variable '${v.name}' is already in an arena`)
      v.arena = { arena: this, offset }
      offset += align(v.bytes)
    }
    this.bytes = offset
  }
}

/** The only effect of a program: after each run, `variable` holds `value`. */
export interface Assignment {
  readonly variable: Variable
  readonly value: Value
}

export function assign(target: Variable, value: Value): Assignment {
  if (sizeOf(target.shape) !== value.size || target.dtype !== value.dtype)
    throw new ShapeError(
      `assign: variable '${target.name}' ${show(target.shape)} ${target.dtype} ` +
        `cannot take a value ${show(value.shape)} ${value.dtype}`,
    )
  return { variable: target, value }
}
