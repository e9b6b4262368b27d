/**
 * What is drawn at random for a view, as data. The steps and their order: random resized crop, flip,
 * colour jitter, greyscale, Gaussian blur, solarise, normalise.
 */
import { z } from 'zod'

const probability = z.number().min(0).max(1)
const strength = z.number().min(0).max(1)
const rgb = z.tuple([z.number(), z.number(), z.number()])
const positive = z.number().positive()

function range(name: string, bound: z.ZodNumber) {
  return z.tuple([bound, bound]).refine(([low, high]) => low <= high, `${name}: the lower end must come first`)
}

/** One probability for all views, or a list of them: view v takes entry v modulo their number. */
const probabilityByView = z.union([probability, z.array(probability).min(1)], {
  error: 'must be a probability, 0 to 1, or a list of them, one a view',
})
const size = z.number().int().min(1).max(4096)
const scale = range('scale', positive.max(1))

export const augmentationRecipe = z.strictObject({
  /** Height and width of a view, in pixels. */
  size,
  /** Random resized crop: range of the crop's area as a share of the image's. */
  scale,
  /**
   * Multi-crop: runs of views with a size and a range of areas of their own, in this order; together they are all views
   * of an image. Absent: all views are of `size` and `scale`. Clean views are of `size` either way.
   */
  crops: z
    .array(z.strictObject({ views: z.number().int().min(1), size, scale }))
    .min(1)
    .optional(),
  /** Random resized crop: range of the crop's width / height. */
  ratio: range('ratio', positive),
  /** Probability of a horizontal flip. */
  flip: probability,
  /**
   * Colour jitter, as a whole with its probability; factors uniform in 1 ± strength, the hue turned
   * by ± `hue` of a full turn: about the grey axis of RGB ('rotation'), or that of HSV, as torchvision does ('hsv').
   */
  jitter: z.strictObject({
    probability,
    brightness: strength,
    contrast: strength,
    saturation: strength,
    hue: z.number().min(0).max(0.5),
    hueMode: z.enum(['rotation', 'hsv']).default('rotation'),
  }),
  /** Probability of greyscale. */
  greyscale: probability,
  /** Gaussian blur as torchvision has it: weights cut off at a window, edges mirrored. */
  blur: z
    .strictObject({
      probability: probabilityByView,
      /** Range of the standard deviation, in pixels of the view, drawn uniformly. */
      sigma: range('sigma', positive),
      /** The window's width as a share of the view's, rounded to an odd number of at least 3 pixels. */
      window: positive.max(1),
    })
    .default({ probability: 0, sigma: [0.1, 2], window: 0.1 }),
  /** Probability of solarising: values from a threshold on are inverted. */
  solarize: probabilityByView,
  /** That threshold, on bytes; 128 where it is absent. */
  solarizeThreshold: z.number().min(0).max(256).optional(),
  /** Per channel, subtracted from values in [0, 1]. */
  mean: rgb,
  /** Per channel, divides what is left. */
  std: z.tuple([positive, positive, positive]),
})

export type AugmentationRecipe = z.infer<typeof augmentationRecipe>

/** A run of views of one size. */
export interface CropGroup extends Pick<AugmentationRecipe, 'size' | 'scale'> {
  firstView: number
  views: number
}

/**
 * The views of an image by size: the recipe's `crops`, or all of them in one group.
 *
 * @throws RangeError where `crops` are not as many views
 */
export function cropGroups(
  { crops, size, scale }: Pick<AugmentationRecipe, 'crops' | 'size' | 'scale'>,
  views: number,
): CropGroup[] {
  if (!crops) return [{ firstView: 0, views, size, scale }]
  const total = crops.reduce((sum, crop) => sum + crop.views, 0)
  if (total !== views)
    throw new RangeError(
      `augmentation.crops: ${crops.map((crop) => crop.views).join(' + ')} views are not the ${views} of an image`,
    )
  let firstView = 0
  return crops.map((crop) => {
    const group = { ...crop, firstView }
    firstView += crop.views
    return group
  })
}

/** A probability given for all views or by view, for one of them. */
export const probabilityOf = (given: number | readonly number[], view: number): number =>
  typeof given === 'number' ? given : given[view % given.length]

/** Pixels on either side of a blurred one that count: (window − 1) / 2. */
export const blurReach = ({ blur, size }: Pick<AugmentationRecipe, 'blur' | 'size'>): number =>
  // A mirrored edge has at most size − 1 pixels behind it.
  Math.min(Math.max(1, Math.floor((blur.window * size) / 2)), size - 1)

type Rgb = [number, number, number]
const bytes = (red: number, green: number, blue: number): Rgb => [red / 255, green / 255, blue / 255]

const imagenetNormalisation = { mean: [0.485, 0.456, 0.406] as Rgb, std: [0.229, 0.224, 0.225] as Rgb }
const crop = { ratio: [3 / 4, 4 / 3], flip: 0.5 } satisfies Partial<AugmentationRecipe>
const jitter = {
  probability: 0.8,
  brightness: 0.4,
  contrast: 0.4,
  saturation: 0.4,
  hue: 0,
  hueMode: 'rotation',
} as const
const noBlur = { probability: 0, sigma: [0.1, 2], window: 0.1 } satisfies AugmentationRecipe['blur']

/** As the published code of Barlow Twins and of VICReg has it, which agree; both crop bicubically, here it is bilinear. */
const original = {
  ...crop,
  size: 224,
  scale: [0.08, 1],
  jitter: { ...jitter, saturation: 0.2, hue: 0.1, hueMode: 'hsv' },
  greyscale: 0.2,
  blur: { ...noBlur, probability: [1, 0.1] },
  solarize: [0, 0.2],
  ...imagenetNormalisation,
} satisfies AugmentationRecipe

const stl = {
  ...crop,
  size: 64,
  scale: [0.2, 1],
  jitter,
  greyscale: 0.1,
  blur: noBlur,
  solarize: 0,
  mean: bytes(113.9112, 112.1515, 103.6948),
  std: bytes(57.1603, 56.4828, 57.0975),
} satisfies AugmentationRecipe

const imagenet100 = {
  ...crop,
  size: 128,
  scale: [0.08, 1],
  jitter: { ...jitter, hue: 0.1 },
  greyscale: 0.2,
  blur: noBlur,
  solarize: 0.2,
  ...imagenetNormalisation,
} satisfies AugmentationRecipe

/**
 * The paper's three recipes, by data set; two as its research code runs them in pretraining, which divides by the mean
 * where the deviation was meant; and those of the two original methods.
 */
export const recipes = {
  cifar: {
    ...crop,
    size: 32,
    scale: [0.08, 1],
    jitter,
    greyscale: 0.2,
    blur: noBlur,
    solarize: 0,
    mean: bytes(125.307, 122.961, 113.8575),
    // The mean of each image's own deviation, as widely used; that of all pixels is .247 .2435 .2616.
    std: bytes(51.5865, 50.847, 51.255),
  },
  stl,
  imagenet100,
  'stl-research-code': { ...stl, std: stl.mean },
  'imagenet100-research-code': { ...imagenet100, std: imagenet100.mean },
  'barlow-twins-original': original,
  'vicreg-original': original,
} satisfies Record<string, AugmentationRecipe>
