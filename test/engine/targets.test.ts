/**
 * The same ops lowered for other adapters than the one in use: without subgroups, with sums split for a wide GPU, and
 * with bindings so small that activations are cut along the batch.
 */
import { describe, expect, test } from 'vitest'
import {
  add,
  batchNorm,
  conv2d,
  gradients,
  gram,
  input,
  l2NormalizeRows,
  matmul,
  maxPool2d,
  multiply,
  ntXentRows,
  orthogonalityLoss,
  relu,
  sum,
  type Target,
  type Value,
} from '../../engine/index.js'
import { adapterClassOf } from '../../engine/target.js'
import { expectClose } from '../support/check.js'
import { engineFor } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'

interface Network {
  inputs: Record<string, number[]>
  build(v: Record<string, Value>): Value
  /** The gradients need an operand as a whole, which the forward pass can cut. */
  valueOnly?: boolean
  /** It fits all bindings of these targets. */
  fits?: boolean
}

/** Small networks that together use every family of kernels whose lowering depends on the target. */
const networks: Record<string, Network> = {
  'conv, batch-norm, pool': {
    inputs: { x: [16, 16, 16, 4], w1: [3, 3, 4, 8], scale: [8], shift: [8], w2: [3, 3, 8, 12] },
    build: (v) => {
      const h = batchNorm(conv2d(v['x'], v['w1'], { padding: 1 }), v['scale'], v['shift'], { relu: true }).y
      return maxPool2d(conv2d(h, v['w2'], { stride: 2, padding: 1 }), { size: 3, stride: 2, padding: 1 })
    },
  },
  'residual, groups': {
    inputs: { x: [16, 16, 16, 8], w: [1, 1, 8, 8], scale: [8], shift: [8] },
    build: (v) =>
      batchNorm(conv2d(v['x'], v['w']), v['scale'], v['shift'], { groups: 2, relu: true, residual: v['x'] }).y,
  },
  matmul: {
    inputs: { a: [100, 64], b: [64, 100], bias: [100] },
    build: (v) => relu(matmul(v['a'], v['b'], { bias: v['bias'] })),
    fits: true,
  },
  'matmul of many rows': {
    inputs: { a: [700, 64], b: [64, 20], bias: [20] },
    build: (v) => matmul(v['a'], v['b'], { bias: v['bias'] }),
    valueOnly: true,
  },
  'losses of rows': {
    inputs: { a: [70, 68] },
    build: (v) => {
      const similarities = gram(l2NormalizeRows(v['a']))
      return add(orthogonalityLoss(similarities, { target: 0.5 }), sum(ntXentRows(similarities)))
    },
    fits: true,
  },
  // A workgroup of 256 threads adds each of them.
  'sums of long rows': {
    inputs: { a: [5, 700] },
    build: (v) => sum(v['a'], [1]),
    fits: true,
  },
  'a long sum': {
    inputs: { a: [4000, 8], b: [8] },
    build: (v) => sum(multiply(v['a'], v['b']), [0]),
  },
}

async function evaluate(
  target: Partial<Target>,
  name: string,
): Promise<{ read: Record<string, Float32Array>; dispatches: number }> {
  const { inputs, build, valueOnly } = networks[name]
  const gpu = await engineFor(target)
  const values = Object.fromEntries(Object.entries(inputs).map(([key, shape]) => [key, input(key, shape)]))
  const y = build(values)
  const outputs: Record<string, Value> = { y }
  if (!valueOnly)
    gradients(sum(multiply(y, input('r', y.shape))), Object.values(values)).forEach(
      (g, i) => (outputs[Object.keys(inputs)[i]] = g),
    )
  const program = await gpu.compile({ outputs })
  const given = Object.fromEntries(
    Object.entries(inputs).map(([key, shape]) => [key, formulaTensor(`targets/${name}/${key}`, shape)]),
  )
  await program.run(valueOnly ? given : { ...given, r: formulaTensor(`targets/${name}/r`, y.shape) })
  const read: Record<string, Float32Array> = {}
  for (const key of Object.keys(outputs)) read[key] = await program.read(key)
  const { dispatches } = program
  program.destroy()
  return { read, dispatches }
}

const targets: Record<string, Partial<Target>> = {
  'an adapter without subgroups': { subgroups: false },
  'a GPU': { adapterClass: 'gpu' },
  'a GPU without subgroups': { adapterClass: 'gpu', subgroups: false },
  // Half of the larger activations. Weights and their partial gradients fit.
  'bindings of 64 KiB': { maxBindingBytes: 64 * 1024 },
}

describe.each(Object.keys(targets))('%s', (target) => {
  test.each(Object.keys(networks))('%s', async (name) => {
    const plain = await evaluate({}, name)
    const other = await evaluate(targets[target], name)
    for (const key of Object.keys(plain.read)) expectClose(key, other.read[key], plain.read[key], 1e-4)
    if (targets[target].maxBindingBytes && !networks[name].fits)
      expect(other.dispatches).toBeGreaterThan(plain.dispatches)
  })
})

test.each([
  [{ vendor: 'mesa', architecture: 'llvmpipe', description: 'llvmpipe (LLVM 15.0.6, 256 bits)' }, 'cpu'],
  [{ vendor: 'google', architecture: 'swiftshader', description: 'SwiftShader Device (Subzero)' }, 'cpu'],
  // Browsers tell less.
  [{ vendor: 'mesa', architecture: 'software', description: '' }, 'cpu'],
  [{ vendor: 'microsoft', architecture: 'warp', description: '' }, 'cpu'],
  [{ vendor: 'nvidia', architecture: 'ampere', description: '' }, 'gpu'],
  [{ vendor: 'arm', architecture: 'valhall', description: '' }, 'gpu'],
])('the class of the adapter %o', (info, expected) => {
  expect(adapterClassOf({ device: '', ...info } as GPUAdapterInfo)).toBe(expected)
})
