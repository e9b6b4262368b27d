/** BYOL's predictor and target: a training trajectory against PyTorch in f64. */
import { expect, test } from 'vitest'
import { ema, gradients, input, sgd, type Assignment } from '../../engine/index.js'
import { predictor, projector } from '../../models/index.js'
import { byol } from '../../train/objectives/index.js'
import { engine } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'
import { readJson } from '../support/goldens.js'
import { fillByFormula } from '../support/networks.js'

interface Trajectory {
  features: number
  d: number
  hidden: number
  batch: number
  rate: number
  sgd: { lr: number; momentum: number }
  losses: number[]
}

test('symmetric BYOL with a moving target follows PyTorch', async () => {
  const { features, d, hidden, batch, rate, sgd: options, losses } = readJson<Trajectory>('byol.json')
  const gpu = await engine()
  const [online, target] = [0, 1].map(() => projector({ features, dim: d }))
  const head = predictor({ dim: d, hidden })
  for (const { dict } of [online, target, head]) fillByFormula(gpu, dict)

  const updates: Assignment[] = []
  const mode = { training: true, groups: 2, updates }
  const x = input('x', [2 * batch, features])
  const loss = byol(head.forward(online.forward(x, mode), mode), target.forward(x, mode), { views: 2, symmetric: true })
  const parameters = [...online.dict.parameters, ...head.dict.parameters]
  const optimizer = sgd(parameters, { momentum: options.momentum })
  const steps = optimizer.updates(gradients(loss, parameters), input('rate', [1]))
  // The target averages the weights after this step.
  const after = steps.slice(0, online.dict.parameters.length).map(({ value }) => value)
  updates.push(...steps, ...ema(target.dict.parameters, after, input('target rate', [1])))
  const step = await gpu.compile({ outputs: { loss }, updates })

  expect(losses).toHaveLength(5)
  for (const [i, expected] of losses.entries()) {
    await step.run({
      x: formulaTensor('byol/x', [2, batch, features]),
      rate: Float32Array.of(options.lr),
      'target rate': Float32Array.of(rate),
    })
    const [actual] = await step.read('loss')
    expect(Math.abs(actual / expected - 1), `loss ${actual} for ${expected} after ${i} steps`).toBeLessThan(2e-5)
  }
  step.destroy()
  const variables = [online, target, head].flatMap(({ dict }) => dict.variables)
  for (const v of [...variables, ...optimizer.state]) gpu.release(v)
})

test('invalid widths are errors', () => {
  expect(() => predictor({ dim: 0 })).toThrow('predictor width 0 must be a whole number of at least 1')
  expect(() => predictor({ dim: 4, hidden: 2.5 })).toThrow('predictor hidden width 2.5 must be')
})
