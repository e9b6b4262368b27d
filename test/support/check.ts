/** Compares the value and the gradients of an op with its f64 reference. */
import { expect, test } from 'vitest'
import { gradients, input, multiply, sum, type Value } from '../../engine/index.js'
import { engine } from './engine.js'
import { formulaTensor } from './formula.js'
import { dot, tensor64, type Tensor64 } from './reference/index.js'

type Tensors<K extends string, T> = Record<K, T>

export interface OpCheck<K extends string> {
  /** Shapes of the differentiable inputs by name. */
  inputs: Tensors<K, number[]>
  /** The op under test on graph Values. */
  build(values: Tensors<K, Value>): Value
  /** The same in f64. */
  reference(tensors: Tensors<K, Tensor64>): Tensor64
  /** Maps the roughly normal values of an input into the op's domain. */
  domain?(value: number, name: K): number
  /** The largest error of the value, relative to its largest magnitude; 1e-5 by default. */
  tolerance?: number
  /** The same for the gradients; 1e-3 by default. */
  gradientTolerance?: number
}

/** The bound on max|error| / max|gradient|. */
const GRADIENT_TOLERANCE = 1e-3
const H = 1e-5

/**
 * A test of one op on one set of shapes. It compares the f32 value with the f64 reference, and the gradient of sum(y *
 * r), r random, in every input with central differences of the reference. Only coordinates within h of a kink are left
 * out. There the two one-sided differences disagree.
 */
export function checkOp<K extends string>(name: string, check: OpCheck<K>): void {
  test(name, async () => {
    const names = Object.keys(check.inputs) as K[]
    const given = Object.fromEntries(
      names.map((key) => {
        const values = formulaTensor(`${name}/${key}`, check.inputs[key])
        return [key, check.domain ? values.map((v) => check.domain!(v, key)) : values]
      }),
    ) as Tensors<K, Float32Array>

    const tensors = names.map((key) => tensor64(check.inputs[key], given[key]))
    const f = (moved: readonly Tensor64[]): Tensor64 =>
      check.reference(Object.fromEntries(names.map((key, i) => [key, moved[i]])) as Tensors<K, Tensor64>)
    const expected = f(tensors)
    const r = formulaTensor(`${name}/r`, expected.shape)

    const gpu = await runOp(check.inputs, check.build, given, r)
    expect(gpu.shape, 'shape of the value').toEqual(expected.shape.length ? expected.shape : [1])
    expectClose('value', gpu.value, expected.data, check.tolerance ?? 1e-5)

    names.forEach((key, which) => {
      const { gradient, kinks } = differences((moved) => dot(f(moved), r), tensors, which)
      expect(kinks.size / gradient.length, `share of ${key} at a kink`).toBeLessThan(0.02)
      expectClose(
        `gradient in ${key}`,
        gpu.gradients[key],
        gradient,
        check.gradientTolerance ?? GRADIENT_TOLERANCE,
        kinks,
      )
    })
  })
}

/** The value of an op and the gradients of sum(y * r), in one program. */
export async function runOp<K extends string>(
  shapes: Tensors<K, readonly number[]>,
  build: (values: Tensors<K, Value>) => Value,
  given: Tensors<K, Float32Array>,
  r: Float32Array,
): Promise<{ shape: number[]; value: Float32Array; gradients: Tensors<K, Float32Array> }> {
  const names = Object.keys(shapes) as K[]
  const values = Object.fromEntries(names.map((key) => [key, input(key, shapes[key])])) as Tensors<K, Value>
  const y = build(values)
  const loss = sum(multiply(y, input('r of the test', y.shape)))
  const outputs: Record<string, Value> = { y }
  gradients(
    loss,
    names.map((key) => values[key]),
  ).forEach((g, i) => (outputs[`gradient ${names[i]}`] = g))
  const program = await (await engine()).compile({ outputs })
  try {
    await program.run({ ...given, 'r of the test': r })
    const read: Partial<Tensors<K, Float32Array>> = {}
    for (const key of names) read[key] = await program.read(`gradient ${key}`)
    return { shape: [...y.shape], value: await program.read('y'), gradients: read as Tensors<K, Float32Array> }
  } finally {
    program.destroy()
  }
}

/** The value of a graph without its gradients. */
export async function runGraph(
  outputs: Record<string, Value>,
  given: Record<string, Float32Array | Uint32Array>,
): Promise<Record<string, Float32Array>> {
  const program = await (await engine()).compile({ outputs })
  try {
    await program.run(given)
    const read: Record<string, Float32Array> = {}
    for (const name of Object.keys(outputs)) read[name] = await program.read(name)
    return read
  } finally {
    program.destroy()
  }
}

/** Central differences in every coordinate of one tensor, and the coordinates with a kink within h. */
function differences(
  f: (tensors: Tensor64[]) => number,
  tensors: readonly Tensor64[],
  which: number,
): { gradient: Float64Array; kinks: Set<number> } {
  const moved = tensors.map((x) => ({ shape: x.shape, data: x.data.slice() }))
  const { data } = moved[which]
  const here = f(moved)
  const jumps = new Float64Array(data.length)
  const gradient = jumps.map((_, i) => {
    const value = data[i]
    data[i] = value + H
    const above = f(moved)
    data[i] = value - H
    const below = f(moved)
    data[i] = value
    jumps[i] = Math.abs(above + below - 2 * here) / H
    return (above - below) / (2 * H)
  })
  const top = largest(gradient)
  return { gradient, kinks: new Set([...jumps.keys()].filter((i) => jumps[i] > 0.02 * top)) }
}

const largest = (values: ArrayLike<number>): number => {
  let top = 0
  for (let i = 0; i < values.length; i++) top = Math.max(top, Math.abs(values[i]))
  return top
}

/** max|actual - expected| / max|expected| <= tolerance; a NaN anywhere fails. */
export function expectClose(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  except: ReadonlySet<number> = new Set(),
): void {
  expect(actual.length, `size of the ${what}`).toBe(expected.length)
  const top = Math.max(largest(expected), 1e-30)
  let worst = 0
  let where = -1
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]) / top
    if (!except.has(i) && !(error <= worst)) [worst, where] = [error, i]
    if (Number.isNaN(worst)) break
  }
  expect(worst, `${what}: worst at ${where}, ${actual[where]} for ${expected[where]}`).toBeLessThanOrEqual(tolerance)
}
