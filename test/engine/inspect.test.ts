/** The search for the first dispatch whose result is not finite, and the copies of Variables that it starts from. */
import { expect, test } from 'vitest'
import { Arena, assign, cast, exp, firstNonFinite, input, log, scale, Snapshot, variable } from '../../engine/index.js'
import { engine } from '../support/engine.js'

test('names the first op, its shapes and the ranges of its operands', async () => {
  const gpu = await engine()
  const x = input('x', [5, 1])
  // e^100 is above the largest f32; what follows is not finite either.
  const program = await gpu.compile({ label: 'powers', outputs: { y: log(exp(scale(x, 10))) } })
  const found = await firstNonFinite(gpu, () => program.run({ x: Float32Array.of(-2, 10, 0.5, 1, NaN) }))
  expect(found).toMatchObject({ program: 'powers', dispatches: program.dispatches })
  // NaN is in the input already, so the first op that reads it is named.
  expect(found!.index).toBe(0)
  expect(found!.operands[0]).toMatchObject({ source: 'x', written: false, count: 5, nan: 1, range: [-2, 10] })

  const overflow = await firstNonFinite(gpu, () => program.run({ x: Float32Array.of(-2, 10, 0.5, 1, 8) }))
  expect(overflow).toMatchObject({ index: 1, inputs: [[5, 1]], outputs: [[5, 1]] })
  const [read, written] = overflow!.operands
  expect(read).toMatchObject({ written: false, nan: 0, infinite: 0, range: [-20, 100] })
  expect(written).toMatchObject({ written: true, count: 5, nan: 0, infinite: 1 })
  expect(written.range![0]).toBeCloseTo(Math.exp(-20), 12)
  expect(written.range![1] / Math.exp(80)).toBeCloseTo(1, 4)
  program.destroy()
})

test('finds nothing in finite results, although a kernel computes log(0) behind the last value', async () => {
  const gpu = await engine()
  const program = await gpu.compile({ outputs: { y: log(input('x', [5])) } })
  expect(await firstNonFinite(gpu, () => program.run({ x: Float32Array.of(1, 2, 3, 4, 5) }))).toBeUndefined()
  // The program runs as before afterwards.
  await program.run({ x: Float32Array.of(1, 1, 1, 1, 1) })
  expect([...(await program.read('y'))]).toEqual([0, 0, 0, 0, 0])
  program.destroy()
})

test('finds an overflow of f16', async ({ skip }) => {
  const gpu = await engine()
  skip(!gpu.target.f16, 'the adapter has no f16')
  const x = input('x', [6])
  const program = await gpu.compile({ outputs: { y: cast(cast(scale(x, 2), 'f16'), 'f32') } })
  const found = await firstNonFinite(gpu, () => program.run({ x: Float32Array.of(1, 2, 40000, 3, 4, 5) }))
  expect(found).toMatchObject({ op: 'cast' })
  expect(found!.operands.at(-1)).toMatchObject({ count: 6, infinite: 1, range: [2, 10] })
  program.destroy()
})

test('a snapshot brings Variables back, alone and in an arena', async () => {
  const gpu = await engine()
  const alone = variable('alone', [3], Float32Array.of(1, 2, 3))
  const inArena = [variable('a', [2], Float32Array.of(4, 5)), variable('b', [1], Float32Array.of(6))]
  new Arena(inArena)
  const all = [alone, ...inArena]
  const program = await gpu.compile({ updates: all.map((v) => assign(v, scale(v, 10))) })
  const snapshot = new Snapshot(gpu, all)
  snapshot.take()
  await program.run()
  await program.run()
  expect([...(await gpu.read(inArena[0]))]).toEqual([400, 500])
  await gpu.idle()
  snapshot.restore()
  for (const v of all) expect([...(await gpu.read(v))]).toEqual([...(v.initial as Float32Array)])
  snapshot.release()
  program.destroy()
  for (const v of all) gpu.release(v)
})
