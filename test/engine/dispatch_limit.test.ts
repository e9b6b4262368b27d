/** Work that is too much for one dispatch is done by several: too many workgroups, or too many seconds of a slow GPU. */
import { expect, test } from 'vitest'
import { batchNorm, conv2d, input, type Target } from '../../engine/index.js'
import { engineFor } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'

/** The result of the graph on the usual target and on one with small limits, bit for bit, and the dispatches of each. */
async function both(target: Partial<Target>, limits: Partial<Target>, op: string, variant?: string) {
  const results = []
  for (const one of [target, { ...target, ...limits }]) {
    const engine = await engineFor(one)
    if (variant) Object.defineProperty(engine, 'variants', { value: { get: () => variant, has: () => true } })
    const x = formulaTensor('dispatch_limit/x', [8, 6, 8, 32])
    const w = formulaTensor('dispatch_limit/w', [3, 3, 32, 8])
    const built =
      op === 'conv2d'
        ? conv2d(input('x', [8, 6, 8, 32]), input('w', [3, 3, 32, 8]), { padding: 1 })
        : batchNorm(input('x', [8, 6, 8, 32]), input('scale', [32]), input('shift', [32]), { groups: 8 }).y
    const program = await engine.compile({ outputs: { y: built } })
    const [scale, shift] = [new Float32Array(32).fill(2), new Float32Array(32).fill(0.5)]
    await program.run(op === 'conv2d' ? { x, w } : { x, scale, shift })
    const workgroups = Math.max(...program.plan.dispatches.flatMap((d) => d.workgroups))
    results.push({ y: await program.read('y'), dispatches: program.plan.dispatches.length, workgroups })
    program.destroy()
  }
  return results
}

test.each([
  ['conv2d', 'register', 1],
  ['conv2d', 'register, by rows', 1],
])('%s by %s: with few workgroups in a dispatch', async (op, variant, most) => {
  const [usual, few] = await both({}, { maxWorkgroupsPerDimension: most }, op, variant)
  expect(usual.workgroups).toBeGreaterThan(most)
  expect(few.workgroups).toBeLessThanOrEqual(most)
  expect(few.dispatches).toBeGreaterThan(usual.dispatches)
  expect(few.y).toEqual(usual.y)
})

test('batch-norm of many groups on a GPU: with fewer workgroups than the merge has vectors', async () => {
  const [usual, few] = await both({ adapterClass: 'gpu' }, { maxWorkgroupsPerDimension: 8 }, 'batchNorm')
  expect(usual.workgroups).toBeGreaterThan(8)
  expect(few.y).toEqual(usual.y)
})

test.each(['register', 'tiled 128×128'])(
  '%s: a GPU gets no convolution that takes a slow one seconds',
  async (variant) => {
    const engine = await engineFor({ adapterClass: 'gpu', maxBindingBytes: 2 ** 31 - 256, maxBufferBytes: 2 ** 32 })
    Object.defineProperty(engine, 'variants', { value: { get: () => variant, has: () => true } })
    const y = conv2d(input('x', [8192, 8, 8, 256]), input('w', [3, 3, 256, 256]), { padding: 1 })
    const flops = engine.plan({ outputs: { y } }).dispatches.map((d) => d.flops)
    expect(Math.max(...flops)).toBeLessThanOrEqual(4e11)
    expect(flops.reduce((a, b) => a + b)).toBeGreaterThan(6e11)
  },
)
