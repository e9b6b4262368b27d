/** Parts of a data set: by index, a random share, or the first images of each class. */
import { Purpose, RandomStream } from '../../engine/random.js'
import { imageBytes, type ArrayDataset, type ImageDataset, type ImageStore } from './dataset.js'

/**
 * The data set with only the images at `indices`, in that order. Images in memory are copied.
 *
 * @throws when an index is not below the data set's count
 */
export function subset(dataset: ArrayDataset, indices: ArrayLike<number>): ArrayDataset
export function subset(dataset: ImageDataset, indices: ArrayLike<number>): ImageDataset
export function subset(dataset: ImageDataset, indices: ArrayLike<number>): ImageDataset {
  const labelled = dataset.labels.length > 0
  // The labels keep the array type of the original.
  const labels = new (dataset.labels.constructor as Uint32ArrayConstructor)(labelled ? indices.length : 0)
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]
    if (!Number.isInteger(index) || index < 0 || index >= dataset.count)
      throw new Error(`subset: index ${index} is outside ${dataset.name} ${dataset.split} (${dataset.count} images)`)
    if (labelled) labels[i] = dataset.labels[index]
  }
  const { sizes } = dataset
  const sizesOfParts = sizes && Uint16Array.from(Array.from(indices).flatMap((i) => [sizes[2 * i], sizes[2 * i + 1]]))
  const files = dataset.files && Array.from(indices, (index) => dataset.files![index])
  return {
    ...dataset,
    count: indices.length,
    images: subsetOfImages(dataset, indices),
    blocks: undefined,
    labels,
    ...(sizesOfParts && { sizes: sizesOfParts }),
    ...(files && { files }),
  }
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
 * A random subset to pretrain on: round(fraction · count) different indices (at least one), in ascending order. It
 * depends only on the arguments. With one seed, the subset of a larger fraction contains the subset of a smaller one.
 *
 * @param fraction in (0, 1]
 */
export function fractionIndices(count: number, fraction: number, seed: number): Uint32Array {
  const indices = Uint32Array.from({ length: count }, (_, index) => index)
  return chooseShare(indices, fraction, new RandomStream(seed, Purpose.subset)).sort()
}

/**
 * As `fractionIndices`, but for each class: round(fraction · n) of its n images, at least one.
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
    // `fractionIndices` uses stream 0.
    chooseShare(Uint32Array.from(members), fraction, stream.seek(label + 1)),
  )
  return Uint32Array.from(chosen.flatMap((members) => [...members])).sort()
}

/** Chooses items by the first steps of a Fisher–Yates shuffle. */
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

/** The data set with only the first `perClass` images of each class; the whole data set when `perClass` is undefined. */
export const perClassSubset = (dataset: ImageDataset, perClass: number | undefined): ImageDataset =>
  perClass === undefined ? dataset : subset(dataset, firstOfEachClass(dataset, perClass))

/**
 * Indices of the first `perClass` images of each class, in the order of the data set. The list is fixed, so that anyone
 * can reproduce it. Without labels: the first `perClass` images.
 */
export function firstOfEachClass({ count, labels, classes }: ImageDataset, perClass: number): number[] {
  if (labels.length === 0) return Array.from({ length: Math.min(count, perClass) }, (_, index) => index)
  const taken = new Array<number>(classes.length).fill(0)
  const indices: number[] = []
  for (let index = 0; index < count; index++) if (taken[labels[index]]++ < perClass) indices.push(index)
  return indices
}

/** Indices of at most `count` images, one of each class in turn. The list is fixed. */
export function firstAcrossClasses(dataset: ImageDataset, count: number): number[] {
  const { labels, classes } = dataset
  if (labels.length === 0) return firstOfEachClass(dataset, count)
  const rounds = Math.ceil(count / classes.length)
  const byClass = classes.map((): number[] => [])
  for (const index of firstOfEachClass(dataset, rounds)) byClass[labels[index]].push(index)
  return Array.from({ length: rounds }, (_, round) => byClass.flatMap((of) => of.slice(round, round + 1)))
    .flat()
    .slice(0, count)
}
