/**
 * Corruptions of test images, for probes on images that differ from the training images: six of those of CIFAR-10-C, with its
 * strengths for images of 32 px (Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261).
 */
import { Purpose, RandomStream } from '../../engine/random.js'
import { imageBytes, type ArrayDataset } from './dataset.js'

interface Picture {
  readonly height: number
  readonly width: number
  /** [height, width, 3] from 0 to 1. */
  readonly values: Float64Array
}

interface Corruption {
  /** Strength by severity, 1 to 5. */
  readonly strengths: readonly [number, number, number, number, number]
  /** @returns values, which are clipped to 0 … 1 afterwards */
  apply(picture: Picture, strength: number, random: RandomStream): Float64Array
}

const NORMAL_REACH = 4

const corruptions = {
  /** x + c n, n standard normal. */
  'gaussian-noise': {
    strengths: [0.04, 0.06, 0.08, 0.09, 0.1],
    apply: ({ values }, c, random) => values.map((x) => x + c * random.normal()),
  },
  /** x + c x n. */
  'speckle-noise': {
    strengths: [0.06, 0.1, 0.12, 0.16, 0.2],
    apply: ({ values }, c, random) => values.map((x) => x + c * x * random.normal()),
  },
  /** A share c of the values becomes 0 or 1. */
  'impulse-noise': {
    strengths: [0.01, 0.02, 0.03, 0.05, 0.07],
    apply: ({ values }, c, random) =>
      values.map((x) => {
        const [hit, white] = [random.chance(c), random.chance(0.5)]
        return hit ? Number(white) : x
      }),
  },
  /** A Gaussian of deviation c pixels, cut off at four deviations; pixels of the edge are repeated. */
  'gaussian-blur': {
    strengths: [0.4, 0.6, 0.7, 0.8, 1],
    apply: (picture, c) => blurred(blurred(picture, c, 'across'), c, 'down').values,
  },
  /** c (x − mean) + mean, with the mean of each channel over the image. */
  contrast: {
    strengths: [0.75, 0.5, 0.4, 0.3, 0.15],
    apply: ({ values }, c) => {
      const mean = [0, 0, 0]
      values.forEach((x, i) => (mean[i % 3] += (3 * x) / values.length))
      return values.map((x, i) => c * (x - mean[i % 3]) + mean[i % 3])
    },
  },
  /** Adds c to the value of HSV; hue and saturation stay. */
  brightness: {
    strengths: [0.05, 0.1, 0.15, 0.2, 0.3],
    apply: ({ values }, c) =>
      values.map((x, i) => {
        const pixel = i - (i % 3)
        const value = Math.max(values[pixel], values[pixel + 1], values[pixel + 2])
        const raised = Math.min(1, value + c)
        return value > 0 ? (x * raised) / value : raised
      }),
  },
} as const satisfies Record<string, Corruption>

export type CorruptionName = keyof typeof corruptions
export const corruptionNames = Object.keys(corruptions) as CorruptionName[]

function blurred({ height, width, values }: Picture, sigma: number, axis: 'across' | 'down'): Picture {
  const reach = Math.floor(NORMAL_REACH * sigma + 0.5)
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-((k - reach) ** 2) / (2 * sigma ** 2)))
  const total = weights.reduce((a, b) => a + b, 0)
  const clamp = (at: number, length: number): number => Math.min(length - 1, Math.max(0, at))
  const result = values.map((_, i) => {
    const [channel, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)]
    return weights.reduce((sum, weight, k) => {
      const [column, line] = axis === 'across' ? [clamp(x + k - reach, width), y] : [x, clamp(y + k - reach, height)]
      return sum + (weight / total) * values[3 * (line * width + column) + channel]
    }, 0)
  })
  return { height, width, values: result }
}

/**
 * A copy of a data set with corrupted images, rounded to bytes. The noise of an image is a function of (seed, corruption,
 * index of the image).
 *
 * @param severity a whole number from 1 to 5
 */
export function corrupted(dataset: ArrayDataset, name: CorruptionName, severity: number, seed: number): ArrayDataset {
  if (![1, 2, 3, 4, 5].includes(severity)) throw new Error(`severity ${severity}: must be a whole number from 1 to 5`)
  const { height, width, count, images } = dataset
  const { strengths, apply }: Corruption = corruptions[name]
  const size = imageBytes(dataset)
  const changed = new Uint8Array(images.length)
  const random = new RandomStream(seed, Purpose.readout)
  for (let i = 0; i < count; i++) {
    random.seek(1 + corruptionNames.indexOf(name), i, severity)
    const values = Float64Array.from(images.subarray(i * size, (i + 1) * size), (byte) => byte / 255)
    const result = apply({ height, width, values }, strengths[severity - 1], random)
    result.forEach((x, k) => (changed[i * size + k] = Math.round(255 * Math.min(1, Math.max(0, x)))))
  }
  return { ...dataset, images: changed }
}
