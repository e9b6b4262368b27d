/** The comparison of related methods, and its training loop for instance discrimination. */
import { expect, test } from 'vitest'
import { claimsOf, type Measured } from '../../../bench/paper/experiments/related.js'
import { trainInstances } from '../../../bench/paper/related/instances.js'
import { resolveConfig } from '../../../train/config/config.js'
import { DivergedError } from '../../../train/run/diverged.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { engine } from '../../support/engine.js'
import { heldAfter } from '../../support/held.js'
import { colourfulImages } from '../../support/images.js'

// 23 images: the last batch of the bank is not whole, and epochs drop images.
const { images, height, width } = colourfulImages(23)
const dataset = fromArrays({ images, height, width, name: 'own images' })
const config = resolveConfig({
  ...{ data: 'own images', width: 4, views: 2, projectorDim: 6, batch: 8, epochs: 30, lr: 0.01, seed: 5 },
  augmentation: { size: 8 },
})

async function trained(tilt?: number) {
  const gpu = await engine()
  const { backbone, losses } = await trainInstances(gpu, dataset, config, { tilt })
  const [first] = backbone.dict.parameters
  const weights = await gpu.read(first)
  for (const v of backbone.dict.variables) gpu.release(v)
  return { losses, weights: [...weights] }
}

test('instance discrimination learns, gives the same bits again, and a tilt of 0 weighs all images equally', async () => {
  const { losses, weights } = await trained()
  expect(losses).toHaveLength(6)
  expect(losses[5]).toBeLessThan(0.8 * losses[0])
  const again = await trained()
  expect(again).toEqual({ losses, weights })
  const equal = await trained(0)
  equal.losses.slice(0, 2).forEach((loss, i) => expect(loss / losses[i]).toBeCloseTo(1, 4))
  const tilted = await trained(2)
  expect(tilted.losses[5] / losses[5]).not.toBeCloseTo(1, 2)
})

test('a training frees all but the backbone that it returns, and everything if it is stopped', async () => {
  expect(await heldAfter(() => trained(1))).toEqual([])
  const stop = new AbortController()
  const gpu = await engine()
  const stopped = () =>
    trainInstances(gpu, dataset, config, {
      signal: stop.signal,
      onStep: () => stop.abort(),
    })
  expect(await heldAfter(() => expect(stopped()).rejects.toThrow('abort'))).toEqual([])
})

test('a training that it cannot do is refused; one that diverges says so', async () => {
  const gpu = await engine()
  for (const changes of [{ precision: 'f16' }, { accumulate: 2 }, { lastBatch: 'keep' }] as const)
    await expect(trainInstances(gpu, dataset, { ...config, ...changes })).rejects.toThrow('needs `precision` f32')
  await expect(trainInstances(gpu, dataset, { ...config, lr: 1e38 })).rejects.toBeInstanceOf(DivergedError)
})

test('each method is compared by seed with what it changes', () => {
  const names = [
    ...['plain', '4 views', 'sharpness-aware', 'extragradient', 'gated channels, half of them open'],
    ...['instance discrimination, one view', 'instance discrimination, weighted images'],
  ]
  // Method k reaches 10 k + k · seed points on clean images, and 10 k − 1 on corrupted images.
  const measured: Measured = new Map(
    names.map((name, k) => [
      name,
      [1, 2].map((seed) => ({ clean: 10 * k + seed * k, corrupted: 10 * k - 1, tuned: k ? [] : [50, 50 + seed, 40] })),
    ]),
  )
  expect(claimsOf(measured).map(({ statement, perSeed }) => [statement, perSeed])).toEqual([
    ['sharpness-aware − plain', [22, 24]],
    ['extragradient − plain', [33, 36]],
    ['gated channels, half of them open − plain', [44, 48]],
    ['instance discrimination, one view − plain', [55, 60]],
    ['instance discrimination, weighted images − equal weights', [11, 12]],
    ['few labels, with random linear projections − plain fine-tuning', [1, 2]],
    ['few labels, with consistency of features − plain fine-tuning', [-10, -10]],
    ['corrupted images, 4 views − 2 views', [10, 10]],
  ])
})
