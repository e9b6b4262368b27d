/** A step over micro-batches reports the mean loss of the micro-batches, and the parts of that loss. */
import { expect, test, vi } from 'vitest'
import { Program } from '../../../engine/index.js'
import { drawViews } from '../../../train/augment/draw.js'
import { deviceImages } from '../../../train/augment/views.js'
import { resolveConfig } from '../../../train/config/config.js'
import { compileAccumulatedStep } from '../../../train/step/accumulated.js'
import { buildNetwork } from '../../../train/step/network.js'
import { compileStep } from '../../../train/step/whole.js'
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
