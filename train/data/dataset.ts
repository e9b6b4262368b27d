/**
 * Image data sets as arrays: loaded by name, made from the caller's own arrays, or cut down.
 * A further data set is one file that exports a `DatasetSource`, and one line in `sources`.
 */
import { Purpose, RandomStream } from '../../engine/random.js'
import type { ProgressReporter } from '../node/data/progress.js'

/** 'unlabelled': images beside the labelled ones, which some data sets have for pretraining. */
export type Split = 'train' | 'test' | 'unlabelled'

/** Images that stay in a file, because they may be more than memory holds. */
export interface ImageStore {
  /**
   * Copies images, one behind another.
   *
   * @param indices below the data set's count
   * @param out indices.length · height · width · 3 bytes
   */
  read(indices: ArrayLike<number>, out: Uint8Array): Promise<void>
}

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
  /** [count, height, width, 3] bytes, row-major, RGB interleaved; or where such bytes are read from. */
  images: Uint8Array | ImageStore
  /** [count], indices into `classes`; empty when the images have no labels. */
  labels: Uint8Array | Uint16Array | Uint32Array
  /** Names by label; empty when the images have no labels. */
  classes: string[]
}

/** A data set whose images are in memory. */
export interface ArrayDataset extends ImageDataset {
  images: Uint8Array
}

export interface LoadOptions {
  /** A folder that holds the data set in its official format; nothing is downloaded then. */
  dataDir?: string
  /** Where downloads and packed images are kept; the project's cache folder by default. */
  cacheDir?: string
  /** Height and width in pixels that a folder's images are packed at; other data sets have a size of their own. */
  resolution?: number
  /** Where long work reports to; a bar on stderr by default. */
  progress?: ProgressReporter
  /** Told in a line of what was left out; on stderr by default. */
  onWarning?(line: string): void
}

/** How a named data set gets into memory. */
export interface DatasetSource {
  /** Splits that it may have. */
  splits: readonly Split[]
  /** The split that pretraining takes; what is read out is always 'train' and 'test'. */
  pretraining: Split
  /** Whether `resolution` may be chosen. */
  anyResolution?: true
  /** The folder that holds the files, after downloading and checking them if need be. */
  locate(options: LoadOptions): Promise<string>
  load(split: Split, options: LoadOptions): Promise<ImageDataset>
}

/** The folder is there and has nothing of this split. */
export class MissingSplitError extends Error {}

/** Imported on demand, so that whoever brings their own arrays loads no image decoder. */
const sources: Record<string, () => Promise<DatasetSource>> = {
  cifar10: async () => (await import('../node/data/cifar10.js')).cifar10,
  cifar100: async () => (await import('../node/data/cifar100.js')).cifar100,
  stl10: async () => (await import('../node/data/stl10.js')).stl10,
  folder: async () => (await import('../node/data/image_folder.js')).imageFolder,
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
 * @param split 'pretraining': the one that the data set has for it
 * @throws one line naming the file and the remedy, when a folder or file is missing or damaged
 */
export async function loadDataset(
  name: string,
  split: Split | 'pretraining',
  options: LoadOptions = {},
): Promise<ImageDataset> {
  const source = await datasetSource(name)
  const { resolution } = options
  if (resolution !== undefined && !source.anyResolution)
    throw new Error(`resolution ${resolution}: the images of ${name} have a size of their own; leave it out`)
  const chosen = split === 'pretraining' ? source.pretraining : split
  if (!source.splits.includes(chosen))
    throw new MissingSplitError(`${name} has no ${chosen} split; it has ${source.splits.join(', ')}`)
  return source.load(chosen, options)
}

/** Bytes of one image. */
export const imageBytes = ({ height, width }: Pick<ImageDataset, 'height' | 'width'>): number => height * width * 3

/** As `ImageStore.read`, wherever the images are. */
export async function readImages(dataset: ImageDataset, indices: ArrayLike<number>, out: Uint8Array): Promise<void> {
  const { images } = dataset
  if (!(images instanceof Uint8Array)) return images.read(indices, out)
  const size = imageBytes(dataset)
  for (let i = 0; i < indices.length; i++)
    out.set(images.subarray(indices[i] * size, (indices[i] + 1) * size), i * size)
}

/** The same data set with its images in memory, where they may be already. */
export async function inMemory(dataset: ImageDataset): Promise<ArrayDataset> {
  if (dataset.images instanceof Uint8Array) return { ...dataset, images: dataset.images }
  const images = new Uint8Array(dataset.count * imageBytes(dataset))
  await dataset.images.read(
    Uint32Array.from({ length: dataset.count }, (_, i) => i),
    images,
  )
  return { ...dataset, images }
}

/**
 * The data set that holds only the images at `indices`, in that order. Images in memory are copied.
 *
 * @throws when an index is not below the data set's count
 */
export function subset(dataset: ArrayDataset, indices: ArrayLike<number>): ArrayDataset
export function subset(dataset: ImageDataset, indices: ArrayLike<number>): ImageDataset
export function subset(dataset: ImageDataset, indices: ArrayLike<number>): ImageDataset {
  const labelled = dataset.labels.length > 0
  // As long as the selection, in the label type of the original.
  const labels = new (dataset.labels.constructor as Uint32ArrayConstructor)(labelled ? indices.length : 0)
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]
    if (!Number.isInteger(index) || index < 0 || index >= dataset.count)
      throw new Error(`subset: index ${index} is outside ${dataset.name} ${dataset.split} (${dataset.count} images)`)
    if (labelled) labels[i] = dataset.labels[index]
  }
  return { ...dataset, count: indices.length, images: subsetOfImages(dataset, indices), labels }
}

function subsetOfImages(dataset: ImageDataset, indices: ArrayLike<number>): Uint8Array | ImageStore {
  const { images } = dataset
  if (!(images instanceof Uint8Array)) {
    const chosen = Float64Array.from(indices)
    return {
      read: (wanted, out) =>
        images.read(
          Float64Array.from(wanted, (i) => chosen[i]),
          out,
        ),
    }
  }
  const size = imageBytes(dataset)
  const copy = new Uint8Array(indices.length * size)
  for (let i = 0; i < indices.length; i++)
    copy.set(images.subarray(indices[i] * size, (indices[i] + 1) * size), i * size)
  return copy
}

/**
 * A random subset to pretrain on: round(fraction · count) different indices (at least one), in
 * ascending order. It depends on the arguments alone, and with one seed the subset of a smaller
 * fraction is contained in that of a larger one.
 *
 * @param fraction in (0, 1]
 */
export function fractionIndices(count: number, fraction: number, seed: number): Uint32Array {
  const indices = Uint32Array.from({ length: count }, (_, index) => index)
  return chooseShare(indices, fraction, new RandomStream(seed, Purpose.subset)).sort()
}

/**
 * As `fractionIndices`, class by class: of the n images of each class round(fraction · n), at least one.
 *
 * @param labels [count]
 */
export function fractionIndicesPerClass(labels: ArrayLike<number>, fraction: number, seed: number): Uint32Array {
  const byClass = new Map<number, number[]>()
  for (let i = 0; i < labels.length; i++) {
    const members = byClass.get(labels[i])
    if (members) members.push(i)
    else byClass.set(labels[i], [i])
  }
  const stream = new RandomStream(seed, Purpose.subset)
  const chosen = [...byClass].map(([label, members]) =>
    // Stream 0 is that of a choice among all.
    chooseShare(Uint32Array.from(members), fraction, stream.seek(label + 1)),
  )
  return Uint32Array.from(chosen.flatMap((members) => [...members])).sort()
}

/** The first steps of Fisher and Yates's shuffle choose what is kept. */
function chooseShare(items: Uint32Array, fraction: number, stream: RandomStream): Uint32Array {
  if (!(fraction > 0 && fraction <= 1)) throw new Error(`fraction: ${fraction} is not above 0 and at most 1`)
  const kept = Math.max(1, Math.round(fraction * items.length))
  for (let i = 0; i < kept && i < items.length; i++) {
    const other = i + stream.integer(items.length - i)
    const held = items[i]
    items[i] = items[other]
    items[other] = held
  }
  return items.slice(0, kept)
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
