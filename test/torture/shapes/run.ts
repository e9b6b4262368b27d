/** Runs one case on an engine and compares every number with its bound. */
import { input, type Engine, type Value } from '../../../engine/index.js'
import { isLeaf } from '../../../engine/leaves.js'
import { reachable } from '../../../engine/value.js'
import { EPSILON } from './bounded.js'
import type { Case, Expected } from './case.js'

/** Numbers below the normal ones of f32 may be flushed to zero. */
const DENORMAL = 2 ** -126

/** What the comparison found. */
export interface Compared {
  /** The largest error as a share of its bound. */
  worst: number
  /** The result that has it. */
  worstIn: string
  /** How many numbers were compared. */
  numbers: number
  /** How many of them have no finite bound, because rounding decides them. */
  unbounded: number
  /** Kernels that ran, and ops of the graph. */
  kernels: readonly string[]
  ops: readonly string[]
  /** The largest share by more than 1, in words. */
  failure?: string
}

/** The names of the ops in a graph. Inputs, constants and Variables are none. */
export function opsOf({ outputs = {}, updates = [] }: ReturnType<Case['graph']>): string[] {
  const nodes = reachable([...Object.values(outputs), ...updates.map(({ value }) => value)])
  return [...new Set(nodes.filter(({ op }) => !isLeaf(op)).map(({ op }) => op.name))]
}

/** The graph of a case. */
export function graphOf(given: Case): ReturnType<Case['graph']> {
  const values = Object.entries(given.inputs).map(([name, { shape, data }]): [string, Value] => [
    name,
    input(name, shape, data instanceof Uint32Array ? 'u32' : 'f32'),
  ])
  return given.graph(Object.fromEntries(values))
}

const gapOf = (actual: number, value: number): number => (Object.is(actual, value) ? 0 : Math.abs(actual - value))

function compare(name: string, actual: ArrayLike<number>, { value, error, shape }: Expected, into: Compared): void {
  if (actual.length !== value.length) {
    into.worst = Infinity
    into.failure = `${name} has ${actual.length} numbers, not ${value.length} of [${shape.join(', ')}]`
    return
  }
  for (let i = 0; i < value.length; i++) {
    into.numbers++
    if (error[i] === Infinity) {
      into.unbounded++
      continue
    }
    const bound = EPSILON * error[i] + (error[i] > 0 ? DENORMAL : 0)
    const gap = gapOf(actual[i], value[i])
    const share = gap === 0 ? 0 : bound > 0 ? gap / bound : Infinity
    // A NaN is a failure, too.
    if (share <= into.worst) continue
    into.worst = Number.isNaN(share) ? Infinity : share
    into.worstIn = name
    if (share <= 1) continue
    into.failure = `${name} [${shape.join(', ')}] at ${i}: ${actual[i]}, expected ${value[i]} ± ${bound.toExponential(1)}`
    if (into.worst === Infinity) return
  }
}

/** @throws Error if the graph cannot be built, lowered or run */
export async function runCase(engine: Engine, given: Case): Promise<Compared> {
  const { outputs = {}, updates = [], variables = {} } = graphOf(given)
  const owned = new Set([...updates.map(({ variable }) => variable), ...Object.values(variables)])
  const program = await engine.compile({ outputs, updates })
  try {
    const used = [...program.plan.inputs.keys()]
    const data = Object.fromEntries(used.map((name) => [name, given.inputs[name].data]))
    // What an earlier run has left in memory must not matter: a number that is read before it is written becomes NaN.
    if (updates.length === 0) await program.run(Object.fromEntries(used.map((name) => [name, spoilt(data[name])])))
    await program.run(data)
    const found: Compared = {
      worst: 0,
      worstIn: '',
      numbers: 0,
      unbounded: 0,
      kernels: [...new Set(program.plan.dispatches.map(({ kernel }) => kernel))],
      ops: opsOf({ outputs, updates }),
    }
    for (const [name, expected] of Object.entries(given.expected())) {
      const actual = name in outputs ? await program.read(name) : await engine.read(variables[name])
      compare(name, actual, expected, found)
    }
    return found
  } finally {
    program.destroy()
    for (const variable of owned) engine.release(variable)
  }
}

const spoilt = (data: Float32Array | Uint32Array): Float32Array | Uint32Array =>
  data instanceof Float32Array ? new Float32Array(data.length).fill(NaN) : data
