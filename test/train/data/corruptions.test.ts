/** Corruptions of images, against closed forms and moments. */
import { expect, test } from 'vitest'
import { corrupted, corruptionNames } from '../../../train/data/corruptions.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { subset } from '../../../train/data/subset.js'

const grey = (value: number, count = 8, side = 32) =>
  fromArrays({ images: new Uint8Array(count * side * side * 3).fill(value), height: side, width: side })

const moments = (bytes: Uint8Array) => {
  const mean = bytes.reduce((a, b) => a + b, 0) / bytes.length
  return { mean, deviation: Math.sqrt(bytes.reduce((sum, b) => sum + (b - mean) ** 2, 0) / bytes.length) }
}

test('noise has the stated deviation, and the mean stays', () => {
  for (const [name, deviation] of [
    ['gaussian-noise', 0.08],
    // 0.12 of the grey value 120 / 255.
    ['speckle-noise', (0.12 * 120) / 255],
  ] as const) {
    const { images } = corrupted(grey(120), name, 3, 1)
    const found = moments(images)
    // 24,576 values: two standard errors are 0.9 % of the deviation, and of the mean 0.013 deviations.
    expect(Math.abs(found.mean - 120)).toBeLessThan(0.03 * 255 * deviation)
    expect(Math.abs(found.deviation / (255 * deviation) - 1)).toBeLessThan(0.02)
  }
})

test('impulse noise makes the stated share of values black or white', () => {
  const { images } = corrupted(grey(120), 'impulse-noise', 5, 1)
  const [black, white] = [0, 255].map((byte) => images.filter((b) => b === byte).length / images.length)
  expect(black).toBeGreaterThan(0.03)
  expect(white).toBeGreaterThan(0.03)
  expect(Math.abs(black + white - 0.07)).toBeLessThan(0.005)
  expect(images.filter((b) => b !== 0 && b !== 255 && b !== 120)).toHaveLength(0)
})

test('blur is the normalised Gaussian, and keeps a flat image', () => {
  const point = grey(0, 1, 9)
  point.images[3 * (4 * 9 + 4)] = 255
  const { images } = corrupted(point, 'gaussian-blur', 5, 1)
  const at = (x: number, y: number): number => images[3 * (y * 9 + x)]
  const line = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((k) => Math.exp((-k * k) / 2))
  const total = line.reduce((a, b) => a + b, 0)
  for (const [x, y] of [
    [4, 4],
    [5, 4],
    [3, 6],
  ])
    expect(at(x, y)).toBe(Math.round((255 * line[x] * line[y]) / total ** 2))
  expect(images.filter((_, i) => i % 3 > 0).every((b) => b === 0)).toBe(true)
  expect(corrupted(grey(77), 'gaussian-blur', 3, 1).images.every((b) => b === 77)).toBe(true)
})

test('contrast shrinks about the mean of each channel; brightness raises the value of HSV', () => {
  const two = fromArrays({ images: Uint8Array.of(0, 100, 10, 200, 98, 30), height: 1, width: 2 })
  // c = .4: 100 ± 40, 99 ± .4, 20 ± 4.
  expect([...corrupted(two, 'contrast', 3, 1).images]).toEqual([60, 99, 16, 140, 99, 24])
  // + .3 · 255 = 76.5: values 100 and 200 become 176.5 and 255.
  const factors = [176.5 / 100, 255 / 200]
  expect([...corrupted(two, 'brightness', 5, 1).images]).toEqual(
    [...two.images].map((byte, i) => Math.round(byte * factors[i < 3 ? 0 : 1])),
  )
  expect([...corrupted(grey(0, 1, 1), 'brightness', 2, 1).images]).toEqual([26, 26, 26])
})

test('every severity differs more than the one before; an image has the same noise in any run of the same seed', () => {
  const images = Uint8Array.from({ length: 4 * 300 }, (_, i) => 127 + 100 * Math.sin(i / 7))
  const dataset = fromArrays({ images, height: 10, width: 10 })
  for (const name of corruptionNames) {
    const distances = [1, 2, 3, 4, 5].map((severity) =>
      corrupted(dataset, name, severity, 3).images.reduce((sum, byte, i) => sum + Math.abs(byte - images[i]), 0),
    )
    expect(distances, name).toEqual([...distances].sort((a, b) => a - b))
    const first = corrupted(subset(dataset, [0, 1]), name, 2, 3).images
    expect(first).toEqual(corrupted(dataset, name, 2, 3).images.subarray(0, 600))
  }
  expect(() => corrupted(dataset, 'contrast', 6, 1)).toThrow('severity 6: must be a whole number from 1 to 5')
})
