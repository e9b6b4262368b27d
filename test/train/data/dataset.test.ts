import { describe, expect, test } from 'vitest'
import { subset } from '../../../train/data/subset.js'
import { fromArrays, inMemory, readImages, type ImageDataset } from '../../../train/data/dataset.js'
import { datasetRegistry, MissingSplitError } from '../../../train/data/registry.js'
import { loadDataset } from '../../../train/node/data/index.js'

test('an unknown name lists the known ones', async () => {
  await expect(loadDataset('cifar11', 'train')).rejects.toThrow(/^unknown data set "cifar11"; known: .*\bcifar10\b/)
  await expect(loadDataset('constructor', 'train')).rejects.toThrow('unknown data set "constructor"')
})

describe('a registry', () => {
  const loaded: string[] = []
  const registry = datasetRegistry({
    mine: async () => ({
      splits: ['train', 'unlabelled'],
      pretraining: 'unlabelled',
      side: 1,
      locate: async () => 'nowhere',
      async load(split) {
        loaded.push(split)
        return fromArrays({ images: new Uint8Array(3), height: 1, width: 1, split })
      },
    }),
  })

  test('loads the splits of its data sets', async () => {
    expect(registry.names).toEqual(['mine'])
    expect((await registry.load('mine', 'pretraining')).split).toBe('unlabelled')
    expect((await registry.load('mine', 'train')).split).toBe('train')
    expect(loaded).toEqual(['unlabelled', 'train'])
  })

  test('refuses a missing split and a resolution for images of a fixed size', async () => {
    await expect(registry.load('mine', 'test')).rejects.toThrow(
      new MissingSplitError('mine has no test split; it has train, unlabelled'),
    )
    await expect(registry.load('mine', 'train', { resolution: 8 })).rejects.toThrow(/^`resolution` 8: .* fixed size/)
  })
})

describe('fromArrays', () => {
  // Three images of 1×2 pixels.
  const images = Uint8Array.of(0, 10, 7, 2, 20, 7, 4, 30, 7, 6, 40, 7, 8, 50, 7, 10, 60, 7)

  test('uses the arrays without copying the images', () => {
    const dataset = fromArrays({ images, height: 1, width: 2, labels: [2, 0, 1], classes: ['a', 'b', 'c'] })
    expect(dataset).toMatchObject({
      count: 3,
      height: 1,
      width: 2,
      channels: 3,
      split: 'train',
      classes: ['a', 'b', 'c'],
    })
    expect(dataset.images.buffer).toBe(images.buffer)
    expect([...dataset.labels]).toEqual([2, 0, 1])
  })

  test('labels and the names of classes are optional', () => {
    const unlabelled = fromArrays({ images: new Uint8ClampedArray(images), height: 1, width: 2 })
    expect(unlabelled.labels).toHaveLength(0)
    expect(unlabelled.classes).toEqual([])
    expect(fromArrays({ images, height: 1, width: 2, labels: [0, 2, 0] }).classes).toEqual(['0', '1', '2'])
  })

  test.each<[string, object, string]>([
    ['size', { height: 1, width: 4 }, '18 bytes are not a whole number of 1×4 RGB images'],
    ['no image', { images: new Uint8Array(0) }, '0 bytes are not a whole number'],
    ['width 0', { width: 0 }, 'width 0 is not a positive integer'],
    ['label count', { labels: [0, 1] }, '2 labels for 3 images'],
    ['label range', { labels: [0, 1, 2], classes: ['a', 'b'] }, 'label 2 of image 2 is not an integer from 0 to 1'],
    ['label kind', { labels: [0, 0.5, 2] }, 'label 0.5 of image 1'],
  ])('refuses a bad %s', (_name, change, message) => {
    const make = () => fromArrays({ images, height: 1, width: 2, name: 'mine', ...change })
    expect(make).toThrow(message)
    expect(make).toThrow(/^mine: [^\n]+$/)
  })
})

test('images from memory and from a store are equal, also in subsets of subsets', async () => {
  const images = Uint8Array.from({ length: 6 * 12 }, (_, i) => i)
  const inArray: ImageDataset = fromArrays({ images, height: 2, width: 2 })
  const asked: number[][] = []
  const stored: ImageDataset = {
    ...inArray,
    images: {
      async read(indices, out) {
        asked.push(Array.from(indices))
        await readImages(inArray, indices, out)
      },
    },
  }
  for (const dataset of [inArray, stored]) {
    const some = subset(subset(dataset, [5, 0, 3, 2]), [3, 0])
    expect(some.count).toBe(2)
    const out = new Uint8Array(24)
    await readImages(some, [1, 0], out)
    expect([...out]).toEqual([...images.subarray(60, 72), ...images.subarray(24, 36)])
    expect([...(await inMemory(some)).images]).toEqual([...images.subarray(24, 36), ...images.subarray(60, 72)])
  }
  expect(asked).toEqual([
    [5, 2],
    [2, 5],
  ])
})
