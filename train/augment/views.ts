/** Views as graph Values: turns the bytes of a data set and the rows of `draw.ts` into normalised images. */
import {
  defineOp,
  part,
  ShapeError,
  show,
  sliceRows,
  variable,
  type LoweringContext,
  type Slice,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { ROW_FLOATS, type SourceSize } from './draw.js'
import { blurReach, cropGroups, type AugmentationRecipe } from './recipe.js'

/** Consecutive images of a data set, as bytes [count, height, width, 3] packed into u32 words. */
export interface ImageShard {
  readonly words: Variable
  readonly firstImage: number
  readonly count: number
}

/** A data set on the device, in as many shards as the adapter's binding limit requires. */
export interface DeviceImages extends SourceSize {
  readonly shards: readonly ImageShard[]
}

/** The part of a data set that `deviceImages` needs. */
export interface PackedImages {
  readonly count: number
  /** In pixels. */
  readonly height: number
  /** In pixels. */
  readonly width: number
  /** [count, height, width, 3] bytes. */
  readonly images: Uint8Array
  /** As `SourceSize.sizes`. */
  readonly sizes?: ArrayLike<number>
}

/**
 * Splits a data set into Variables that each fit into one binding. They are uploaded when a program first
 * reads them.
 *
 * @param maxBindingBytes limit of the adapter, as in `engine.target`
 * @throws RangeError where the number of bytes does not fit the shape, or one image exceeds the limit
 */
export function deviceImages(dataset: PackedImages, maxBindingBytes: number): DeviceImages {
  const { count, height, width, images } = dataset
  const imageBytes = height * width * 3
  if (images.length !== count * imageBytes) {
    throw new RangeError(`images: ${images.length} bytes are not ${count} images of ${height}×${width}×3`)
  }
  return emptyImages(dataset, maxBindingBytes, (firstImage, held) =>
    images.subarray(firstImage * imageBytes, (firstImage + held) * imageBytes),
  )
}

/**
 * As `deviceImages`, but without the images. With it a step can be planned before they are loaded.
 *
 * @param bytesOf the bytes of consecutive images, if they are known
 */
export function emptyImages(
  { count, height, width, sizes }: Omit<PackedImages, 'images'>,
  maxBindingBytes: number,
  bytesOf?: (firstImage: number, count: number) => Uint8Array,
): DeviceImages {
  const imageBytes = height * width * 3
  const most = Math.floor(maxBindingBytes / imageBytes)
  if (most < 1) {
    throw new RangeError(
      `images: an image of ${height}×${width} is over the adapter's binding limit of ${maxBindingBytes} bytes`,
    )
  }
  const shards: ImageShard[] = []
  for (let firstImage = 0; firstImage < count; firstImage += most) {
    const held = Math.min(most, count - firstImage)
    const size = Math.ceil((held * imageBytes) / 4)
    const first = firstImage
    const pack =
      bytesOf &&
      (() => {
        const words = new Uint32Array(size)
        new Uint8Array(words.buffer).set(bytesOf(first, held))
        return words
      })
    const words = variable(`images from ${firstImage}`, [size], pack, 'u32')
    shards.push({ words, firstImage, count: held })
  }
  return { sourceHeight: height, sourceWidth: width, ...(sizes && { sizes }), shards }
}

/** The part of a recipe that the rows do not contain. */
export type ViewFormat = Pick<AugmentationRecipe, 'size' | 'mean' | 'std' | 'blur' | 'interpolation'> & {
  jitter?: Partial<AugmentationRecipe['jitter']>
}

interface AugmentAttributes extends SourceSize, Pick<ViewFormat, 'size' | 'mean' | 'std'> {
  shards: readonly Pick<ImageShard, 'firstImage' | 'count'>[]
  /** Pixels on each side that enter a blur; undefined where no view is blurred. */
  reach: number | undefined
  /** Flags of the kernel. */
  flags: { AREA: boolean; FIRST_GREY: boolean }
}

const WIDEST_GRID = 32768

/** Inputs: rows [views, ROW_FLOATS], then the words of each shard. Not differentiable, because images are data. */
const augmentOp = defineOp<AugmentAttributes>({
  name: 'augmentViews',

  infer([rows, ...shards], { size }) {
    if (rows.dtype !== 'f32' || rows.shape.length !== 2 || rows.shape[1] !== ROW_FLOATS) {
      throw new ShapeError(
        `augmentViews: rows must be [views, ${ROW_FLOATS}] f32, not ${show(rows.shape)} ${rows.dtype}`,
      )
    }
    for (const { dtype } of shards) {
      if (dtype !== 'u32') throw new ShapeError(`augmentViews: images must be u32 words, not ${dtype}`)
    }
    return [{ shape: [rows.shape[0], size, size, 4], dtype: 'f32' }]
  },

  lower({ inputs: [rows, ...words], outputs: [views], attributes }, context) {
    const { size, mean, std, sourceHeight, sourceWidth, shards, reach, flags } = attributes
    const rowBytes = 4 * ROW_FLOATS
    const viewBytes = 16 * size * size
    const finish = {
      mean_red: mean[0],
      mean_green: mean[1],
      mean_blue: mean[2],
      std_red: std[0],
      std_green: std[1],
      std_blue: std[2],
    }
    const runs = context.rows(rows.shape[0], viewBytes, rowBytes)
    const blurred = reach === undefined ? undefined : context.temporary(runs[0].count * viewBytes)
    for (const { start, count } of runs) {
      const across = Math.min(count, WIDEST_GRID)
      const drawn = part(context.of(rows), start * rowBytes, count * rowBytes)
      const made = part(context.of(views), start * viewBytes, count * viewBytes)
      shards.forEach((shard, i) =>
        context.dispatch({
          kernel: 'augment',
          constants: { ...flags, FINISH: !blurred },
          params: {
            views: count,
            size,
            source_height: sourceHeight,
            source_width: sourceWidth,
            first_image: shard.firstImage,
            shard_images: shard.count,
            ...finish,
          },
          buffers: { images: context.of(words[i]), rows: drawn, views: made },
          workgroups: [across, Math.ceil(count / across)],
        }),
      )
      if (blurred) {
        const between = part(blurred, 0, count * viewBytes)
        const params = { views: count, size, reach: reach!, ...finish }
        blurPass(context, drawn, made, between, false, params)
        blurPass(context, drawn, between, made, true, params)
      }
    }
  },
})

/** Blurs along the lines, or (`down`) along the columns; the second pass also solarises and normalises. */
function blurPass(
  context: LoweringContext,
  rows: Slice,
  x: Slice,
  y: Slice,
  down: boolean,
  params: Record<'views' | 'size' | 'reach', number> & Record<string, number>,
): void {
  context.dispatch({
    kernel: 'augment_blur',
    constants: { DOWN: down },
    params,
    buffers: { x, rows, y },
    workgroups: [context.grid(params.views * params.size ** 2, 64)],
  })
}

/**
 * Makes views on the device. `augment.wgsl` and, where the recipe blurs, `augment_blur.wgsl` describe the steps.
 *
 * @param images the data set; every row must name one of its images, otherwise its view is undefined
 * @param rows [views, ROW_FLOATS] f32 from `drawViews` or `cleanViews`, drawn for this size
 * @returns [views, size, size, 4] f32, NHWC, normalised by the recipe; the fourth channel is 0
 */
export function augmentViews(images: DeviceImages, rows: Value, format: ViewFormat): Value {
  const { sourceHeight, sourceWidth, shards } = images
  const { size, mean, std, blur, interpolation, jitter } = format
  const reach = [blur.probability].flat().some((p) => p > 0) ? blurReach(format) : undefined
  const flags = { AREA: interpolation === 'area', FIRST_GREY: jitter?.grey === 'first' }
  const attributes = { size, mean, std, sourceHeight, sourceWidth, shards, reach, flags }
  return augmentOp([rows, ...shards.map((shard) => shard.words)], attributes)[0]
}

/**
 * Makes the views of a recipe with `crops` of several sizes; without `crops` there is one group.
 *
 * @param rows [views · B, ROW_FLOATS] f32 from `drawViews` with the same recipe, then with `clean` B rows from
 *   `cleanViews`
 * @param views number of views of each image, m
 * @returns the views of each group of `cropGroups`, view-major: [views of the group · B, size, size, 4]
 */
export function augmentCrops(
  images: DeviceImages,
  rows: Value,
  recipe: AugmentationRecipe,
  views: number,
  clean = false,
): Value[] {
  const batch = rows.shape[0] / (views + Number(clean))
  return cropGroups(recipe, views, clean).map((group) => {
    const drawn = sliceRows(rows, group.firstView * batch, group.views * batch)
    return augmentViews(images, drawn, { ...recipe, size: group.size })
  })
}
