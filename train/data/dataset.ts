/** Image data sets: what they hold, where their images lie, and how to make one from arrays. */

/** 'unlabelled': additional images without labels, which some data sets have for pretraining. */
export type Split = 'train' | 'test' | 'unlabelled'

/** Images that stay in a file because they may not fit in memory. */
export interface ImageStore {
  /**
   * Copies images one after another into `out`.
   *
   * @param indices below the data set's count
   * @param out indices.length · height · width · 3 bytes
   */
  read(indices: ArrayLike<number>, out: Uint8Array): Promise<void>
  /** Told which images are read soon, so that fetching them can begin. */
  announce?(indices: ArrayLike<number>): void
  /** Ends the reads and fetches that are under way, because nobody wants their images any more. Reads then fail. */
  cancel?(): void
}

/** Images that a run needs cannot be read any more, for example because a server is lost. */
export class LostDataError extends Error {}

/** Images and labels of one split. */
export interface ImageDataset {
  name: string
  split: Split
  count: number
  /** Pixels. */
  height: number
  /** Pixels. */
  width: number
  channels: 3
  /** [count, height, width, 3] bytes, row-major, RGB interleaved; or a store of such images. */
  images: Uint8Array | ImageStore
  /**
   * [blocks + 1], where images lie together in blocks that are cheap to read at once: the first image of each block,
   * ascending, then `count`. The order of training then keeps to few blocks at a time.
   */
  blocks?: Uint32Array
  /**
   * [count, 2], height and width of each image in pixels, where images differ in size: each lies in the upper left corner
   * of its height · width pixels. Absent where all images fill them.
   */
  sizes?: Uint16Array
  /** [count], indices into `classes`; empty when the images have no labels. */
  labels: Uint8Array | Uint16Array | Uint32Array
  /** Names by label; empty when the images have no labels. */
  classes: string[]
  /** [count], paths of the pictures below their folder, where images are files. */
  files?: string[]
}

/** A data set whose images are in memory. */
export interface ArrayDataset extends ImageDataset {
  images: Uint8Array
}

/** Bytes of one image. */
export const imageBytes = ({ height, width }: Pick<ImageDataset, 'height' | 'width'>): number => height * width * 3

/** As `ImageStore.read`, from memory or from a store. */
export async function readImages(dataset: ImageDataset, indices: ArrayLike<number>, out: Uint8Array): Promise<void> {
  const { images } = dataset
  if (!(images instanceof Uint8Array)) return images.read(indices, out)
  const size = imageBytes(dataset)
  for (let i = 0; i < indices.length; i++)
    out.set(images.subarray(indices[i] * size, (indices[i] + 1) * size), i * size)
}

/** The same data set with its images in memory. Images that are already in memory are not copied. */
export async function inMemory(dataset: ImageDataset): Promise<ArrayDataset> {
  if (dataset.images instanceof Uint8Array) return { ...dataset, images: dataset.images }
  const images = new Uint8Array(dataset.count * imageBytes(dataset))
  await dataset.images.read(
    Uint32Array.from({ length: dataset.count }, (_, i) => i),
    images,
  )
  return { ...dataset, images }
}

/** The caller's own images; see `fromArrays`. */
export interface ImageArrays {
  /** [count, height, width, 3] bytes, row-major, RGB interleaved; not copied. */
  images: Uint8Array | Uint8ClampedArray
  height: number
  width: number
  /** [count] indices into `classes`. Without labels the images can be used for pretraining and embedding only. */
  labels?: ArrayLike<number>
  /** Names by label; "0", "1", … by default. */
  classes?: string[]
  name?: string
  split?: Split
}

/**
 * A data set from the caller's own arrays.
 *
 * @throws one line when sizes do not fit or a label is not an index into `classes`
 */
export function fromArrays(arrays: ImageArrays): ArrayDataset {
  const { height, width, name = 'own images', split = 'train' } = arrays
  for (const [side, pixels] of Object.entries({ height, width })) {
    if (!Number.isInteger(pixels) || pixels < 1) throw new Error(`${name}: ${side} ${pixels} is not a positive integer`)
  }
  const { buffer, byteOffset, length } = arrays.images
  const count = length / (height * width * 3)
  if (!Number.isInteger(count) || count === 0) {
    throw new Error(
      `${name}: ${length} bytes are not a whole number of ${height}×${width} RGB images (3 bytes a pixel)`,
    )
  }
  const images = new Uint8Array(buffer as ArrayBuffer, byteOffset, length)
  return {
    name,
    split,
    count,
    height,
    width,
    channels: 3,
    images,
    ...checkLabels(arrays, count, name),
  }
}

/** Larger numbers are taken for a mistake, not for a label. */
const MOST_UNNAMED_CLASSES = 65_536

function checkLabels({ labels, classes }: ImageArrays, count: number, name: string) {
  if (labels === undefined) return { labels: new Uint8Array(0), classes: [] }
  if (labels.length !== count) throw new Error(`${name}: ${labels.length} labels for ${count} images`)
  const limit = classes?.length ?? MOST_UNNAMED_CLASSES
  let largest = 0
  for (let i = 0; i < count; i++) {
    if (!Number.isInteger(labels[i]) || labels[i] < 0 || labels[i] >= limit) {
      throw new Error(`${name}: label ${labels[i]} of image ${i} is not an integer from 0 to ${limit - 1}`)
    }
    largest = Math.max(largest, labels[i])
  }
  return {
    labels: Uint32Array.from(labels),
    classes: classes ?? Array.from({ length: largest + 1 }, (_, label) => String(label)),
  }
}
