/** Features by batches and views, running statistics of an untrained network, and the readout. */
import { describe, expect, test } from 'vitest'
import { input, Purpose, RandomStream, type Assignment } from '../../../engine/index.js'
import { resnet } from '../../../models/index.js'
import { drawViews, ROW_FLOATS } from '../../../train/augment/draw.js'
import { augmentViews, deviceImages } from '../../../train/augment/views.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { recipes } from '../../../train/augment/recipe.js'
import { fromArrays, readImages, type ImageDataset } from '../../../train/data/dataset.js'
import { subset } from '../../../train/data/subset.js'
import { readout } from '../../../train/readout/readout.js'
import { estimateStatistics, extractFeatures, typicalStatistics } from '../../../train/readout/features.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { fillByFormula } from '../../support/networks.js'

const recipe = { ...recipes.cifar, size: 16 }

/** Images of noise around a colour that depends on the class. */
function coloured(count: number, split: 'train' | 'test') {
  const stream = new RandomStream(split === 'train' ? 1 : 2, Purpose.subset)
  const labels = Array.from({ length: count }, (_, i) => i % 3)
  const images = Uint8Array.from(
    { length: count * 12 * 12 * 3 },
    (_, k) => 60 + stream.integer(60) + (k % 3 === labels[Math.floor(k / (12 * 12 * 3))] ? 130 : 0),
  )
  return fromArrays({ images, labels, height: 12, width: 12, split, classes: ['red', 'green', 'blue'] })
}

const network = () => resnet({ arch: 'resnet18', width: 4, seed: 3 })

describe('features', () => {
  test('in a partly filled batch equal the features of each image alone, in the order of the indices', async () => {
    const gpu = await engine()
    const backbone = network()
    fillByFormula(gpu, backbone.dict)
    const dataset = coloured(11, 'train')
    const indices = [4, 10, 0, 7, 9, 2, 1]
    const together = await extractFeatures(gpu, backbone, dataset, { recipe, seed: 1, batch: 3, indices })
    expect(together).toHaveLength(7 * backbone.features)
    for (const [row, i] of indices.entries()) {
      const alone = await extractFeatures(gpu, backbone, subset(dataset, [i]), { recipe, seed: 1 })
      expectClose(`image ${i}`, together.subarray(row * backbone.features, (row + 1) * backbone.features), alone, 1e-5)
    }
    expect(together.slice(0, backbone.features)).not.toEqual(together.slice(backbone.features, 2 * backbone.features))
  })

  test('have the same bits when images come from a store, and do not depend on the crops of pretraining', async () => {
    const gpu = await engine()
    const backbone = network()
    fillByFormula(gpu, backbone.dict)
    const dataset = coloured(7, 'train')
    const reads: number[][] = []
    const stored: ImageDataset = {
      ...dataset,
      images: {
        read: (indices, out) => {
          reads.push(Array.from(indices))
          return readImages(dataset, indices, out)
        },
      },
    }
    const options = { recipe, seed: 1, views: 2, batch: 3 }
    const expected = await extractFeatures(gpu, backbone, dataset, options)
    expect(await extractFeatures(gpu, backbone, stored, options)).toEqual(expected)
    // The images of a batch are read once for all views. The last batch repeats its last image.
    expect(reads).toEqual([
      [0, 1, 2],
      [3, 4, 5],
      [6, 6, 6],
    ])
    const crops = [{ views: 5, size: 4, scale: [0.1, 0.2] as [number, number] }]
    const multi = { ...recipe, crops }
    expect(await extractFeatures(gpu, backbone, dataset, { ...options, recipe: multi })).toEqual(expected)
  })

  test('of k views are the mean over the clean view and k − 1 views from the seed', async () => {
    const gpu = await engine()
    const backbone = network()
    fillByFormula(gpu, backbone.dict)
    const dataset = coloured(5, 'train')
    const read = (views: number, seed: number, batch = 2) =>
      extractFeatures(gpu, backbone, dataset, { recipe, views, seed, batch })
    const [one, two, three] = [await read(1, 1), await read(2, 1), await read(3, 1)]
    expect(await read(3, 1, 5)).toEqual(three)
    expect(await read(1, 2)).toEqual(one)
    expect(await read(2, 2)).not.toEqual(two)
    // Without random changes all views are the clean one.
    const jitter = { ...recipe.jitter, probability: 0 }
    const tame = { ...recipe, scale: [1, 1], ratio: [1, 1], flip: 0, greyscale: 0, jitter } as typeof recipe
    const still = await extractFeatures(gpu, backbone, dataset, { recipe: tame, views: 3, seed: 1, batch: 2 })
    expectClose('mean of equal views', still, one, 1e-6)
    // 2 · mean of two − clean is the second view, which is also part of the mean of three.
    const second = two.map((v, i) => 2 * v - one[i])
    const third = three.map((v, i) => 3 * v - one[i] - second[i])
    const [a, b] = [second, third].map((view) => Math.hypot(...view.map((v, i) => v - one[i])))
    expect(Math.min(a, b)).toBeGreaterThan(1e-3 * Math.hypot(...one))
    expect(Math.max(a, b)).toBeLessThan(2 * Math.hypot(...one))
  })

  test('that are not finite give an error with the image, and a batch of 0 is refused', async () => {
    const gpu = await engine()
    const backbone = network()
    fillByFormula(gpu, backbone.dict)
    const [shift] = backbone.dict.parameters.filter((v) => v.name.endsWith('layer4.1.bn2.bias'))
    gpu.write(shift, new Float32Array(shift.size).fill(Infinity))
    const dataset = coloured(3, 'train')
    await expect(extractFeatures(gpu, backbone, dataset, { recipe, seed: 1, indices: [2, 1] })).rejects.toThrow(
      /^features: image 2 [^\n]*not finite[^\n]*$/,
    )
    await expect(extractFeatures(gpu, backbone, dataset, { recipe, seed: 1, batch: 0 })).rejects.toThrow(/batch 0/)
  })
})

describe('statistics of an untrained network', () => {
  test('approach the statistics of the data, and the weights stay', async () => {
    const gpu = await engine()
    const backbone = network()
    const dataset = coloured(40, 'train')
    const { entries } = backbone.dict
    const before = new Map<string, Float32Array>()
    for (const [name, { variable }] of entries) before.set(name, await gpu.read(variable))
    const options = { recipe, views: 2, batch: 16, seed: 1 }
    await estimateStatistics(gpu, backbone, dataset, options)
    for (const [name, { variable, trainable }] of entries) {
      const after = await gpu.read(variable)
      if (trainable) expect(after, name).toEqual(before.get(name))
      else expect(after, name).not.toEqual(before.get(name))
    }
    // With the right statistics, features have an order of magnitude of 1.
    const features = await extractFeatures(gpu, backbone, dataset, { recipe, seed: 1 })
    const size = Math.sqrt(features.reduce((sum, v) => sum + v * v, 0) / features.length)
    expect(size).toBeGreaterThan(0.1)
    expect(size).toBeLessThan(10)
  })

  test('are the means over batches and groups, whatever the statistics were before', async () => {
    const gpu = await engine()
    const backbone = network()
    const dataset = coloured(12, 'train')
    const { entries } = backbone.dict
    const read = async () => {
      const found: [string, Float32Array][] = []
      for (const [name, { variable, trainable }] of entries)
        if (!trainable) found.push([name, await gpu.read(variable)])
      return new Map(found)
    }
    // Without random changes each batch of all images has the same statistics, in another order.
    const jitter = { ...recipe.jitter, probability: 0 }
    const tame = { ...recipe, scale: [1, 1], ratio: [1, 1], flip: 0, greyscale: 0, jitter } as typeof recipe
    const options = { recipe: tame, views: 2, batch: 12, seed: 1 }
    const images = deviceImages(dataset, gpu.target.maxBindingBytes)
    const rows = input('rows', [24, ROW_FLOATS])
    const updates: Assignment[] = []
    backbone.forward(augmentViews(images, rows, tame), { training: true, updates })
    const step = await gpu.compile({ updates })
    const all = Uint32Array.from({ length: 12 }, (_, i) => i)
    await step.run({ rows: drawViews(tame, { seed: 1, epoch: 0, images: all, views: 2, ...images }) })
    step.destroy()
    // One step of the moving average, with momentum .1 from mean 0 and variance 1.
    const expected = await read()
    for (const [name, values] of expected)
      expected.set(
        name,
        values.map((v) => (name.endsWith('mean') ? v : v - 0.9) / 0.1),
      )
    for (const [batches, groups] of [
      [1, 1],
      [5, 1],
      [3, 2],
    ]) {
      await estimateStatistics(gpu, backbone, dataset, { ...options, batches, groups })
      for (const [name, values] of await read())
        // The unbiased variance of a group has a slightly larger factor than that of both.
        expectClose(`${name}, ${batches} batches`, values, expected.get(name)!, groups === 1 ? 1e-4 : 0.05)
    }
  })

  test('are estimated from one view per image, or from as many as the recipe distinguishes', () => {
    const settings = (changes: PartialConfig) => typicalStatistics(resolveConfig(changes))
    expect(settings({ views: 4, batch: 128 })).toMatchObject({ views: 1, batch: 256, groups: 1 })
    expect(settings({ views: 4, batch: 16, bn: 'per-view' })).toMatchObject({ views: 1, batch: 64, groups: 1 })
    const original: PartialConfig = { views: 4, augmentation: { recipe: 'barlow-twins-original' } }
    expect(settings({ ...original, bn: 'per-view' })).toMatchObject({ views: 2, batch: 128, groups: 2 })
  })
})

describe('readout', () => {
  test('reads colours from an untrained network and gives both standard errors', async () => {
    const gpu = await engine()
    const backbone = network()
    const [train, held] = [coloured(120, 'train'), coloured(60, 'test')]
    await estimateStatistics(gpu, backbone, train, { recipe, views: 2, batch: 30, batches: 20, seed: 1 })
    const phases = new Set<string>()
    const result = await readout(gpu, backbone, train, held, {
      recipe,
      views: 1,
      seeds: [1, 2, 3],
      ks: [20, 200],
      onProgress: (phase) => phases.add(phase),
    })
    expect(phases.size).toBe(4)
    expect(result).toMatchObject({ views: 1, trainCount: 120, testCount: 60 })
    const {
      linear,
      knn: [knn20, knn200],
    } = result
    expect([knn20.k, knn200.k]).toEqual([20, 200])
    expect(knn20.top1).toBe(1)
    expect(knn20.standardError).toBe(0)
    expect(knn200.top1).toBeGreaterThan(0.5)
    expect(linear.perSeed.map((p) => p.seed)).toEqual([1, 2, 3])
    const accuracies = linear.perSeed.map((p) => p.top1)
    const mean = accuracies.reduce((a, b) => a + b) / 3
    const deviation = Math.sqrt(accuracies.reduce((sum, a) => sum + (a - mean) ** 2, 0) / 2)
    expect(linear.top1).toBeCloseTo(mean, 12)
    expect(linear.seedStandardError).toBeCloseTo(deviation / Math.sqrt(3), 12)
    expect(linear.standardError).toBeCloseTo(Math.sqrt((mean * (1 - mean)) / 60), 12)
    expect(linear.top1).toBeGreaterThan(0.6)
  })

  test('reads only the first images of each class, without neighbours, when asked to', async () => {
    const gpu = await engine()
    const backbone = network()
    const [train, held] = [coloured(30, 'train'), coloured(15, 'test')]
    const options = { recipe, views: 1, seeds: [1], epochs: 2 }
    const limits = { trainPerClass: 4, testPerClass: 3 }
    const limited = await readout(gpu, backbone, train, held, { ...options, ...limits })
    expect(limited).toMatchObject({ trainCount: 12, testCount: 9, knn: [] })
    const first = (dataset: ImageDataset, count: number) =>
      subset(
        dataset,
        Array.from({ length: count }, (_, i) => i),
      )
    expect(await readout(gpu, backbone, first(train, 12), first(held, 9), options)).toEqual(limited)
  })

  test('needs labels', async () => {
    const gpu = await engine()
    const train = coloured(6, 'train')
    const bare = fromArrays({ images: train.images, height: 12, width: 12 })
    await expect(readout(gpu, network(), bare, train, { recipe, views: 1, seeds: [1] })).rejects.toThrow(/no labels/)
  })
})
