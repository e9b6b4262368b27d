/** Projectors whose weights are larger than a binding: the paper's widest one plans, and small ones train alike. */
import { expect, test } from 'vitest'
import type { Engine } from '../../../engine/index.js'
import { deviceImages } from '../../../train/augment/views.js'
import { resolveConfig } from '../../../train/config/config.js'
import { buildNetwork, trainedDicts } from '../../../train/step/network.js'
import { compileStep, describeStep } from '../../../train/step/whole.js'
import { drawViews } from '../../../train/augment/draw.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const dataset = colourfulImages(24)
const configOf = (views: number, projectorDim: number) =>
  resolveConfig({
    data: 'own images',
    width: 4,
    projectorDim,
    lambda: 0.001,
    batch: 12,
    views,
    seed: 5,
    augmentation: { size: 8 },
  })

const limitedTo = (gpu: Engine, maxBindingBytes: number): Engine =>
  Object.create(gpu, { target: { value: { ...gpu.target, maxBindingBytes } } }) as Engine

test.each([2, 4])('width 8192 plans within bindings of 128 MiB: %i views', async (views) => {
  const small = limitedTo(await engine(), 2 ** 27)
  const config = configOf(views, 8192)
  const plan = small.plan(describeStep(deviceImages(dataset, 2 ** 27), buildNetwork(config), config).spec)
  // Weights of 256 MiB exist, and no binding covers them.
  expect(Math.max(...plan.storages.map(({ bytes }) => bytes))).toBeGreaterThanOrEqual(2 ** 28)
  expect(
    Math.max(...plan.dispatches.flatMap(({ bindings }) => bindings.map(({ bytes }) => bytes))),
  ).toBeLessThanOrEqual(2 ** 27)
})

test.each([2, 4])('a projector that is cut trains like an uncut one: %i views', async (views) => {
  const config = configOf(views, 160)
  const losses: number[][] = []
  for (const gpu of [await engine(), limitedTo(await engine(), 64 * 1024)]) {
    const network = buildNetwork(config)
    const images = deviceImages(dataset, gpu.target.maxBindingBytes)
    const step = await compileStep(gpu, images, network, config)
    const seen: number[] = []
    for (let epoch = 0; epoch < 3; epoch++) {
      const batch = Array.from({ length: config.batch }, (_, i) => 2 * i)
      const { augmentation, seed } = config
      const rows = drawViews(augmentation, { seed, epoch, images: batch, views, sourceHeight: 10, sourceWidth: 10 })
      await step.run({ rows, rate: Float32Array.of(1e-3) })
      seen.push((await step.loss())[0])
    }
    losses.push(seen)
    step.destroy()
    for (const v of [...trainedDicts(network).flatMap((d) => d.variables), ...step.state]) gpu.release(v)
  }
  // The sums have another order; Adam amplifies the difference from step to step.
  losses[0].forEach((loss, i) => expect(Math.abs(losses[1][i] / loss - 1)).toBeLessThan([1e-5, 1e-3, 1e-2][i]))
})
