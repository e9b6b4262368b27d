/** A step over micro-batches reports the mean loss of the micro-batches, and trains alike in chunks of views. */
import { expect, test, vi } from 'vitest'
import { Program } from '../../../engine/index.js'
import { drawViews } from '../../../train/augment/draw.js'
import { deviceImages } from '../../../train/augment/views.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { compileAccumulatedStep } from '../../../train/step/accumulated.js'
import { buildNetwork } from '../../../train/step/network.js'
import { compileTrainingStep } from '../../../train/step/index.js'
import { compileStep } from '../../../train/step/whole.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const dataset = colourfulImages(18)
const COUNT = 3
const config = resolveConfig({
  data: 'own images',
  objective: 'vicreg',
  width: 4,
  projectorDim: 8,
  views: 2,
  batch: 6,
  seed: 5,
  augmentation: { size: 8 },
})

test('the loss is the mean over three micro-batches, and its parts add up to it', async () => {
  const gpu = await engine()
  const network = buildNetwork(config)
  const images = deviceImages(dataset, gpu.target.maxBindingBytes)
  const { augmentation, seed, views, batch } = config
  const micro = Array.from({ length: COUNT }, (_, k) => {
    const numbers = Array.from({ length: batch }, (_, i) => k * batch + i)
    return drawViews(augmentation, { seed, epoch: 1, images: numbers, views, sourceHeight: 10, sourceWidth: 10 })
  })
  // With a rate of 0 the weights stay, and losses in training mode do not depend on running statistics.
  const rate = Float32Array.of(0)
  const whole = await compileStep(gpu, images, network, config)
  const losses: number[] = []
  for (const rows of micro) {
    await whole.run({ rows, rate })
    losses.push((await whole.loss())[0])
  }
  expect(new Set(losses).size).toBe(COUNT)

  const accumulated = await compileAccumulatedStep(gpu, images, network, { ...config, accumulate: COUNT })
  const rows = new Float32Array(micro.flatMap((part) => [...part]))
  // The second step begins a new mean.
  const run = vi.spyOn(Program.prototype, 'run')
  for (let step = 0; step < 2; step++) await accumulated.run({ rows, rate })
  const replayed = run.mock.contexts.map((program) => (program as Program).dispatches)
  run.mockRestore()
  expect(replayed.reduce((sum, count) => sum + count, 0)).toBe(2 * accumulated.dispatches)
  const [loss] = await accumulated.loss()
  const mean = losses.reduce((sum, value) => sum + value, 0) / COUNT
  expect(Math.abs(loss - mean) / mean).toBeLessThan(1e-5)
  const { names, read } = accumulated.parts!
  const parts = await read()
  expect(parts).toHaveLength(names.length)
  expect(Math.abs(parts.reduce((sum, part) => sum + part, 0) - loss) / loss).toBeLessThan(1e-5)

  for (const step of [whole, accumulated]) {
    step.destroy()
    for (const v of step.state) gpu.release(v)
  }
  for (const { dict } of [network.backbone, network.projector]) for (const v of dict.variables) gpu.release(v)
})

test.each<[string, PartialConfig, number]>([
  ['f32, with a clipped norm', { clipNorm: 0.5 }, 1e-4],
  ['f16', { precision: 'f16' }, 2e-2],
])('in chunks of views the weights become those without: %s', async (_, changes, tolerance) => {
  const gpu = await engine()
  if (changes.precision === 'f16' && !gpu.target.f16) return
  const images = deviceImages(dataset, gpu.target.maxBindingBytes)
  const trained = async (viewChunk: number | undefined) => {
    // SGD: Adam would turn the rounding of small gradients into steps of full size.
    const optimizer = { optimizer: 'sgd', momentum: 0.9, zeroInitResidual: false } as const
    const own = resolveConfig({
      ...config,
      ...optimizer,
      views: 4,
      bn: 'per-view',
      accumulate: COUNT,
      viewChunk,
      ...changes,
    })
    const network = buildNetwork(own)
    const step = await compileTrainingStep(gpu, images, network, own, {})
    const losses: number[] = []
    for (let epoch = 0; epoch < 2; epoch++) {
      const micro = Array.from({ length: COUNT }, (_, k) => {
        const numbers = Array.from({ length: own.batch }, (_, i) => k * own.batch + i)
        const draw = { seed: own.seed, epoch, images: numbers, views: own.views, sourceHeight: 10, sourceWidth: 10 }
        return drawViews(own.augmentation, draw)
      })
      await step.run({ rows: new Float32Array(micro.flatMap((part) => [...part])), rate: Float32Array.of(0.05) })
      losses.push((await step.loss())[0])
    }
    const parts = await step.parts!.read()
    expect(parts.reduce((sum, part) => sum + part, 0) / losses[1]).toBeCloseTo(1, 4)
    const variables = [network.backbone, network.projector].flatMap(({ dict }) => dict.variables)
    const weights: number[] = []
    for (const v of variables) weights.push(...(await gpu.read(v)))
    step.destroy()
    for (const v of [...variables, ...step.state]) gpu.release(v)
    return { losses, weights }
  }
  const whole = await trained(undefined)
  for (const viewChunk of [1, 2]) {
    const chunked = await trained(viewChunk)
    expectClose('losses', chunked.losses, whole.losses, tolerance)
    expectClose('weights and running statistics', chunked.weights, whole.weights, tolerance)
  }
  for (const { words } of images.shards) gpu.release(words)
})
