/** Programs are recorded once, replayed without new objects, deterministic, and their memory is planned. */
import { describe, expect, test } from 'vitest'
import {
  adam,
  add,
  affine,
  assign,
  batchNorm,
  conv2d,
  gradients,
  input,
  matmul,
  mean,
  relu,
  reshape,
  sliceRows,
  square,
  sum,
  variable,
  type Value,
} from '../../engine/index.js'
import { resnet } from '../../models/index.js'
import { deviceImages } from '../../train/augment/views.js'
import { resolveConfig } from '../../train/config/config.js'
import { fromArrays } from '../../train/data/dataset.js'
import { buildNetwork } from '../../train/step/network.js'
import { describeStep } from '../../train/step/whole.js'
import { engine, engineFor } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'

/** A small training step: convolution, batch-norm, linear layer, Adam. */
async function trainingStep() {
  const gpu = await engine()
  const w = variable('w', [3, 3, 4, 8], () => formulaTensor('program/w', [3, 3, 4, 8]))
  const v = variable('v', [8, 4], () => formulaTensor('program/v', [8, 4]))
  const x = input('x', [4, 6, 6, 4])
  const ones = variable(
    'scale',
    [8],
    Float32Array.from({ length: 8 }, () => 1),
  )
  const h = batchNorm(conv2d(x, w, { padding: 1 }), ones, variable('shift', [8]), { relu: true }).y
  const loss = mean(square(matmul(mean(h, [1, 2]), v)))
  const optimizer = adam([w, v])
  const program = await gpu.compile({
    outputs: { loss },
    updates: optimizer.updates(gradients(loss, [w, v]), input('rate', [1])),
  })
  const run = () => program.run({ x: formulaTensor('program/x', [4, 6, 6, 4]), rate: Float32Array.of(1e-2) })
  return { gpu, program, run, w, v }
}

describe('a program', () => {
  test('makes no buffer, bind group or pipeline after its first step', async () => {
    const { gpu, program, run } = await trainingStep()
    await run()
    const [first] = await program.read('loss')
    const before = gpu.counters
    for (let i = 0; i < 3; i++) {
      await run()
      expect((await program.read('loss'))[0]).toBeLessThan(first)
    }
    expect(gpu.counters).toEqual(before)
    program.destroy()
  })

  test('gives the same bits from the same start', async () => {
    const results = []
    for (let i = 0; i < 2; i++) {
      const { gpu, program, run, w, v } = await trainingStep()
      for (let step = 0; step < 3; step++) await run()
      results.push([await program.read('loss'), await gpu.read(w), await gpu.read(v)])
      program.destroy()
    }
    expect(results[1]).toEqual(results[0])
  })

  test('reads Variables before it writes them, in whatever order the graph was built', async () => {
    const gpu = await engine()
    const a = variable('a', [5], Float32Array.of(1, 2, 3, 4, 5))
    const b = variable('b', [5], Float32Array.of(10, 20, 30, 40, 50))
    const next = affine(a, 2, 0)
    const program = await gpu.compile({
      outputs: { before: add(a, b) },
      updates: [assign(a, b), assign(b, next)],
    })
    await program.run()
    expect([...(await program.read('before'))]).toEqual([11, 22, 33, 44, 55])
    expect([...(await gpu.read(a))]).toEqual([10, 20, 30, 40, 50])
    expect([...(await gpu.read(b))]).toEqual([2, 4, 6, 8, 10])
    program.destroy()
  })

  test('keeps outputs unchanged by later computations in place', async () => {
    const gpu = await engine()
    const p = variable('p', [6], Float32Array.of(1, 1, 1, 1, 1, 1))
    const optimizer = adam([p])
    const loss = sum(square(p))
    const program = await gpu.compile({
      outputs: { p, loss },
      updates: optimizer.updates(gradients(loss, [p]), input('rate', [1])),
    })
    await program.run({ rate: Float32Array.of(0.5) })
    expect([...(await program.read('p'))]).toEqual([1, 1, 1, 1, 1, 1])
    for (const value of await gpu.read(p)) expect(value).toBeCloseTo(0.5, 5)
    program.destroy()
  })

  test('reuses memory that is no longer needed', async () => {
    const gpu = await engine()
    let h: Value = input('x', [1024, 64])
    for (let i = 0; i < 12; i++) h = relu(affine(h, 1, 0.01 * i))
    const { memory } = gpu.plan({ outputs: { h } })
    expect(memory.pool.length).toBeLessThanOrEqual(2)
    const x = input('x', [1024, 64])
    expect(() => gpu.plan({ outputs: { h: add(x, input('x', [1024, 64])) } })).toThrow(
      "two inputs of the program are called 'x'",
    )
  })

  test('keeps the order of overlapping runs, each with its own inputs', async () => {
    const gpu = await engine()
    const digits = variable('digits', [1])
    const program = await gpu.compile({ updates: [assign(digits, add(affine(digits, 10, 0), input('x', [1])))] })
    await Promise.all([1, 2, 3, 4, 5, 6].map((digit) => program.run({ x: Float32Array.of(digit) })))
    expect([...(await gpu.read(digits))]).toEqual([123456])
    program.destroy()
  })

  test('names an input that is missing, too short or unknown', async () => {
    const gpu = await engine()
    const program = await gpu.compile({ label: 'doubling', outputs: { y: affine(input('x', [2, 3]), 2, 0) } })
    await expect(program.run({})).rejects.toThrow("doubling: input 'x' [2, 3] is not given")
    await expect(program.run({ x: new Float32Array(5) })).rejects.toThrow(
      "doubling: input 'x' is [2, 3] f32, 6 numbers; given 5 in a Float32Array",
    )
    await expect(program.run({ x: new Float32Array(6), z: new Float32Array(1) })).rejects.toThrow(
      "doubling: has no input 'z'",
    )
    await expect(program.read('z')).rejects.toThrow("doubling: has no output 'z'; it has y")
    program.destroy()
  })

  test('slices and reshapes without copies where possible', async () => {
    const gpu = await engine()
    const x = input('x', [4, 64])
    const plan = gpu.plan({ outputs: { y: affine(reshape(sliceRows(x, 2, 2), [128]), 1, 1) } })
    expect(plan.dispatches.map((d) => d.kernel)).toEqual(['unary'])
    const odd = gpu.plan({ outputs: { y: affine(sliceRows(input('x', [4, 5]), 1, 2), 1, 1) } })
    expect(odd.dispatches.map((d) => d.kernel)).toEqual(['shift', 'unary'])
  })
})

describe('memory', () => {
  test('the whole training step of a ResNet-18 of width 64, 128 images in 8 views, plans', async () => {
    const limit = 128 * 2 ** 20
    const gpu = await engineFor({ maxBindingBytes: limit, maxBufferBytes: 2 ** 32 - 4 })
    const config = resolveConfig({ views: 8, batch: 128 })
    const dataset = fromArrays({ images: new Uint8Array(128 * 32 * 32 * 3), height: 32, width: 32 })
    const { spec } = describeStep(deviceImages(dataset, limit), buildNetwork(config), config)
    const plan = gpu.plan(spec)
    const largest = Math.max(...plan.dispatches.flatMap((d) => d.bindings.map((b) => b.bytes)))
    expect(largest).toBeLessThanOrEqual(limit)
    expect(Math.max(...plan.memory.pool)).toBe(1024 * 32 * 32 * 64 * 4)
    // The backward pass of this ResNet-18 needs about 5 GB. A planner that reused no memory would need twice as much.
    expect(plan.memory.peakBytes).toBeLessThan(6e9)
  })

  test('an error names a Variable that is too large, and the remedy', async () => {
    const gpu = await engineFor({ maxBufferBytes: 2 ** 32 - 4 })
    const huge = relu(variable('w', [2 ** 16, 2 ** 16]))
    expect(() => gpu.plan({ outputs: { huge } })).toThrow(
      /'w' \[65536, 65536\] takes 16384 MiB, over the adapter's largest buffer.*smaller batch/,
    )
  })

  test('optimisers update an arena of parameters with one dispatch', async () => {
    const gpu = await engine()
    const net = resnet({ arch: 'resnet18', width: 8 })
    const loss = mean(square(net.forward(input('x', [2, 8, 8, 4]), { training: true })))
    const plan = gpu.plan({
      updates: adam(net.dict.parameters).updates(gradients(loss, net.dict.parameters), input('rate', [1])),
    })
    expect(plan.dispatches.filter((d) => d.kernel === 'adam')).toHaveLength(1)
  })
})
