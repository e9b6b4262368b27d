/**
 * What is drawn at random for a view, as data. The steps and their order are those of the paper's
 * code: random resized crop, flip, colour jitter, greyscale, solarise, normalise.
 */
import { z } from 'zod'

const probability = z.number().min(0).max(1)
const strength = z.number().min(0).max(1)
const rgb = z.tuple([z.number(), z.number(), z.number()])
const positive = z.number().positive()

function range(name: string, bound: z.ZodNumber) {
  return z.tuple([bound, bound]).refine(([low, high]) => low <= high, `${name}: the lower end must come first`)
}

export const augmentationRecipe = z.strictObject({
  /** Height and width of a view, in pixels. */
  size: z.number().int().min(1).max(4096),
  /** Random resized crop: range of the crop's area as a share of the image's. */
  scale: range('scale', positive.max(1)),
  /** Random resized crop: range of the crop's width / height. */
  ratio: range('ratio', positive),
  /** Probability of a horizontal flip. */
  flip: probability,
  /**
   * Colour jitter, as a whole with its probability; factors uniform in 1 ± strength, the hue turned
   * by ± `hue` of a full turn about the grey axis of RGB.
   */
  jitter: z.strictObject({
    probability,
    brightness: strength,
    contrast: strength,
    saturation: strength,
    hue: z.number().min(0).max(0.5),
  }),
  /** Probability of greyscale. */
  greyscale: probability,
  /** Probability of solarising: values of one half and more are inverted. */
  solarize: probability,
  /** Per channel, subtracted from values in [0, 1]. */
  mean: rgb,
  /** Per channel, divides what is left. */
  std: z.tuple([positive, positive, positive]),
})

export type AugmentationRecipe = z.infer<typeof augmentationRecipe>

type Rgb = [number, number, number]
const bytes = (red: number, green: number, blue: number): Rgb => [red / 255, green / 255, blue / 255]

/** The paper's three recipes, by data set. */
export const recipes = {
  cifar: {
    size: 32,
    scale: [0.08, 1],
    ratio: [3 / 4, 4 / 3],
    flip: 0.5,
    jitter: { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0 },
    greyscale: 0.2,
    solarize: 0,
    mean: bytes(125.307, 122.961, 113.8575),
    // The mean of each image's own deviation, as widely used; that of all pixels is .247 .2435 .2616.
    std: bytes(51.5865, 50.847, 51.255),
  },
  stl: {
    size: 64,
    scale: [0.2, 1],
    ratio: [3 / 4, 4 / 3],
    flip: 0.5,
    jitter: { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0 },
    greyscale: 0.1,
    solarize: 0,
    mean: bytes(113.9112, 112.1515, 103.6948),
    std: bytes(57.1603, 56.4828, 57.0975),
  },
  imagenet100: {
    size: 128,
    scale: [0.08, 1],
    ratio: [3 / 4, 4 / 3],
    flip: 0.5,
    jitter: { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 },
    greyscale: 0.2,
    solarize: 0.2,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
  },
} satisfies Record<string, AugmentationRecipe>
