/** Several steps of LARS against the f64 reference. */
import { describe, expect, test } from 'vitest'
import { affine, Arena, clipByGlobalNorm, input, lars, variable, type Unscaling } from '../../../engine/index.js'
import { expectClose } from '../../support/check.js'
import { engine, engineFor } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import * as reference from '../../support/reference/index.js'

/**
 * Sizes that are not whole vec4s, so that an arena has gaps; one has two segments; `b` and `c` are exempt. Eight tensors
 * fill the memory of their factors q to its end.
 */
const shapes = { a: [3, 5], b: [130], c: [1], d: [129, 131], zero: [7, 3], small: [5, 3], e: [1, 2], f: [2, 1] }
type Name = keyof typeof shapes
const names = Object.keys(shapes) as Name[]
const options = { momentum: 0.9, weightDecay: 0.1, coefficient: 0.01 }
const STEPS = 3
/** Added to the inputs to give the gradients. It also fills the memory behind each gradient, where it must not count. */
const SHIFT = 1 / 64

/** The norms of `small` are far below 1. */
const size = (name: Name): number => (name === 'small' ? 1 / 64 : 1)

const initial = (name: Name): Float32Array =>
  formulaTensor(`lars/${name}`, shapes[name]).map((v) => (name === 'zero' ? 0 : size(name) * v))

const gradientOf = (name: Name, step: number): Float32Array =>
  formulaTensor(`lars/gradient/${step}/${name}`, shapes[name]).map((v) => size(name) * v)

function expected(name: Name): Float64Array {
  const w = Float64Array.from(initial(name))
  const velocity = new Float64Array(w.length)
  const exempt = shapes[name].length === 1
  for (let step = 1; step <= STEPS; step++)
    reference.lars(w, Float64Array.from(gradientOf(name, step)), velocity, {
      ...options,
      exempt,
      lr: Math.fround(2 / step),
    })
  return w
}

describe.each([
  ['in an arena', true, {}],
  ['apart', false, {}],
  // The largest tensor exceeds a binding. This gives three runs: the smaller tensors, its first segment, the rest.
  ['in an arena, bindings of 64 KiB', true, { maxBindingBytes: 65536 }],
] as const)('parameters %s', (_, arena, target) => {
  test.each([
    ['as they are', 1],
    ['of a scaled loss', 1024],
  ] as const)('gradients %s', async (_name, lossScale) => {
    const gpu = await engineFor(target)
    const parameters = names.map((name) => variable(name, shapes[name], initial(name)))
    if (arena) new Arena(parameters)
    const optimizer = lars(parameters, options)
    const gradients = names.map((name) => affine(input(`gradient ${name}`, shapes[name]), lossScale, lossScale * SHIFT))
    const unscaling: Unscaling | undefined =
      lossScale === 1 ? undefined : { factor: input('factor', [1]), applied: input('applied', [1]) }
    const updates = optimizer.updates(gradients, input('rate', [1]), unscaling)
    const program = await gpu.compile({ updates })
    // Norms, trust and update take one dispatch each if all tensors are neighbours and can be bound.
    const runs = 'maxBindingBytes' in target ? 3 : 1
    if (arena) expect(program.plan.dispatches.filter((d) => d.op === 'lars')).toHaveLength(2 * runs + 1)
    for (let step = 1; step <= STEPS; step++)
      await program.run({
        rate: Float32Array.of(2 / step),
        ...(unscaling && { factor: Float32Array.of(1 / lossScale) }),
        ...Object.fromEntries(names.map((name) => [`gradient ${name}`, gradientOf(name, step).map((g) => g - SHIFT)])),
      })
    for (const [i, name] of names.entries())
      expectClose(`parameter ${name}`, await gpu.read(parameters[i]), expected(name), 1e-5)
    program.destroy()
    for (const v of [...parameters, ...optimizer.state]) gpu.release(v)
  })
})

test('a tensor with zero gradient and no decay stays, with q = 1', async () => {
  const gpu = await engine()
  const w = variable('w', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6))
  const optimizer = lars([w])
  const program = await gpu.compile({ updates: optimizer.updates([input('g', [2, 3])], input('rate', [1])) })
  await program.run({ g: new Float32Array(6), rate: Float32Array.of(1) })
  expect([...(await gpu.read(w))]).toEqual([1, 2, 3, 4, 5, 6])
  program.destroy()
  for (const v of [w, ...optimizer.state]) gpu.release(v)
})

test('a step that clipping skips changes nothing', async () => {
  const gpu = await engine()
  const w = variable('w', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6))
  const optimizer = lars([w])
  const g = input('g', [2, 3])
  const program = await gpu.compile({ updates: optimizer.updates([g], input('rate', [1]), clipByGlobalNorm([g], 1)) })
  await program.run({ g: Float32Array.of(0, 1, 3e38, 3e38, 0, 0), rate: Float32Array.of(1) })
  expect([...(await gpu.read(w))]).toEqual([1, 2, 3, 4, 5, 6])
  expect([...(await gpu.read(optimizer.state[0]))]).toEqual([0, 0, 0, 0, 0, 0])
  program.destroy()
  for (const v of [w, ...optimizer.state]) gpu.release(v)
})
