/** Multi-view Barlow Twins: the loss against an f64 reference, and whole trajectories against PyTorch in f64. */
import { describe, expect, test } from 'vitest'
import { adam, constant, gradients, input, type Assignment } from '../../../engine/index.js'
import { projector, resnet, type Architecture, type Stem } from '../../../models/index.js'
import { automaticLambda, barlowTwins } from '../../../train/objectives/barlow_twins.js'
import type { LossParts } from '../../../train/objectives/views.js'
import { checkOp, runGraph } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { normalish } from '../../support/formula.js'
import { readJson } from '../../support/goldens.js'
import { fillByFormula, withZeroChannel } from '../../support/networks.js'
import * as reference from '../../support/reference/index.js'

describe('loss', () => {
  // Width below and above the batch: the off-diagonal sum goes through the d x d and the B x B product.
  for (const [views, batch, d] of [
    [2, 7, 5],
    [2, 3, 17],
    [3, 7, 5],
    [3, 5, 17],
    [4, 9, 9],
    [8, 3, 17],
  ])
    checkOp(`${views} views, batch ${batch}, width ${d}`, {
      inputs: { z: [views * batch, d] },
      build: ({ z }) => barlowTwins(z, { views, lambda: 0.04 }),
      reference: ({ z }) => reference.scalar(reference.barlowTwins(z, views, 0.04)),
    })

  for (const [views, batch, d] of [
    [2, 7, 5],
    [2, 3, 17],
    [3, 7, 5],
  ])
    checkOp(`${views} views, batch ${batch}, width ${d}, with a λ that changes`, {
      inputs: { z: [views * batch, d] },
      build: ({ z }) => barlowTwins(z, { views, lambda: constant([0.04]) }),
      reference: ({ z }) => reference.scalar(reference.barlowTwins(z, views, 0.04)),
    })

  test('views that do not divide the rows, or a single one, are errors', () => {
    expect(() => barlowTwins(input('z', [7, 5]), { views: 2, lambda: 0.1 })).toThrow(/barlowTwins.*2 views.*\[7, 5\]/)
    expect(() => barlowTwins(input('z', [7, 5]), { views: 1, lambda: 0.1 })).toThrow(/barlowTwins.*1 views/)
  })
})

describe('λ by width and views', () => {
  test('falls as 1/d; with more views it falls by the factor of the invariance', () => {
    expect(automaticLambda(256, 2)).toBe(3 / 256)
    expect(automaticLambda(1024, 2)).toBe(automaticLambda(256, 2) / 4)
    expect(automaticLambda(256, 4) / automaticLambda(256, 2)).toBeCloseTo(9 / 16, 12)
  })

  test('so that λ weighs the same invariance for every number of views', async () => {
    const [batch, width] = [4096, 8]
    const images = normalish('invariance/images', batch * width)
    const invariance: number[] = []
    for (const views of [2, 4, 8]) {
      const parts: LossParts = {}
      barlowTwins(input('z', [views * batch, width]), { views, lambda: 1 }, parts)
      const noise = normalish(`invariance/${views}`, views * batch * width)
      const z = Float32Array.from(noise, (n, i) => images[i % images.length] + n)
      const { found } = await runGraph({ found: parts.invariance }, { z })
      invariance.push((found[0] * automaticLambda(width, 2)) / automaticLambda(width, views))
    }
    // Views correlate by about one half, so each column has an invariance of about one quarter.
    expect(invariance[0] / width).toBeCloseTo(0.25, 1)
    for (const value of invariance) expect(Math.abs(value / invariance[0] - 1)).toBeLessThan(0.04)
  })
})

interface Trajectories {
  arch: Architecture
  stem: Stem
  width: number
  batch: number
  size: number
  projectorDim: number
  penalty: number
  inputs: string
  adam: { lr: number; beta1: number; beta2: number; epsilon: number }
  losses: Record<string, number[]>
}

describe('five Adam steps follow PyTorch in f64', () => {
  const golden = readJson<Trajectories>('trajectories.json')
  const { arch, stem, width, batch, size, projectorDim: dim, penalty: lambda } = golden

  for (const views of [2, 3, 4])
    test(`${views} views`, async () => {
      const gpu = await engine()
      const net = resnet({ arch, stem, width })
      const head = projector({ features: net.features, dim })
      fillByFormula(gpu, net.dict)
      fillByFormula(gpu, head.dict)

      const updates: Assignment[] = []
      const mode = { training: true, updates }
      const loss = barlowTwins(head.forward(net.forward(input('x', [views * batch, size, size, 4]), mode), mode), {
        views,
        lambda,
      })
      const parameters = [...net.dict.parameters, ...head.dict.parameters]
      const { lr, ...options } = golden.adam
      const optimizer = adam(parameters, options)
      updates.push(...optimizer.updates(gradients(loss, parameters), input('rate', [1])))
      const step = await gpu.compile({ outputs: { loss }, updates })

      const count = batch * size * size * 3
      const images = normalish(`${golden.inputs}/images`, count)
      const noise = normalish(`${golden.inputs}/noise`, views * count)
      const x = withZeroChannel(noise.map((n, i) => images[i % count] + 0.5 * n))
      const expected = golden.losses[`views${views}`]
      expect(expected).toHaveLength(6)
      for (const [i, value] of expected.entries()) {
        await step.run({ x, rate: Float32Array.of(lr) })
        const [actual] = await step.read('loss')
        expect(Math.abs(actual - value) / value, `loss ${actual} for ${value} after ${i} steps`).toBeLessThan(1e-4)
      }
      step.destroy()
      for (const variable of [...net.dict.variables, ...head.dict.variables, ...optimizer.state]) gpu.release(variable)
    })
})
