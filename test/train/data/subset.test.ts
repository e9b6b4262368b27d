import { describe, expect, test } from 'vitest'
import { fromArrays } from '../../../train/data/dataset.js'
import {
  firstAcrossClasses,
  firstOfEachClass,
  fractionIndices,
  fractionIndicesPerClass,
  subset,
} from '../../../train/data/subset.js'

describe('subset', () => {
  const images = Uint8Array.from({ length: 5 * 12 }, (_, i) => i)
  const dataset = fromArrays({
    images,
    height: 2,
    width: 2,
    labels: [10, 11, 12, 13, 14],
    classes: Array(15).fill('c'),
  })

  test('copies images and labels in the order of the indices', () => {
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

describe('fractionIndicesPerClass', () => {
  // 40 images of class 2, 10 of class 7, 1 of class 0, mixed.
  const labels = Uint16Array.from({ length: 51 }, (_, i) => (i === 17 ? 0 : i % 5 === 0 && i > 0 ? 7 : 2))
  const counts = (indices: Uint32Array) =>
    [0, 2, 7].map((label) => [...indices].filter((i) => labels[i] === label).length)

  test('takes the share of each class, at least one image, in ascending order without repetition', () => {
    expect(counts(fractionIndicesPerClass(labels, 1, 1))).toEqual([1, 40, 10])
    const chosen = fractionIndicesPerClass(labels, 0.3, 1)
    expect(counts(chosen)).toEqual([1, 12, 3])
    for (let i = 1; i < chosen.length; i++) expect(chosen[i]).toBeGreaterThan(chosen[i - 1])
    expect(counts(fractionIndicesPerClass(labels, 0.001, 1))).toEqual([1, 1, 1])
    expect(() => fractionIndicesPerClass(labels, 0, 1)).toThrow('fraction: 0 is not above 0')
  })

  test('depends on the seed; a larger share contains a smaller one, and classes do not depend on each other', () => {
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
  test('depends only on its arguments, in ascending order without repetition', () => {
    const chosen = fractionIndices(1000, 0.1, 7)
    expect(chosen).toHaveLength(100)
    expect(fractionIndices(1000, 0.1, 7)).toEqual(chosen)
    expect(fractionIndices(1000, 0.1, 8)).not.toEqual(chosen)
    for (let i = 1; i < chosen.length; i++) expect(chosen[i]).toBeGreaterThan(chosen[i - 1])
    expect(chosen.at(-1)).toBeLessThan(1000)
  })

  test('can take all images, and takes at least one', () => {
    expect([...fractionIndices(6, 1, 3)]).toEqual([0, 1, 2, 3, 4, 5])
    expect(fractionIndices(6, 0.001, 3)).toHaveLength(1)
  })

  test('a larger fraction contains a smaller one', () => {
    const larger = new Set(fractionIndices(500, 0.4, 1))
    for (const index of fractionIndices(500, 0.2, 1)) expect(larger).toContain(index)
  })

  test('every image is equally likely', () => {
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

describe('the first images', () => {
  const labels = [2, 0, 0, 1, 2, 0, 1, 2]
  const dataset = fromArrays({ images: new Uint8Array(8 * 12), height: 2, width: 2, labels })

  test('takes the first images of each class in the order of the data set', () => {
    expect(firstOfEachClass(dataset, 2)).toEqual([0, 1, 2, 3, 4, 6])
    expect(firstOfEachClass(dataset, 99)).toHaveLength(8)
  })

  test('takes one of each class in turn', () => {
    expect(firstAcrossClasses(dataset, 5)).toEqual([1, 3, 0, 2, 6])
    expect(firstAcrossClasses({ ...dataset, labels: new Uint8Array(0), classes: [] }, 3)).toEqual([0, 1, 2])
  })
})
