/** Where tensors come from: inputs given at each run, constants, and Variables that outlive programs. */
import { attach, checkShape, sizeOf, ShapeError, show, Value, type DType, type Op } from './value.js'

const atLeaf = (): never => {
  throw new Error('a source is placed by the lowering, not lowered')
}

export const inputOp: Op<{ name: string }> = { name: 'input', infer: () => [], lower: atLeaf }
export const constantOp: Op<{ data: TypedArray }> = { name: 'constant', infer: () => [], lower: atLeaf }
export const variableOp: Op<{ variable: Variable }> = { name: 'variable', infer: () => [], lower: atLeaf }

export type TypedArray = Float32Array | Uint32Array

const leafOps = new Set<unknown>([inputOp, constantOp, variableOp])
export const isLeaf = (op: unknown): boolean => leafOps.has(op)

/** f16 is for what a program keeps within itself; what comes from outside or outlives it is f32 or u32. */
function checkHeld(what: string, dtype: DType): void {
  if (dtype === 'f16') throw new ShapeError(`${what}: is f32 or u32; \`cast\` makes f16 of it within a program`)
}

/** A tensor handed to `program.run({ [name]: data })`, for what changes each step. */
export function input(name: string, shape: readonly number[], dtype: DType = 'f32'): Value {
  checkShape(`input '${name}'`, shape)
  checkHeld(`input '${name}'`, dtype)
  return attach(inputOp, [], { name }, [new Value({ shape: [...shape], dtype })])[0]
}

/** A tensor fixed when the graph is built; uploaded once per program. */
export function constant(data: TypedArray | readonly number[], shape: readonly number[] = [data.length]): Value {
  const array = data instanceof Uint32Array ? data : Float32Array.from(data)
  if (array.length !== sizeOf(shape))
    throw new ShapeError(`constant: ${array.length} numbers do not fill shape ${show(shape)}`)
  const dtype = array instanceof Uint32Array ? 'u32' : 'f32'
  return attach(constantOp, [], { data: array }, [new Value({ shape: [...shape], dtype })])[0]
}

/** How a Variable starts: numbers, or a function that makes them when its buffer is first needed. */
export type Initial = TypedArray | (() => TypedArray)

/**
 * A tensor that outlives programs: parameters, optimiser moments, running statistics, counters.
 * It is a Value, so it is used in graphs as it is; `assign` is what changes it.
 */
export class Variable extends Value {
  readonly name: string
  readonly initial: Initial
  /** Set where several Variables share one buffer, so that one dispatch can update them all. */
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

/** A Variable; without `initial` it starts at zero. */
export function variable(name: string, shape: readonly number[], initial?: Initial, dtype: DType = 'f32'): Variable {
  const zeros = (): TypedArray => (dtype === 'u32' ? new Uint32Array(sizeOf(shape)) : new Float32Array(sizeOf(shape)))
  return new Variable(name, shape, initial ?? zeros, dtype)
}

/** Binding offsets align to this in every WebGPU implementation. */
export const ALIGNMENT = 256

export const align = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

/** Variables laid one behind the other in one buffer, each at an aligned offset; nobody reads the gaps. */
export class Arena {
  readonly bytes: number
  constructor(readonly variables: readonly Variable[]) {
    let offset = 0
    for (const v of variables) {
      if (v.arena) throw new Error(`variable '${v.name}' is in an arena already`)
      v.arena = { arena: this, offset }
      offset += align(v.bytes)
    }
    this.bytes = offset
  }
}

/** The only effect a program has: after it has run, `variable` holds `value`. */
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
