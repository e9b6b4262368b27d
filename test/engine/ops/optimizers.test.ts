/** Several steps of Adam, AdamW and SGD against the f64 reference. */
import { describe, expect, test } from 'vitest'
import { adam, adamW, Arena, input, sgd, variable, type Optimizer, type Variable } from '../../../engine/index.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import * as reference from '../../support/reference/index.js'

const shapes = { a: [3, 5], b: [130], c: [1], d: [3, 3, 5, 17] }
const names = Object.keys(shapes) as (keyof typeof shapes)[]
const STEPS = 4

/** Parameters after four steps of changing gradients and learning rates. */
async function trained(
  make: (parameters: Variable[]) => Optimizer,
  arena: boolean,
): Promise<Record<string, Float32Array>> {
  const gpu = await engine()
  const parameters = names.map((name) => variable(name, shapes[name], formulaTensor(`optimizer/${name}`, shapes[name])))
  if (arena) new Arena(parameters)
  const optimizer = make(parameters)
  const gradients = names.map((name) => input(`gradient ${name}`, shapes[name]))
  const program = await gpu.compile({ updates: optimizer.updates(gradients, input('rate', [1])) })
  for (let step = 1; step <= STEPS; step++)
    await program.run({
      rate: Float32Array.of(0.1 / step),
      ...Object.fromEntries(names.map((name) => [`gradient ${name}`, gradientOf(name, step)])),
    })
  const read = Object.fromEntries(await Promise.all(parameters.map(async (p) => [p.name, await gpu.read(p)] as const)))
  program.destroy()
  for (const v of [...parameters, ...optimizer.state]) gpu.release(v)
  return read
}

const gradientOf = (name: keyof typeof shapes, step: number): Float32Array =>
  formulaTensor(`optimizer/gradient/${step}/${name}`, shapes[name])

/** One parameter after a step of the reference; `step` counts from 1. */
function expected(
  name: keyof typeof shapes,
  advance: (w: Float64Array, g: Float64Array, step: number, lr: number) => void,
): Float64Array {
  const w = Float64Array.from(formulaTensor(`optimizer/${name}`, shapes[name]))
  for (let step = 1; step <= STEPS; step++)
    advance(w, Float64Array.from(gradientOf(name, step)), step, Math.fround(0.1 / step))
  return w
}

describe.each([
  ['in an arena', true],
  ['apart', false],
] as const)('parameters %s', (_, arena) => {
  const options = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }

  test.each([
    ['adam', adam, reference.adam],
    ['adamW', adamW, reference.adamW],
  ] as const)('%s', async (_name, make, advance) => {
    const weightDecay = 0.1
    const read = await trained((parameters) => make(parameters, { ...options, weightDecay }), arena)
    for (const name of names) {
      const state = { m: new Float64Array(read[name].length), v: new Float64Array(read[name].length) }
      const w = expected(name, (w, g, step, lr) => advance(w, g, state, step, { ...options, weightDecay, lr }))
      expectClose(`parameter ${name}`, read[name], w, 3e-5)
    }
  })

  test.each([
    [0, false],
    [0.9, false],
    [0.9, true],
  ])('sgd, momentum %s, nesterov %s', async (momentum, nesterov) => {
    const settings = { momentum, nesterov, weightDecay: 0.1 }
    const read = await trained((parameters) => sgd(parameters, settings), arena)
    for (const name of names) {
      const velocity = new Float64Array(read[name].length)
      const w = expected(name, (w, g, _step, lr) => reference.sgd(w, g, velocity, { ...settings, lr }))
      expectClose(`parameter ${name}`, read[name], w, 1e-5)
    }
  })
})

/**
 * The bias corrections 1 − βᵗ come from a series where βᵗ is near 1. With equal decays the first step is
 * −rate · g / (|g| + ε), so that any error of the series shows: here βᵗ = 0.61 lies just inside its end.
 */
test('the first step of adam does not depend on its decays', async () => {
  const gpu = await engine()
  const w = variable('w', [3, 5])
  const optimizer = adam([w], { beta1: 0.61, beta2: 0.1, epsilon: 1e-8 })
  const program = await gpu.compile({ updates: optimizer.updates([input('g', [3, 5])], input('rate', [1])) })
  const g = formulaTensor('optimizer/first step', [3, 5])
  await program.run({ g, rate: Float32Array.of(0.5) })
  const expected = Float64Array.from(g, (v) => (-0.5 * v) / (Math.abs(v) + 1e-8))
  ;(await gpu.read(w)).forEach((v, i) => expect(Math.abs(v / expected[i] - 1), `number ${i}`).toBeLessThan(1e-6))
  program.destroy()
  for (const v of [w, ...optimizer.state]) gpu.release(v)
})

test('gradients that do not fit the parameters are an error', () => {
  const optimizer = adam([variable('w', [3, 5])])
  expect(() => optimizer.updates([input('g', [3, 4])], input('rate', [1]))).toThrow(/optimizer.*12.*15/)
  expect(() => optimizer.updates([], input('rate', [1]))).toThrow(/optimizer.*0 gradients for 1/)
})
