/** The smaller last batch of an epoch: its step is that of a step recorded for so many images, with the same optimiser. */
import { expect, test } from 'vitest'
import { deviceImages } from '../../../train/augment/views.js'
import { resolveConfig } from '../../../train/config/config.js'
import { batchesOf, viewRows } from '../../../train/feed/batches.js'
import { onlineProbe } from '../../../train/readout/online.js'
import { runLength } from '../../../train/run/schedule.js'
import { compileTrainingStep } from '../../../train/step/index.js'
import { buildNetwork } from '../../../train/step/network.js'
import { compileStep } from '../../../train/step/whole.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const config = resolveConfig({
  data: 'own images',
  width: 4,
  projectorDim: 8,
  views: 2,
  batch: 8,
  epochs: 2,
  lastBatch: 'keep',
  optimizer: 'sgd',
  momentum: 0,
  lr: 0.05,
  augmentation: { size: 8 },
})

test('an epoch takes every image once; a rest of one image is dropped, and micro-batches share the rest', () => {
  const indices = Uint32Array.from({ length: 21 }, (_, i) => 100 + i)
  const length = runLength(config, indices.length)
  expect(length).toEqual({ imagesPerStep: 8, imagesOfLastStep: 5, stepsPerEpoch: 3, steps: 6 })
  const { imagesPerStep: perStep, imagesOfLastStep: last, steps } = length
  const start = { step: 0, epoch: 0, stepInEpoch: 0 }
  const batches = [...batchesOf(indices, { seed: 1, perStep, last, steps }, start)].map(({ images }) => [...images])
  expect(batches.map((batch) => batch.length)).toEqual([8, 8, 5, 8, 8, 5])
  for (const epoch of [batches.slice(0, 3), batches.slice(3)])
    expect(epoch.flat().sort((a, b) => a - b)).toEqual([...indices])
  // A run that goes on within an epoch has the same batches.
  const within = [...batchesOf(indices, { seed: 1, perStep, last, steps }, { step: 2, epoch: 0, stepInEpoch: 2 })]
  expect(within.map(({ images }) => [...images])).toEqual(batches.slice(2))
  expect(runLength(config, 17)).toEqual({ imagesPerStep: 8, stepsPerEpoch: 2, steps: 4 })
  expect(runLength({ ...config, accumulate: 2 }, 39).imagesOfLastStep).toBe(6)
  expect(runLength({ ...config, lastBatch: undefined }, 21).stepsPerEpoch).toBe(2)
})

test.each([{}, { accumulate: 2, batch: 4 }, { bn: 'per-view', viewChunk: 1 }] as const)(
  'a step of 8 images, one of 4 and one of 8 are those of steps recorded alone: %o',
  async (changes) => {
    const gpu = await engine()
    const dataset = { ...colourfulImages(20), split: 'train' as const }
    const own = resolveConfig({ ...config, ...changes })
    const images = deviceImages(dataset, gpu.target.maxBindingBytes)
    const steps = [8, 4, 8].map((count, k) => {
      const chosen = Uint32Array.from({ length: count }, (_, i) => (7 * i + k) % 20)
      return { count, rows: viewRows(dataset as never, own, chosen, k) }
    })
    const rate = Float32Array.of(config.lr)
    const network = buildNetwork(own)
    const kept = await compileTrainingStep(gpu, images, network, own, {}, undefined, 4)
    const losses: number[] = []
    for (const { rows } of steps) {
      await kept.run({ rows, rate })
      losses.push((await kept.loss())[0])
    }
    // Without momentum, steps that share nothing but the network give the same.
    const again = buildNetwork(own)
    const alone = new Map<number, Awaited<ReturnType<typeof compileStep>>>()
    const expected: number[] = []
    for (const { count, rows } of steps) {
      const batch = count / own.accumulate
      const step = alone.get(count) ?? (await compileTrainingStep(gpu, images, again, { ...own, batch }, {}))
      alone.set(count, step)
      await step.run({ rows, rate })
      expected.push((await step.loss())[0])
    }
    expect(losses).toEqual(expected)
    expect(new Set(losses).size).toBe(3)
    for (const step of [kept, ...alone.values()]) step.destroy()
    for (const { backbone, projector } of [network, again])
      for (const v of [...backbone.dict.variables, ...projector.dict.variables]) gpu.release(v)
  },
)

test('a probe has the logits of the last step, whether it was whole or smaller', async () => {
  const gpu = await engine()
  const dataset = { ...colourfulImages(20), split: 'train' as const }
  const images = deviceImages(dataset, gpu.target.maxBindingBytes)
  const network = buildNetwork(config)
  const classes = 3
  const probe = onlineProbe({ features: network.backbone.features, classes, seed: 1 })
  const step = await compileTrainingStep(gpu, images, network, config, { probe }, undefined, 4)
  for (const count of [8, 4, 8]) {
    const chosen = Uint32Array.from({ length: count }, (_, i) => i)
    const labels = Uint32Array.from({ length: config.views * count }, (_, i) => i % classes)
    await step.run({ rows: viewRows(dataset as never, config, chosen, 0), rate: Float32Array.of(config.lr), labels })
    expect(await step.logits!()).toHaveLength(config.views * count * classes)
  }
  step.destroy()
  for (const v of [...network.backbone.dict.variables, ...network.projector.dict.variables, ...step.state])
    gpu.release(v)
})
