/**
 * Augmentation recipes: the distributions from which views are drawn, as data. The steps in order: random resized crop,
 * flip, colour jitter, greyscale, Gaussian blur, solarise, normalise.
 */
import { z } from 'zod'

const probability = z.number().min(0).max(1)
const strength = z.number().min(0).max(1)
const rgb = z.tuple([z.number(), z.number(), z.number()])
const positive = z.number().positive()

function range(name: string, bound: z.ZodNumber) {
  return z.tuple([bound, bound]).refine(([low, high]) => low <= high, `${name}: the lower end must come first`)
}

/** One probability for all views, or a list: view v takes entry v modulo the length of the list. */
const probabilityByView = z.union([probability, z.array(probability).min(1)], {
  error: 'must be a probability, 0 to 1, or a list of them, one for each view',
})
const size = z.number().int().min(1).max(4096)
const scale = range('scale', positive.max(1))

export const augmentationRecipe = z.strictObject({
  /** Height and width of a view, in pixels. */
  size,
  /** Random resized crop: range of the crop's area, as a share of the image's area. */
  scale,
  /**
   * Multi-crop: groups of consecutive views, each with its own size and range of areas; together they are all views of
   * an image. If absent, all views have `size` and `scale`. Clean views always have `size`.
   */
  crops: z
    .array(z.strictObject({ views: z.number().int().min(1), size, scale }))
    .min(1)
    .optional(),
  /**
   * How crops are resized. 'bilinear' (default): bilinear where a side enlarges, the mean where it shrinks. 'area': as OpenCV's
   * INTER_AREA, which repeats pixels where it enlarges by a whole factor; the research code resizes in this way.
   */
  interpolation: z.enum(['bilinear', 'area']).optional(),
  /** Random resized crop: range of the crop's width / height. */
  ratio: range('ratio', positive),
  /** Probability of a horizontal flip. */
  flip: probability,
  /**
   * Colour jitter, with one probability for all its parts. Factors are uniform in 1 ± strength. The hue turns by up to
   * ± `hue` of a full turn: about the grey axis of RGB ('rotation'), or in HSV as torchvision does ('hsv').
   */
  jitter: z.strictObject({
    probability,
    brightness: strength,
    contrast: strength,
    saturation: strength,
    hue: z.number().min(0).max(0.5),
    hueMode: z.enum(['rotation', 'hsv']).default('rotation'),
    /**
     * The grey that contrast and saturation blend with. 'current' (default): that of the image after the step before, with
     * values clipped after each step. 'first': that of the image before brightness, without clipping until the hue has turned.
     */
    grey: z.enum(['current', 'first']).optional(),
  }),
  /** Probability of greyscale. */
  greyscale: probability,
  /** Gaussian blur as in torchvision: the weights are cut off at a window, and the edges are mirrored. */
  blur: z
    .strictObject({
      probability: probabilityByView,
      /** Range of the standard deviation in pixels of the view; it is drawn uniformly. */
      sigma: range('sigma', positive),
      /** Width of the window as a share of the view's width, rounded to an odd number of at least 3 pixels. */
      window: positive.max(1),
    })
    .default({ probability: 0, sigma: [0.1, 2], window: 0.1 }),
  /** Probability of solarising, which inverts values from a threshold on. */
  solarize: probabilityByView,
  /** Threshold of solarising, on bytes; 128 by default. */
  solarizeThreshold: z.number().min(0).max(256).optional(),
  /** Mean of each channel, subtracted from values in [0, 1]. */
  mean: rgb,
  /** Standard deviation of each channel, the divisor of the centred values. */
  std: z.tuple([positive, positive, positive]),
  /** The clean view of readouts, where it differs: by default the whole image at `size`, normalised by `mean` and `std`. */
  clean: z
    .strictObject({
      /** Height and width, pixels. */
      size: size.optional(),
      /** Keeps the central square, with this share of the image's shorter side. */
      centre: positive.max(1).optional(),
      std: z.tuple([positive, positive, positive]).optional(),
    })
    .optional(),
})

export type AugmentationRecipe = z.infer<typeof augmentationRecipe>

/** A group of consecutive views of one size. */
export interface CropGroup extends Pick<AugmentationRecipe, 'size' | 'scale'> {
  firstView: number
  views: number
}

/**
 * The views of an image by size: the recipe's `crops`, or all of them in one group.
 *
 * @param clean whether the clean view of `size` follows the others; it joins the last group if that has the same size
 * @throws RangeError where the views of `crops` do not add up to `views`
 */
export function cropGroups(
  { crops, size, scale }: Pick<AugmentationRecipe, 'crops' | 'size' | 'scale'>,
  views: number,
  clean = false,
): CropGroup[] {
  if (clean) {
    const groups = cropGroups({ crops, size, scale }, views)
    const last = groups[groups.length - 1]
    if (last.size !== size) return [...groups, { firstView: views, views: 1, size, scale }]
    return [...groups.slice(0, -1), { ...last, views: last.views + 1 }]
  }
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

/** The recipe of the clean view: its size and normalisation. */
export const cleanRecipe = ({ clean, ...recipe }: AugmentationRecipe): AugmentationRecipe => ({
  ...recipe,
  size: clean?.size ?? recipe.size,
  std: clean?.std ?? recipe.std,
  ...(clean?.centre !== undefined && { clean: { centre: clean.centre } }),
})

/** The probability for one view, from one for all views or a list by view. */
export const probabilityOf = (byView: number | readonly number[], view: number): number =>
  typeof byView === 'number' ? byView : byView[view % byView.length]

/** Pixels on each side of a pixel that enter its blur: (window − 1) / 2. */
export const blurReach = ({ blur, size }: Pick<AugmentationRecipe, 'blur' | 'size'>): number =>
  // Mirroring supplies at most size − 1 pixels beyond an edge.
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

/** The recipe in the published code of both Barlow Twins and VICReg. They crop bicubically, this engine bilinearly. */
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

const cifar = {
  ...crop,
  size: 32,
  scale: [0.08, 1],
  jitter,
  greyscale: 0.2,
  blur: noBlur,
  solarize: 0,
  mean: bytes(125.307, 122.961, 113.8575),
  // The mean of the images' own deviations, as widely used. The deviation over all pixels is .247 .2435 .2616.
  std: bytes(51.5865, 50.847, 51.255),
} satisfies AugmentationRecipe

const area = { interpolation: 'area' } satisfies Partial<AugmentationRecipe>

/**
 * The paper's three recipes, by data set; the same as its research code runs them; and the recipes of the two original
 * methods. The research code resizes as OpenCV does. On STL-10 and ImageNet-100 it divides by the mean instead of the
 * deviation, but not for clean views. A clean view is the whole image on STL-10, and on ImageNet-100 the central half of
 * the shorter side.
 */
export const recipes = {
  cifar,
  stl,
  imagenet100,
  'cifar-research-code': { ...cifar, ...area },
  'stl-research-code': { ...stl, ...area, std: stl.mean, clean: { size: 96, std: stl.std } },
  'imagenet100-research-code': {
    ...imagenet100,
    ...area,
    jitter: { ...imagenet100.jitter, grey: 'first' },
    std: imagenet100.mean,
    clean: { centre: 0.5, std: imagenet100.std },
  },
  'barlow-twins-original': original,
  'vicreg-original': original,
} satisfies Record<string, AugmentationRecipe>
