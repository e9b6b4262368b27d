/** Views as graph Values: the data set's bytes and the rows of `draw.ts` in, normalised images out. */
import { defineOp, ShapeError, show, variable, part, type Value, type Variable } from '../../engine/index.js'
import { ROW_FLOATS, type SourceSize } from './draw.js'
import type { AugmentationRecipe } from './recipe.js'

/** Consecutive images of a data set, as bytes [count, height, width, 3] packed into u32 words. */
export interface ImageShard {
  readonly words: Variable
  readonly firstImage: number
  readonly count: number
}

/** A data set on the device, in as many shards as the adapter's binding limit asks for. */
export interface DeviceImages extends SourceSize {
  readonly shards: readonly ImageShard[]
}

/** What `deviceImages` needs of a data set. */
export interface PackedImages {
  readonly count: number
  /** Pixels. */
  readonly height: number
  /** Pixels. */
  readonly width: number
  /** [count, height, width, 3] bytes. */
  readonly images: Uint8Array
}

/**
 * Splits a data set into Variables that each fit one binding. They are uploaded when a program first
 * reads them.
 *
 * @param maxBindingBytes the adapter's, as in `engine.target`
 * @throws RangeError when the bytes are not as many as the shape says, or one image is over the limit
 */
export function deviceImages(dataset: PackedImages, maxBindingBytes: number): DeviceImages {
  const { count, height, width, images } = dataset
  const imageBytes = height * width * 3
  if (images.length !== count * imageBytes) {
    throw new RangeError(`images: ${images.length} bytes are not ${count} images of ${height}×${width}×3`)
  }
  const most = Math.floor(maxBindingBytes / imageBytes)
  if (most < 1) {
    throw new RangeError(
      `images: one of ${height}×${width} is over the adapter's binding limit of ${maxBindingBytes} bytes`,
    )
  }
  const shards: ImageShard[] = []
  for (let firstImage = 0; firstImage < count; firstImage += most) {
    const held = Math.min(most, count - firstImage)
    const bytes = images.subarray(firstImage * imageBytes, (firstImage + held) * imageBytes)
    const pack = () => {
      const words = new Uint32Array(Math.ceil(bytes.length / 4))
      new Uint8Array(words.buffer).set(bytes)
      return words
    }
    const words = variable(`images from ${firstImage}`, [Math.ceil(bytes.length / 4)], pack, 'u32')
    shards.push({ words, firstImage, count: held })
  }
  return { sourceHeight: height, sourceWidth: width, shards }
}

interface AugmentAttributes extends SourceSize, Pick<AugmentationRecipe, 'size' | 'mean' | 'std'> {
  shards: readonly Pick<ImageShard, 'firstImage' | 'count'>[]
}

const WIDEST_GRID = 32768

/** Inputs: rows [views, ROW_FLOATS], then the shards' words. Not differentiable: images are data. */
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

  lower({ inputs: [rows, ...words], outputs: [views], attributes }, emit) {
    const { size, mean, std, sourceHeight, sourceWidth, shards } = attributes
    const rowBytes = 4 * ROW_FLOATS
    const viewBytes = 16 * size * size
    for (const { start, count } of emit.rows(rows.shape[0], viewBytes, rowBytes)) {
      const across = Math.min(count, WIDEST_GRID)
      shards.forEach((shard, i) =>
        emit.dispatch({
          kernel: 'augment',
          params: {
            views: count,
            size,
            source_height: sourceHeight,
            source_width: sourceWidth,
            first_image: shard.firstImage,
            shard_images: shard.count,
            mean_red: mean[0],
            mean_green: mean[1],
            mean_blue: mean[2],
            std_red: std[0],
            std_green: std[1],
            std_blue: std[2],
          },
          buffers: {
            images: emit.of(words[i]),
            rows: part(emit.of(rows), start * rowBytes, count * rowBytes),
            views: part(emit.of(views), start * viewBytes, count * viewBytes),
          },
          workgroups: [across, Math.ceil(count / across)],
        }),
      )
    }
  },
})

/**
 * Makes views on the device; see `augment.wgsl` for the steps.
 *
 * @param images the data set; every row must name one of its images, the others' views stay undefined
 * @param rows [views, ROW_FLOATS] f32 as `drawViews` or `cleanViews` make them, drawn for this size
 * @returns [views, size, size, 4] f32, NHWC, normalised by the recipe; the fourth channel is 0
 */
export function augmentViews(
  images: DeviceImages,
  rows: Value,
  { size, mean, std }: Pick<AugmentationRecipe, 'size' | 'mean' | 'std'>,
): Value {
  const { sourceHeight, sourceWidth, shards } = images
  const attributes = { size, mean, std, sourceHeight, sourceWidth, shards }
  return augmentOp([rows, ...shards.map((shard) => shard.words)], attributes)[0]
}
