/**
 * Image data sets as arrays: loaded by name, made from the caller's own arrays, or cut down.
 * A further data set is one file that exports a `DatasetSource`, and one line in `sources`.
 */
import { Purpose, RandomStream } from '../../engine/random.js'
import type { ProgressReporter } from './progress.js'

export type Split = 'train' | 'test'

/** Images and labels of one split, in memory. */
export interface ImageDataset {
  name: string
  split: Split
  count: number
  /** Pixels. */
  height: number
  /** Pixels. */
  width: number
  channels: 3
  /** [count, height, width, 3] bytes, row-major, RGB interleaved. */
  images: Uint8Array
  /** [count], indices into `classes`; empty when the images have no labels. */
  labels: Uint8Array | Uint16Array | Uint32Array
  /** Names by label; empty when the images have no labels. */
  classes: string[]
}

export interface LoadOptions {
  /** A folder that holds the data set in its official format; nothing is downloaded then. */
  dataDir?: string
  /** Where downloads are kept; the project's cache folder by default. */
  cacheDir?: string
  /** Where downloads report to; a bar on stderr by default. */
  progress?: ProgressReporter
}

/** How a named data set gets into memory. */
export interface DatasetSource {
  /** The folder that holds the files, after downloading and checking them if need be. */
  locate(options: LoadOptions): Promise<string>
  load(split: Split, options: LoadOptions): Promise<ImageDataset>
}

/** The folder is there and has nothing of this split. */
export class MissingSplitError extends Error {}

/** Imported on demand, so that whoever brings their own arrays loads no image decoder. */
const sources: Record<string, () => Promise<DatasetSource>> = {
  cifar10: async () => (await import('./cifar10.js')).cifar10,
}

/** The names that `loadDataset` knows. */
export const datasetNames: readonly string[] = Object.keys(sources)

/** @throws one line with the known names, when `name` is none of them */
export async function datasetSource(name: string): Promise<DatasetSource> {
  if (!Object.hasOwn(sources, name)) {
    throw new Error(`unknown data set "${name}"; known: ${datasetNames.join(', ')}`)
  }
  return sources[name]()
}

/**
 * Loads one split of a named data set, downloading it the first time unless `dataDir` is given.
 *
 * @throws one line naming the file and the remedy, when a folder or file is missing or damaged
 */
export async function loadDataset(name: string, split: Split, options: LoadOptions = {}): Promise<ImageDataset> {
  return (await datasetSource(name)).load(split, options)
}

/**
 * The data set that holds only the images at `indices`, in that order.
 *
 * @throws when an index is not below the data set's count
 */
export function subset(dataset: ImageDataset, indices: ArrayLike<number>): ImageDataset {
  const imageBytes = dataset.height * dataset.width * dataset.channels
  const images = new Uint8Array(indices.length * imageBytes)
  const labelled = dataset.labels.length > 0
  // A copy as long as the selection, in the label type of the original.
  const labels = new (dataset.labels.constructor as Uint32ArrayConstructor)(labelled ? indices.length : 0)
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]
    if (!Number.isInteger(index) || index < 0 || index >= dataset.count) {
      throw new Error(`subset: index ${index} is outside ${dataset.name} ${dataset.split} (${dataset.count} images)`)
    }
    images.set(dataset.images.subarray(index * imageBytes, (index + 1) * imageBytes), i * imageBytes)
    if (labelled) labels[i] = dataset.labels[index]
  }
  return { ...dataset, count: indices.length, images, labels }
}

/**
 * A random subset to pretrain on: round(fraction · count) different indices (at least one), in
 * ascending order. It depends on the arguments alone, and with one seed the subset of a smaller
 * fraction is contained in that of a larger one.
 *
 * @param fraction in (0, 1]
 */
export function fractionIndices(count: number, fraction: number, seed: number): Uint32Array {
  if (!(fraction > 0 && fraction <= 1)) throw new Error(`fraction: ${fraction} is not above 0 and at most 1`)
  const indices = Uint32Array.from({ length: count }, (_, index) => index)
  const kept = Math.max(1, Math.round(fraction * count))
  // The first steps of Fisher and Yates's shuffle choose the images kept.
  const stream = new RandomStream(seed, Purpose.subset)
  for (let i = 0; i < kept && i < count; i++) {
    const other = i + stream.integer(count - i)
    const held = indices[i]
    indices[i] = indices[other]
    indices[other] = held
  }
  return indices.slice(0, kept).sort()
}

/** The caller's own images; see `fromArrays`. */
export interface ImageArrays {
  /** [count, height, width, 3] bytes, row-major, RGB interleaved; used as they are, not copied. */
  images: Uint8Array | Uint8ClampedArray
  height: number
  width: number
  /** [count] indices into `classes`. Without them the images serve pretraining and embedding only. */
  labels?: ArrayLike<number>
  /** Names by label; "0", "1", … by default. */
  classes?: string[]
  name?: string
  split?: Split
}

/**
 * A data set from the caller's own arrays.
 *
 * @throws one line, when sizes do not fit or a label is no index into `classes`
 */
export function fromArrays(arrays: ImageArrays): ImageDataset {
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

/** Beyond this a number among the labels is surely none. */
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
