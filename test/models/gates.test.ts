/** Gated channels: a straight-through gate, a network that is dense and sparse, and the budget. */
import { expect, test } from 'vitest'
import { gradients, input, multiply, sum } from '../../engine/index.js'
import { gateBudget, hardGate, resnet } from '../../models/index.js'
import { expectClose, runGraph } from '../support/check.js'
import { engine } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'

test('a gate is 0 or 1, and its gradient is that of the logistic function', async () => {
  const x = input('x', [9])
  const y = hardGate(x)
  const [gradient] = gradients(sum(multiply(y, input('r', [9]))), [x])
  const given = Float32Array.of(-200, -3, -0.5, -1e-3, 1e-3, 0.7, 2, 9, 200)
  const r = formulaTensor('gate/r', [9])
  const read = await runGraph({ y, gradient }, { x: given, r })
  expectClose('gates', read.y, [0, 0, 0, 0, 1, 1, 1, 1, 1], 1e-6)
  const slope = (v: number): number => Math.exp(-Math.abs(v)) / (1 + Math.exp(-Math.abs(v))) ** 2
  expectClose(
    'gradient',
    read.gradient,
    [...given].map((v, i) => r[i] * slope(v)),
    1e-5,
  )
})

test('with all gates open the sparse network is the dense one; the budget counts open gates', async () => {
  const gpu = await engine()
  const options = { arch: 'resnet18', width: 4, seed: 3 } as const
  const [plain, network] = [resnet(options), resnet({ ...options, gates: true })]
  const x = input('x', [2, 8, 8, 4])
  const gates: Parameters<typeof gateBudget>[0][number][] = []
  const outputs = {
    plain: plain.forward(x, { training: false }),
    dense: network.forward(x, { training: false }),
    sparse: network.forward(x, { training: false, gates }),
    budget: gateBudget(gates, 0.25),
  }
  expect(gates.map(({ shape }) => shape[1])).toEqual([4, 4, 8, 8, 16, 16, 32, 32])
  const program = await gpu.compile({ outputs })
  const set = (value: number): void => {
    for (const [name, { variable }] of network.dict.entries)
      if (name.endsWith('.gate.weight')) gpu.write(variable, new Float32Array(variable.size))
      else if (name.endsWith('.gate.bias')) gpu.write(variable, new Float32Array(variable.size).fill(value))
  }
  const given = formulaTensor('gates/x', [2, 8, 8, 4])
  set(5)
  await program.run({ x: given })
  const plainFeatures = await program.read('plain')
  expect(await program.read('dense')).toEqual(plainFeatures)
  expectClose('all open', await program.read('sparse'), plainFeatures, 1e-6)
  expectClose('budget', await program.read('budget'), [0.75 ** 2], 1e-5)
  set(-5)
  await program.run({ x: given })
  expect(await program.read('dense')).toEqual(plainFeatures)
  expect(await program.read('sparse')).not.toEqual(plainFeatures)
  expectClose('budget', await program.read('budget'), [0.25 ** 2], 1e-5)
  program.destroy()
  for (const v of [...plain.dict.variables, ...network.dict.variables]) gpu.release(v)
})
