/**
 * Results of kernels for single numbers that fill whole vec4s, so that no filling lies behind them: the guards of
 * `support/guards.ts` notice a write beyond them.
 */
import { expect, test } from 'vitest'
import {
  assign,
  batchNormInference,
  constant,
  crossEntropy,
  gather,
  input,
  matmul,
  maxPool2d,
  sum,
  variable,
} from '../../../engine/index.js'
import { checkOp, expectClose, runGraph } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import * as reference from '../../support/reference/index.js'

checkOp('a transpose of 8 × 6', {
  inputs: { a: [3, 6], b: [8, 6] },
  build: ({ a, b }) => matmul(a, b, { transposeB: true }),
  reference: ({ a, b }) => reference.matmul(a, b, { transposeB: true }),
})
checkOp('a sum over the middle of [4, 5, 3]', {
  inputs: { x: [4, 5, 3] },
  build: ({ x }) => sum(x, [1]),
  reference: ({ x }) => reference.sum(x, [1]),
})
checkOp('four rows of three columns', {
  inputs: { x: [8, 3] },
  build: ({ x }) => gather(x, constant(Uint32Array.of(7, 0, 0, 3))),
  reference: ({ x }) => reference.gather(x, [7, 0, 0, 3]),
})
checkOp('pooling of one channel', {
  inputs: { x: [1, 4, 4, 1] },
  build: ({ x }) => maxPool2d(x, { size: 2, stride: 2, padding: 0 }),
  reference: ({ x }) => reference.maxPool2d(x, { size: 2, stride: 2, padding: 0 }),
})
checkOp('cross-entropy of four rows of three classes', {
  inputs: { logits: [4, 3] },
  build: ({ logits }) => crossEntropy(logits, constant(Uint32Array.of(2, 0, 1, 2)), {}),
  reference: ({ logits }) => reference.scalar(reference.crossEntropy(logits, [2, 0, 1, 2])),
})

test('a Variable of 260 numbers is copied', async () => {
  const gpu = await engine()
  const x = formulaTensor('whole vectors/x', [260])
  const copy = variable('copy', [260])
  const program = await gpu.compile({ updates: [assign(copy, input('x', [260]))] })
  await program.run({ x })
  expect(await gpu.read(copy)).toEqual(x)
  program.destroy()
  gpu.release(copy)
})

test('batch-norm with given statistics of 1,300 channels, more than a workgroup has', async () => {
  const shapes = { x: [2, 1300], mean: [1300], variance: [1300], scale: [1300], shift: [1300] }
  const given = Object.entries(shapes).map(([name, shape]) =>
    formulaTensor(`whole vectors/${name}`, shape).map((v) => (name === 'variance' ? v * v + 0.5 : v)),
  )
  const [x, mean, variance, scale, shift] = Object.entries(shapes).map(([name, shape]) => input(name, shape))
  const inputs = Object.fromEntries(Object.keys(shapes).map((name, i) => [name, given[i]]))
  const { y } = await runGraph({ y: batchNormInference(x, mean, variance, scale, shift) }, inputs)
  const [tx, tmean, tvariance, tscale, tshift] = Object.values(shapes).map((shape, i) =>
    reference.tensor64(shape, given[i]),
  )
  expectClose('y', y, reference.batchNormInference(tx, tscale, tshift, tmean, tvariance).data, 1e-5)
})
