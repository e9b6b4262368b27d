/** Programs that are compiled together share the memory of their temporaries, and nothing else. */
import { expect, test } from 'vitest'
import { affine, input, relu, sharedPeakBytes, sum, type ProgramSpec, type Value } from '../../engine/index.js'
import { engine } from '../support/engine.js'

/** Σ relu(… relu(a x + b) …) over `size` numbers: one output, temporaries of 4 · size bytes. */
const chain = (label: string, size: number, steps: number): ProgramSpec => {
  let h: Value = input('x', [size])
  for (let i = 0; i < steps; i++) h = relu(affine(h, 1, 1))
  return { label, outputs: { y: sum(h) } }
}
const [LARGE, SMALL] = [4096, 256]
const specs = () => [chain('small', SMALL, 3), chain('large', LARGE, 2)]

test('need the memory of the largest program plus all inputs and outputs, as planned', async () => {
  const gpu = await engine()
  const plans = specs().map((spec) => gpu.plan(spec))
  const [small, large] = plans.map((plan) => plan.memory)
  const pool = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0)
  expect(pool(small.pool)).toBeGreaterThan(4 * SMALL)
  expect(sharedPeakBytes(plans)).toBe(large.peakBytes + small.peakBytes - pool(small.pool))
  expect(sharedPeakBytes([plans[1]])).toBe(large.peakBytes)

  const count = async (build: () => Promise<{ destroy(): void }[]>) => {
    const before = gpu.counters.buffers
    const programs = await build()
    for (const program of programs) program.destroy()
    return gpu.counters.buffers - before
  }
  const together = await count(() => gpu.compileTogether(specs()))
  const apart = await count(() => Promise.all(specs().map((spec) => gpu.compile(spec))))
  expect(apart - together).toBe(small.pool.length)
})

test('run in any order, each with its own inputs and outputs, also after the other is destroyed', async () => {
  const gpu = await engine()
  const progress: string[] = []
  const [small, large] = await gpu.compileTogether(specs(), (done, total) => progress.push(`${done}/${total}`))
  // Progress begins with 0 and counts each distinct pipeline once.
  const total = progress.length - 1
  expect(progress).toEqual(Array.from(progress, (_, done) => `${done}/${total}`))
  const x = (size: number, value: number) => ({ x: new Float32Array(size).fill(value) })
  await Promise.all([large.run(x(LARGE, 1)), small.run(x(SMALL, 2)), large.run(x(LARGE, 3)), small.run(x(SMALL, 4))])
  expect([...(await large.read('y'))]).toEqual([LARGE * 5])
  expect([...(await small.read('y'))]).toEqual([SMALL * 7])
  large.destroy()
  large.destroy()
  await small.run(x(SMALL, -10))
  expect([...(await small.read('y'))]).toEqual([SMALL * 2])
  small.destroy()
})
