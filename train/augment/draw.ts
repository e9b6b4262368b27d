/**
 * Draws the random parameters of each view: one row of numbers, which the kernel `augment.wgsl` reads as its
 * struct `Row`. Pixels are not touched here.
 *
 * A row is 32 floats:
 *
 * | floats | meaning                                                                               |
 * |--------|---------------------------------------------------------------------------------------|
 * | 0      | index of the image in the data set (exact below 2^24)                                 |
 * | 1–3    | factors of brightness, contrast, saturation (1: unchanged)                            |
 * | 4      | 1: greyscale, 0: colour                                                               |
 * | 5      | solarising inverts values from this one on (2: none)                                  |
 * | 6      | standard deviation of the blur in pixels of the view (0: none)                        |
 * | 7      | shift of HSV's hue, in turns (0: none)                                                |
 * | 8–19   | crop and flip: mat3 from output to source pixel coordinates, columns padded to 4      |
 * | 20–31  | hue: mat3 on (red, green, blue), columns padded to 4                                  |
 *
 * Pixel coordinates are continuous: pixel i covers [i, i + 1). Rows are view-major, as the network
 * stacks them: row = view * B + b for image b of B.
 */
import { mat3, quat, type vec3 } from 'gl-matrix'
import { Purpose, RandomStream } from '../../engine/random.js'
import { cropGroups, probabilityOf, type AugmentationRecipe } from './recipe.js'

/** Floats in a row. */
export const ROW_FLOATS = 32
const CROP = 8
const HUE = 20

const SOLARIZE_THRESHOLD = 128
const SOLARIZE_NEVER = 2
const CROP_TRIES = 10
const MAX_IMAGES = 2 ** 24

/** Whole pixels of the source image. */
export interface CropBox {
  top: number
  left: number
  height: number
  width: number
}

/** Size in pixels of every image of a data set. */
export interface SourceSize {
  sourceHeight: number
  sourceWidth: number
  /**
   * [images, 2], height and width of each image, where images are smaller than that and lie in its upper left corner.
   * Absent where all images fill it.
   */
  sizes?: ArrayLike<number>
}

/** Height and width of one image of a data set, in pixels. */
const sizeOfImage = ({ sourceHeight, sourceWidth, sizes }: SourceSize, image: number): [number, number] =>
  sizes ? [sizes[2 * image], sizes[2 * image + 1]] : [sourceHeight, sourceWidth]

/** The parameters of one view, in readable form. */
export interface ViewParameters {
  image: number
  box: CropBox
  flip: boolean
  brightness: number
  contrast: number
  saturation: number
  /** Rotation about the grey axis, in radians. */
  hue: number
  /** Shift of HSV's hue, in turns. */
  hsvHue: number
  greyscale: boolean
  /** Standard deviation of the Gaussian blur in pixels of the view; 0 for none. */
  blur: number
  solarize: boolean
  /** Bytes from this value on are inverted; 128 by default. */
  solarizeThreshold?: number
}

const GREY_AXIS: vec3 = new Float32Array([Math.sqrt(1 / 3), Math.sqrt(1 / 3), Math.sqrt(1 / 3)])
const scratch = mat3.create()
const scratchQuaternion = quat.create()

/** Converts a threshold on bytes to one on values in [0, 1], half a byte lower so that rounding does not matter. */
const solarizeFrom = (threshold = SOLARIZE_THRESHOLD): number => (threshold - 0.5) / 255

function writeColumns(out: Float32Array, at: number, matrix: mat3): void {
  for (let column = 0; column < 3; column++) {
    for (let row = 0; row < 3; row++) out[at + 4 * column + row] = matrix[3 * column + row]
    out[at + 4 * column + 3] = 0
  }
}

/**
 * Writes one view's row.
 *
 * @param size height and width of the view, pixels
 * @param out receives ROW_FLOATS floats from `at`
 */
export function writeRow(view: ViewParameters, size: number, out: Float32Array, at = 0): void {
  out[at] = view.image
  out[at + 1] = view.brightness
  out[at + 2] = view.contrast
  out[at + 3] = view.saturation
  out[at + 4] = view.greyscale ? 1 : 0
  out[at + 5] = view.solarize ? solarizeFrom(view.solarizeThreshold) : SOLARIZE_NEVER
  out[at + 6] = view.blur
  out[at + 7] = view.hsvHue
  const { top, left, height, width } = view.box
  mat3.fromTranslation(scratch, [view.flip ? left + width : left, top])
  mat3.scale(scratch, scratch, [(view.flip ? -width : width) / size, height / size])
  writeColumns(out, at + CROP, scratch)
  quat.setAxisAngle(scratchQuaternion, GREY_AXIS, view.hue)
  mat3.fromQuat(scratch, scratchQuaternion)
  writeColumns(out, at + HUE, scratch)
}

/** Rounds to the nearest integer and halves to the even one, as Python's `round` in torchvision does. */
function roundHalfEven(value: number): number {
  const rounded = Math.round(value)
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
}

/**
 * Random resized crop, drawn as torchvision's `RandomResizedCrop.get_params` does: up to ten tries of
 * an area uniform in `scale` and an aspect ratio log-uniform in `ratio`; then the largest central
 * crop within `ratio`.
 */
export function drawCrop(
  stream: RandomStream,
  recipe: Pick<AugmentationRecipe, 'scale' | 'ratio'>,
  { sourceHeight, sourceWidth }: SourceSize,
): CropBox {
  const [narrowest, widest] = recipe.ratio
  const logNarrowest = Math.log(narrowest)
  const logWidest = Math.log(widest)
  for (let attempt = 0; attempt < CROP_TRIES; attempt++) {
    const area = sourceHeight * sourceWidth * stream.uniform(recipe.scale[0], recipe.scale[1])
    const ratio = Math.exp(stream.uniform(logNarrowest, logWidest))
    const width = roundHalfEven(Math.sqrt(area * ratio))
    const height = roundHalfEven(Math.sqrt(area / ratio))
    if (width > 0 && width <= sourceWidth && height > 0 && height <= sourceHeight) {
      const top = stream.integer(sourceHeight - height + 1)
      const left = stream.integer(sourceWidth - width + 1)
      return { top, left, height, width }
    }
  }
  const sourceRatio = sourceWidth / sourceHeight
  const height = sourceRatio < narrowest ? roundHalfEven(sourceWidth / narrowest) : sourceHeight
  const width = sourceRatio > widest ? roundHalfEven(sourceHeight * widest) : sourceWidth
  return {
    top: Math.floor((sourceHeight - height) / 2),
    left: Math.floor((sourceWidth - width) / 2),
    height,
    width,
  }
}

/**
 * Draws one view from its stream. Every number is drawn, used or not. Only the crop draws a variable count of numbers,
 * so it comes after all others except the blur. A changed probability therefore changes no other draw of the same seed.
 *
 * @param view number of the view, for probabilities that differ by view
 */
export function drawView(
  stream: RandomStream,
  recipe: AugmentationRecipe,
  image: number,
  source: SourceSize,
  view = 0,
): ViewParameters {
  const { jitter, blur } = recipe
  const flip = stream.chance(recipe.flip)
  const jittered = stream.chance(jitter.probability)
  const brightness = stream.uniform(1 - jitter.brightness, 1 + jitter.brightness)
  const contrast = stream.uniform(1 - jitter.contrast, 1 + jitter.contrast)
  const saturation = stream.uniform(1 - jitter.saturation, 1 + jitter.saturation)
  const turn = stream.uniform(-jitter.hue, jitter.hue)
  const greyscale = stream.chance(recipe.greyscale)
  const solarize = stream.chance(probabilityOf(recipe.solarize, view))
  const [sourceHeight, sourceWidth] = sizeOfImage(source, image)
  const box = drawCrop(stream, recipe, { sourceHeight, sourceWidth })
  const blurred = stream.chance(probabilityOf(blur.probability, view))
  const sigma = stream.uniform(...blur.sigma)
  return {
    image,
    box,
    flip,
    brightness: jittered ? brightness : 1,
    contrast: jittered ? contrast : 1,
    saturation: jittered ? saturation : 1,
    hue: jittered && jitter.hueMode === 'rotation' ? 2 * Math.PI * turn : 0,
    hsvHue: jittered && jitter.hueMode === 'hsv' ? turn : 0,
    greyscale,
    blur: blurred ? sigma : 0,
    solarize,
    ...(recipe.solarizeThreshold !== undefined && { solarizeThreshold: recipe.solarizeThreshold }),
  }
}

function prepareRows(count: number, out: Float32Array | undefined): Float32Array {
  const rows = out ?? new Float32Array(count * ROW_FLOATS)
  if (rows.length !== count * ROW_FLOATS) {
    throw new RangeError(`view rows: ${count} views need ${count * ROW_FLOATS} floats, the array has ${rows.length}`)
  }
  return rows
}

function checkImage(image: number): void {
  if (image >= MAX_IMAGES) {
    throw new RangeError(`view rows: image ${image} is beyond the limit of ${MAX_IMAGES} images of a data set`)
  }
}

export interface DrawOptions extends SourceSize {
  /** The run's seed, an integer in [0, 2^53). */
  seed: number
  epoch: number
  /** Indices of the B images of the batch in the data set. */
  images: ArrayLike<number>
  /** Number of views of each image that are drawn here, m. */
  views: number
  /** Number of the first of these views. Default 0. */
  firstView?: number
}

/**
 * Draws the rows of a batch: m views of each of B images. A row is a function of (seed, epoch, image, view)
 * alone, so it does not depend on the other images of the batch.
 *
 * @param out an array of m * B * ROW_FLOATS floats to fill; allocated when absent
 * @returns rows, view-major
 * @throws RangeError where `out` has another length, an image index is too large, or the recipe has fewer views
 */
export function drawViews(recipe: AugmentationRecipe, options: DrawOptions, out?: Float32Array): Float32Array {
  const { seed, epoch, images, views, firstView = 0 } = options
  const rows = prepareRows(views * images.length, out)
  const stream = new RandomStream(seed, Purpose.views)
  const all = recipe.crops?.reduce((sum, crop) => sum + crop.views, 0) ?? firstView + views
  if (firstView + views > all)
    throw new RangeError(`augmentation.crops: an image has ${all} views, but view ${firstView + views} is requested`)
  let at = 0
  for (const group of cropGroups(recipe, all)) {
    const own = { ...recipe, ...group }
    const end = Math.min(group.firstView + group.views, firstView + views)
    for (let view = Math.max(group.firstView, firstView); view < end; view++) {
      for (let b = 0; b < images.length; b++) {
        checkImage(images[b])
        stream.seek(epoch, images[b], view)
        writeRow(drawView(stream, own, images[b], options, view), group.size, rows, at)
        at += ROW_FLOATS
      }
    }
  }
  return rows
}

/**
 * Rows of clean views, for probes and embeddings: the whole image, or its central square if the recipe says so, resized to
 * the recipe's size and normalised. `cleanRecipe` makes the recipe for them.
 *
 * @param images indices in the data set, one for each row
 * @param out an array of images.length * ROW_FLOATS floats to fill; allocated when absent
 */
export function cleanViews(
  { size, clean: { centre } = {} }: Pick<AugmentationRecipe, 'size' | 'clean'>,
  images: ArrayLike<number>,
  source: SourceSize,
  out?: Float32Array,
): Float32Array {
  const rows = prepareRows(images.length, out)
  const unchanged = { flip: false, brightness: 1, contrast: 1, saturation: 1, hue: 0, hsvHue: 0, blur: 0 }
  for (let b = 0; b < images.length; b++) {
    checkImage(images[b])
    const box = cleanBox(sizeOfImage(source, images[b]), centre)
    writeRow({ ...unchanged, box, image: images[b], greyscale: false, solarize: false }, size, rows, b * ROW_FLOATS)
  }
  return rows
}

/** The whole image, or the central square with a share of its shorter side; sides and margins are rounded down. */
function cleanBox([height, width]: [number, number], centre?: number): CropBox {
  if (centre === undefined) return { top: 0, left: 0, height, width }
  const side = Math.max(1, Math.floor(centre * Math.min(height, width)))
  return { top: Math.floor((height - side) / 2), left: Math.floor((width - side) / 2), height: side, width: side }
}
