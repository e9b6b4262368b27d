/** Clipping by the global norm, against its closed form. */
import { describe, expect, test } from 'vitest'
import {
  adam,
  Arena,
  clipByGlobalNorm,
  input,
  scale,
  sgd,
  sum,
  variable,
  type Target,
  type Variable,
} from '../../../engine/index.js'
import { expectClose } from '../../support/check.js'
import { engine, engineFor } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

/** Sizes that are not whole vec4s, and one that has several segments. */
const shapes = { a: [3, 5], b: [130], c: [1], d: [3, 7, 17, 129] }
const names = Object.keys(shapes) as (keyof typeof shapes)[]
const given = Object.fromEntries(names.map((name) => [name, formulaTensor(`clip/${name}`, shapes[name])]))
const NORM = Math.hypot(...names.map((name) => Math.hypot(...given[name])))

/** Parameters that start at 0, after one plain step of rate 1: minus the gradient that was used. */
async function step(
  most: number,
  { arena = true, lossScale, target = {} }: { arena?: boolean; lossScale?: number; target?: Partial<Target> } = {},
  change: Record<string, Float32Array> = {},
): Promise<{ moved: Float32Array[]; norm: number }> {
  const gpu = await engineFor(target)
  const parameters: Variable[] = names.map((name) => variable(name, shapes[name]))
  if (arena) new Arena(parameters)
  // The gradients' memory has other numbers in it before. Those in the gaps must not count.
  const litter = sum(scale(input('litter', [80_000]), 2))
  const gradients = names.map((name) => scale(input(name, shapes[name]), lossScale ?? 1))
  const optimizer = sgd(parameters)
  const unscaling = lossScale ? { factor: input('factor', [1]), applied: input('applied', [1]) } : undefined
  const { norm, ...clipped } = clipByGlobalNorm(gradients, most, unscaling)
  const updates = optimizer.updates(gradients, input('rate', [1]), clipped)
  const program = await gpu.compile({ outputs: { litter, norm }, updates })
  await program.run({
    ...given,
    ...change,
    rate: Float32Array.of(1),
    litter: new Float32Array(80_000).fill(1e10),
    ...(lossScale && { factor: Float32Array.of(1 / lossScale) }),
  })
  const moved = []
  for (const p of parameters) moved.push(await gpu.read(p))
  const [value] = await program.read('norm')
  program.destroy()
  for (const v of [...parameters, ...optimizer.state]) gpu.release(v)
  return { moved, norm: value }
}

describe.each([
  ['in an arena', { arena: true }],
  ['apart', { arena: false }],
  ['of a scaled loss', { lossScale: 4096 }],
  ['longer than a binding', { target: { maxBindingBytes: 131072 } }],
] as const)('gradients %s', (_, options) => {
  test('above the limit are scaled down to it', async () => {
    const { moved, norm } = await step(0.5, options)
    expect(Math.abs(norm / NORM - 1)).toBeLessThan(1e-5)
    const factor = 0.5 / (NORM + 1e-6)
    names.forEach((name, i) =>
      expectClose(
        name,
        moved[i],
        given[name].map((g) => -factor * g),
        1e-5,
      ),
    )
  })

  test('below the limit stay unchanged, bit for bit', async () => {
    const { moved, norm } = await step(2 * NORM, options)
    expect(Math.abs(norm / NORM - 1)).toBeLessThan(1e-5)
    names.forEach((name, i) => expect([...moved[i].map((v) => -v)]).toEqual([...given[name]]))
  })
})

test('a norm that is not finite skips the step, and Adam does not count it', async () => {
  const gpu = await engine()
  const w = variable('w', [3], Float32Array.of(1, 2, 3))
  const optimizer = adam([w])
  const g = input('g', [3])
  const program = await gpu.compile({ updates: optimizer.updates([g], input('rate', [1]), clipByGlobalNorm([g], 1)) })
  const count = async () => [...(await gpu.read(optimizer.state.at(-1)!))]
  for (const bad of [
    [3e38, 3e38, 0],
    [NaN, 0, 0],
    [0, Infinity, 1],
  ]) {
    await program.run({ g: Float32Array.from(bad), rate: Float32Array.of(1) })
    expect([...(await gpu.read(w))], String(bad)).toEqual([1, 2, 3])
    expect(await count()).toEqual([0])
  }
  await program.run({ g: Float32Array.of(1, 1, 1), rate: Float32Array.of(1) })
  expect(await count()).toEqual([1])
  expectClose('w', await gpu.read(w), [0, 1, 2], 1e-4)
  program.destroy()
  for (const v of [w, ...optimizer.state]) gpu.release(v)
})

test('a limit of 0 is an error', () => {
  expect(() => clipByGlobalNorm([input('g', [3])], 0)).toThrow(/clipByGlobalNorm.*0 must be above 0/)
})
