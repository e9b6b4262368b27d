/** Fine-tuning learns the labels from views without colour augmentation. */
import { expect, test } from 'vitest'
import { Purpose, RandomStream } from '../../../engine/index.js'
import { resnet } from '../../../models/index.js'
import { recipes } from '../../../train/augment/recipe.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { fineTune } from '../../../train/readout/fine_tune.js'
import { engine } from '../../support/engine.js'

const SIDE = 12
/** A recipe that removes all colour and has views of two sizes. Fine-tuning must ignore both. */
const recipe = {
  ...recipes['vicreg-original'],
  size: 8,
  greyscale: 1,
  crops: [
    { views: 2, size: 8, scale: [0.5, 1] as [number, number] },
    { views: 2, size: 4, scale: [0.1, 0.5] as [number, number] },
  ],
}

/** Noise of equal lightness: only the colour depends on the class. */
function coloured(count: number, seed: number) {
  const stream = new RandomStream(seed, Purpose.subset)
  const labels = Array.from({ length: count }, (_, i) => i % 3)
  const images = Uint8Array.from({ length: count * SIDE * SIDE * 3 }, (_, k) => {
    const own = k % 3 === labels[Math.floor(k / (SIDE * SIDE * 3))]
    return 70 + stream.integer(100) + (own ? 60 : 0)
  })
  return fromArrays({ images, labels, height: SIDE, width: SIDE, classes: ['red', 'green', 'blue'] })
}

const network = () => resnet({ arch: 'resnet18', width: 4, seed: 3 })

test('separates colours, starting at the loss of an untrained classifier', async () => {
  const gpu = await engine()
  const backbone = network()
  const steps: number[] = []
  const before = await Promise.all(backbone.dict.variables.map((v) => gpu.read(v)))
  const { top1, top5, losses } = await fineTune(gpu, backbone, coloured(96, 1), coloured(60, 2), {
    recipe,
    classes: 3,
    seed: 1,
    batch: 24,
    epochs: 20,
    onProgress: (done, total) => steps.push(done / total),
  })
  expect(losses).toHaveLength(80)
  expect(steps).toEqual(losses.map((_, i) => (i + 1) / 80))
  expect(losses[0]).toBeCloseTo(Math.log(3), 1)
  expect(losses.slice(-8).reduce((a, b) => a + b) / 8).toBeLessThan(0.3)
  expect(top1).toBeGreaterThan(0.9)
  expect(top5).toBe(1)
  // The whole backbone was trained: weights, biases and running statistics.
  const after = await Promise.all(backbone.dict.variables.map((v) => gpu.read(v)))
  before.forEach((values, i) => expect(after[i], backbone.dict.variables[i].name).not.toEqual(values))
})

test('with random linear projections and consistency it also learns', async () => {
  const gpu = await engine()
  const plain = { recipe: { ...recipe, greyscale: 0, crops: undefined }, classes: 3, seed: 1, batch: 24, epochs: 8 }
  const trained = (options: { projections?: number; consistency?: number }) =>
    fineTune(gpu, network(), coloured(48, 1), coloured(30, 2), { ...plain, ...options })
  const [without, beside] = [await trained({}), await trained({ projections: 0.01, consistency: 0.5 })]
  expect(beside.losses).not.toEqual(without.losses)
  expect(beside.losses.slice(-4).reduce((a, b) => a + b)).toBeLessThan(
    0.8 * beside.losses.slice(0, 4).reduce((a, b) => a + b),
  )
})

test('the same seed gives the same bits, another seed gives others; a batch has at most all images', async () => {
  const gpu = await engine()
  const run = async (seed: number) => {
    const options = { recipe, classes: 3, seed, epochs: 3 }
    return (await fineTune(gpu, network(), coloured(10, 1), coloured(6, 2), options)).losses
  }
  const losses = await run(1)
  expect(losses).toHaveLength(3)
  expect(await run(1)).toEqual(losses)
  expect(await run(2)).not.toEqual(losses)
})

test('images without labels and a diverging loss give one line', async () => {
  const gpu = await engine()
  const train = coloured(6, 1)
  const options = { recipe, classes: 3, seed: 1, epochs: 1 }
  const bare = fromArrays({ images: train.images, height: SIDE, width: SIDE })
  await expect(fineTune(gpu, network(), train, bare, options)).rejects.toThrow(
    /^fine-tuning: the train images of own images have no labels$/,
  )
  const backbone = network()
  const [shift] = backbone.dict.parameters.filter((v) => v.name.endsWith('layer4.1.bn2.bias'))
  gpu.write(shift, new Float32Array(shift.size).fill(Infinity))
  await expect(fineTune(gpu, backbone, train, train, options)).rejects.toThrow(
    /^fine-tuning: the loss is \S+ at step 1[^\n]*$/,
  )
})
