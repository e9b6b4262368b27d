import { describe, expect, test } from 'vitest'
import {
  fractionIndices,
  fractionIndicesPerClass,
  fromArrays,
  inMemory,
  loadDataset,
  readImages,
  subset,
  type ImageDataset,
} from '../../../train/data/dataset.js'

test('an unknown name lists the known ones', async () => {
  await expect(loadDataset('cifar11', 'train')).rejects.toThrow(/^unknown data set "cifar11"; known: .*\bcifar10\b/)
  await expect(loadDataset('constructor', 'train')).rejects.toThrow('unknown data set "constructor"')
})

describe('fromArrays', () => {
  // Three images of 1×2 pixels.
  const images = Uint8Array.of(0, 10, 7, 2, 20, 7, 4, 30, 7, 6, 40, 7, 8, 50, 7, 10, 60, 7)

  test('takes the arrays as they are', () => {
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

  test('labels are optional, and so are the names of classes', () => {
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

describe('subset', () => {
  const images = Uint8Array.from({ length: 5 * 12 }, (_, i) => i)
  const dataset = fromArrays({
    images,
    height: 2,
    width: 2,
    labels: [10, 11, 12, 13, 14],
    classes: Array(15).fill('c'),
  })

  test('copies images and labels in the order asked for', () => {
    const part = subset(dataset, Uint32Array.of(3, 0, 3))
    expect(part.count).toBe(3)
    expect([...part.labels]).toEqual([13, 10, 13])
    expect([...part.images]).toEqual([3, 0, 3].flatMap((index) => [...images.subarray(index * 12, index * 12 + 12)]))
    part.images.fill(0)
    expect(images[36]).toBe(36)
  })

  test('keeps unlabelled images unlabelled', () => {
    const part = subset(fromArrays({ images, height: 2, width: 2 }), [1])
    expect(part.count).toBe(1)
    expect(part.labels).toHaveLength(0)
  })

  test.each([-1, 5, 0.5])('refuses index %d', (index) => {
    expect(() => subset(dataset, [0, index])).toThrow(`index ${index} is outside own images train (5 images)`)
  })
})

test('images are read alike from memory and from a store, from subsets and subsets of them', async () => {
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

describe('fractionIndicesPerClass', () => {
  // 40 images of class 2, 10 of class 7, 1 of class 0, mixed.
  const labels = Uint16Array.from({ length: 51 }, (_, i) => (i === 17 ? 0 : i % 5 === 0 && i > 0 ? 7 : 2))
  const counts = (indices: Uint32Array) =>
    [0, 2, 7].map((label) => [...indices].filter((i) => labels[i] === label).length)

  test('takes the share of each class, at least one of it, ascending and without repetition', () => {
    expect(counts(fractionIndicesPerClass(labels, 1, 1))).toEqual([1, 40, 10])
    const chosen = fractionIndicesPerClass(labels, 0.3, 1)
    expect(counts(chosen)).toEqual([1, 12, 3])
    for (let i = 1; i < chosen.length; i++) expect(chosen[i]).toBeGreaterThan(chosen[i - 1])
    expect(counts(fractionIndicesPerClass(labels, 0.001, 1))).toEqual([1, 1, 1])
    expect(() => fractionIndicesPerClass(labels, 0, 1)).toThrow('fraction: 0 is not above 0')
  })

  test('depends on the seed; a smaller share lies within a larger one, and classes do not depend on each other', () => {
    const chosen = fractionIndicesPerClass(labels, 0.5, 1)
    expect(fractionIndicesPerClass(labels, 0.5, 1)).toEqual(chosen)
    expect(fractionIndicesPerClass(labels, 0.5, 2)).not.toEqual(chosen)
    for (const index of fractionIndicesPerClass(labels, 0.2, 1)) expect(chosen).toContain(index)
    const others = labels.map((label) => (label === 7 ? 3 : label))
    const among = (indices: Uint32Array) => indices.filter((i) => labels[i] === 2)
    expect(among(fractionIndicesPerClass(others, 0.5, 1))).toEqual(among(chosen))
  })
})

describe('fractionIndices', () => {
  test('depends on its arguments alone, ascending and without repetition', () => {
    const chosen = fractionIndices(1000, 0.1, 7)
    expect(chosen).toHaveLength(100)
    expect(fractionIndices(1000, 0.1, 7)).toEqual(chosen)
    expect(fractionIndices(1000, 0.1, 8)).not.toEqual(chosen)
    for (let i = 1; i < chosen.length; i++) expect(chosen[i]).toBeGreaterThan(chosen[i - 1])
    expect(chosen.at(-1)).toBeLessThan(1000)
  })

  test('all of it, and never none of it', () => {
    expect([...fractionIndices(6, 1, 3)]).toEqual([0, 1, 2, 3, 4, 5])
    expect(fractionIndices(6, 0.001, 3)).toHaveLength(1)
  })

  test('a smaller fraction lies within a larger one', () => {
    const larger = new Set(fractionIndices(500, 0.4, 1))
    for (const index of fractionIndices(500, 0.2, 1)) expect(larger).toContain(index)
  })

  test('every image is as likely as another', () => {
    const [count, seeds] = [50, 4000]
    const hits = new Float64Array(count)
    for (let seed = 0; seed < seeds; seed++) for (const index of fractionIndices(count, 0.2, seed)) hits[index]++
    const expected = seeds * 0.2
    // Hits of one image are binomial; those of different images correlate by −1/(count − 1), so
    // that this sum follows chi-square with count − 1 = 49 degrees of freedom (99.9 %: 85.4; 0.1 %: 23.98).
    let statistic = 0
    for (const hit of hits) statistic += (hit - expected) ** 2 / (expected * 0.8)
    statistic *= (count - 1) / count
    expect(statistic).toBeLessThan(85.4)
    expect(statistic).toBeGreaterThan(23.98)
  })

  test.each([0, -0.1, 1.01, NaN])('refuses fraction %d', (fraction) => {
    expect(() => fractionIndices(10, fraction, 1)).toThrow(`fraction: ${fraction} is not above 0 and at most 1`)
  })
})
