/** Sharpness-aware and extragradient steps, against closed forms in f64. */
import { expect, test } from 'vitest'
import {
  adam,
  add,
  Arena,
  extragradient,
  gradients,
  input,
  matmul,
  multiply,
  scale,
  sgd,
  sharpnessAware,
  square,
  substituted,
  sum,
  variable,
  type Optimizer,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { expectClose, runGraph } from '../support/check.js'
import { engine } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'
import * as reference from '../support/reference/index.js'

const D = 5
const M = formulaTensor('second/M', [D, D])
const start = [formulaTensor('second/a', [1, D]), formulaTensor('second/b', [3])]
const [RATE, STEPS] = [0.05, 3]

/** L(a, b) = ½ ‖a M‖² + ⅓ Σ b³. */
const lossOf = (a: Value, b: Value): Value =>
  add(scale(sum(square(matmul(a, input('M', [D, D])))), 0.5), scale(sum(multiply(square(b), b)), 1 / 3))

/** ∇L = (a M Mᵀ, b²). */
function gradientOf([a, b]: readonly Float64Array[]): Float64Array[] {
  const y = Float64Array.from({ length: D }, (_, j) => a.reduce((total, x, i) => total + x * M[i * D + j], 0))
  return [Float64Array.from(a, (_, i) => y.reduce((total, v, j) => total + v * M[i * D + j], 0)), b.map((x) => x * x)]
}

/** a and b after some steps on the device. */
async function trained(
  make: (parameters: Variable[]) => Optimizer,
  second: (loss: Value, parameters: Variable[], optimizer: Optimizer, rate: Value) => Value[],
): Promise<Float32Array[]> {
  const gpu = await engine()
  const parameters = [variable('a', [1, D], start[0]), variable('b', [3], start[1])]
  new Arena(parameters)
  const optimizer = make(parameters)
  const rate = input('rate', [1])
  const loss = lossOf(parameters[0], parameters[1])
  const program = await gpu.compile({ updates: optimizer.updates(second(loss, parameters, optimizer, rate), rate) })
  for (let step = 0; step < STEPS; step++) await program.run({ M, rate: Float32Array.of(RATE) })
  const read = [await gpu.read(parameters[0]), await gpu.read(parameters[1])]
  program.destroy()
  for (const v of [...parameters, ...optimizer.state]) gpu.release(v)
  return read
}

const wide = (): Float64Array[] => start.map((x) => Float64Array.from(x))

test('SAM takes the gradient at w + ρ g / ‖g‖', async () => {
  const radius = 0.3
  const read = await trained(
    (p) => sgd(p, { momentum: 0.9 }),
    (loss, p) => sharpnessAware(loss, p, { radius }),
  )
  const w = wide()
  const velocity = w.map((x) => new Float64Array(x.length))
  for (let step = 0; step < STEPS; step++) {
    const here = gradientOf(w)
    const norm = Math.hypot(...here.flatMap((g) => [...g]))
    const there = gradientOf(w.map((x, i) => x.map((v, j) => v + (radius * here[i][j]) / norm)))
    w.forEach((x, i) =>
      reference.sgd(x, there[i], velocity[i], { momentum: 0.9, nesterov: false, weightDecay: 0, lr: RATE }),
    )
  }
  read.forEach((value, i) => expectClose(`parameter ${i}`, value, w[i], 1e-5))
})

test('the extragradient takes the gradient where a step of Adam leads, and Adam’s moments take only that one', async () => {
  const options = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1 }
  const read = await trained((p) => adam(p, options), extragradient)
  const w = wide()
  const states = w.map((x) => ({ m: new Float64Array(x.length), v: new Float64Array(x.length) }))
  for (let step = 1; step <= STEPS; step++) {
    const here = gradientOf(w)
    const away = w.map((x, i) => {
      const [copy, state] = [x.slice(), { m: states[i].m.slice(), v: states[i].v.slice() }]
      reference.adam(copy, here[i], state, step, { ...options, lr: RATE })
      return copy
    })
    const there = gradientOf(away)
    w.forEach((x, i) => reference.adam(x, there[i], states[i], step, { ...options, lr: RATE }))
  }
  read.forEach((value, i) => expectClose(`parameter ${i}`, value, w[i], 3e-5))
})

test('a graph with replaced Values keeps what does not depend on them', async () => {
  const [x, y] = [input('x', [3]), input('y', [3])]
  const [kept, product] = [square(y), multiply(x, y)]
  const [again, other] = substituted([kept, product], new Map([[x, scale(y, 2)]]))
  expect(again).toBe(kept)
  const read = await runGraph({ other }, { y: Float32Array.of(1, 2, 3) })
  expect([...read.other]).toEqual([2, 8, 18])
})

test('a radius of 0 is an error', () => {
  const w = variable('w', [3])
  const loss = sum(square(w))
  expect(gradients(loss, [w])).toHaveLength(1)
  expect(() => sharpnessAware(loss, [w], { radius: 0 })).toThrow(/sharpnessAware.*0 must be above 0/)
})
