/** Pictures for the worker: the sample of the page, the user's files, and those that a run keeps. */
import { fromArrays, type ArrayDataset } from '../../data/dataset.js'
import { centralSquare, resize } from '../../data/resample.js'
import { parseJson, type RunStore } from '../../run/store.js'
import type { PictureFile, Pictures, Sample } from '../protocol.js'

/** Images that a software driver takes of the sample: more would not be seen in the time of a visit. */
const MOST_ON_PROCESSOR = 10_000
/** Bytes of the user's pictures that are kept in memory. */
const MOST_BYTES = 400e6
/** A photo is first shrunk by the browser to this multiple of the side, because that is fast. */
const COARSE = 4
/** A server that has CIFAR-10 answers sooner. */
const SLOW_MS = 4000
/** Pictures that are shown, and that neighbours are searched among. */
export const SHOWN = { cpu: 256, gpu: 1000 }

const FILES = { pixels: 'pictures.bin', description: 'pictures.json' }

/** What a run keeps of its pictures. */
interface Kept {
  name: string
  isSample: boolean
  height: number
  width: number
  labels: number[]
  classes: string[]
}

/** A data set, and what the page shows of it. */
export interface Loaded {
  dataset: ArrayDataset
  pictures: Pictures
}

const loaded = (dataset: ArrayDataset, isSample: boolean, shown: number, skipped = 0): Loaded => {
  const { name, height, width, images, labels, classes } = dataset
  const count = Math.min(shown, dataset.count)
  return {
    dataset,
    pictures: {
      ...{ name, isSample, count: dataset.count, height, width, classes, skipped },
      shown: images.slice(0, count * height * width * 3),
      labels: Array.from(labels.slice(0, count)),
    },
  }
}

async function fetchOk(file: string): Promise<Response> {
  const response = await fetch(file)
  if (!response.ok) throw new Error(`CIFAR-10 cannot be loaded: ${(await response.text()).trim() || response.status}`)
  return response
}

/** CIFAR-10, or the part of it that the page has. `onSlow` is called if its server must download it first. */
export async function loadSample(adapterClass: 'cpu' | 'gpu', onSlow?: () => void): Promise<Loaded> {
  const timer = onSlow && setTimeout(onSlow, SLOW_MS)
  const described = await fetchOk('sample.json').finally(() => clearTimeout(timer))
  const sample = (await described.json()) as Sample
  const { name, height, width, classes, bytes, sprite } = sample
  const count = adapterClass === 'cpu' ? Math.min(sample.count, MOST_ON_PROCESSOR) : sample.count
  const images = bytes
    ? new Uint8Array(await (await fetchOk(`${bytes}?count=${count}`)).arrayBuffer())
    : await cutSprite(sample, sprite!, count)
  const dataset = fromArrays({ images, height, width, labels: sample.labels.slice(0, count), classes, name })
  return loaded(dataset, true, SHOWN[adapterClass])
}

async function cutSprite(
  { height, width }: Sample,
  { file, columns }: NonNullable<Sample['sprite']>,
  count: number,
): Promise<Uint8Array> {
  const bitmap = await createImageBitmap(await (await fetchOk(file)).blob(), { colorSpaceConversion: 'none' })
  const { pixels, width: across } = pixelsOf(bitmap)
  const images = new Uint8Array(count * height * width * 3)
  let to = 0
  for (let i = 0; i < count; i++) {
    const [top, left] = [Math.floor(i / columns) * height, (i % columns) * width]
    for (let y = top; y < top + height; y++, to += width * 3)
      images.set(pixels.subarray((y * across + left) * 3, (y * across + left + width) * 3), to)
  }
  return images
}

/** The pixels of a bitmap, which is closed: RGB bytes [height, width, 3]. */
function pixelsOf(bitmap: ImageBitmap): { pixels: Uint8Array; height: number; width: number } {
  const { height, width } = bitmap
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!
  // Transparent parts become white.
  context.fillStyle = '#fff'
  context.fillRect(0, 0, width, height)
  context.drawImage(bitmap, 0, 0)
  bitmap.close()
  const { data } = context.getImageData(0, 0, width, height)
  const pixels = new Uint8Array(height * width * 3)
  for (let i = 0; i < height * width; i++) {
    pixels[3 * i] = data[4 * i]
    pixels[3 * i + 1] = data[4 * i + 1]
    pixels[3 * i + 2] = data[4 * i + 2]
  }
  return { pixels, height, width }
}

/** The central square of a picture, side × side. */
async function decode(file: File, side: number): Promise<Uint8Array> {
  let bitmap = await createImageBitmap(file)
  const shorter = Math.min(bitmap.width, bitmap.height)
  if (shorter > 2 * COARSE * side) {
    const scale = (COARSE * side) / shorter
    const size = { resizeWidth: Math.round(bitmap.width * scale), resizeHeight: Math.round(bitmap.height * scale) }
    const large = bitmap
    bitmap = await createImageBitmap(large, { ...size, resizeQuality: 'medium' })
    large.close()
  }
  const picture = pixelsOf(bitmap)
  const { size, crop } = centralSquare(picture, side)
  return resize(picture, size, crop, 'lanczos')
}

/**
 * The user's pictures, as squares. Files that are no pictures are skipped. If the pictures lie in at least two folders,
 * the folders are their classes.
 */
export async function loadFiles(
  files: readonly PictureFile[],
  { side, shown, onProgress }: { side: number; shown: number; onProgress(share: number): void },
): Promise<Loaded> {
  const most = Math.floor(MOST_BYTES / (side * side * 3))
  const made: { pixels: Uint8Array; folder: string }[] = []
  let skipped = 0
  for (const [i, { file, path }] of shuffled(files).entries()) {
    onProgress(i / files.length)
    const pixels = made.length < most ? await decode(file, side).catch(() => undefined) : undefined
    if (pixels) made.push({ pixels, folder: path.split('/').slice(-2, -1)[0] ?? '' })
    else skipped++
  }
  if (made.length < 4)
    throw new Error(
      `${made.length === 0 ? 'No file' : `Only ${made.length} of the files`} could be read as a picture: choose at least 4 pictures (JPEG, PNG, WebP, GIF or AVIF).`,
    )
  const images = new Uint8Array(made.length * side * side * 3)
  made.forEach(({ pixels }, i) => images.set(pixels, i * side * side * 3))
  const classes = [...new Set(made.map(({ folder }) => folder))].sort()
  const labels = classes.length > 1 ? { classes, labels: made.map(({ folder }) => classes.indexOf(folder)) } : {}
  const dataset = fromArrays({ images, height: side, width: side, name: 'pictures', ...labels })
  return loaded(dataset, false, shown, skipped)
}

/** In another order, always the same: the first pictures of a folder are often alike. */
function shuffled<T>(items: readonly T[]): T[] {
  const order = [...items]
  let state = 1
  for (let i = order.length - 1; i > 0; i--) {
    state = (state * 48271) % 2147483647
    const j = state % (i + 1)
    ;[order[i], order[j]] = [order[j], order[i]]
  }
  return order
}

/** Keeps the pictures of a run beside it. Those of the page are loaded again instead. */
export async function keepPictures(store: RunStore, { dataset, pictures: { isSample } }: Loaded): Promise<void> {
  const { name, height, width, labels, classes, images } = dataset
  if (!isSample) await store.write(FILES.pixels, images)
  const kept: Kept = { name, isSample, height, width, classes, labels: isSample ? [] : Array.from(labels) }
  await store.write(FILES.description, JSON.stringify(kept))
}

/** The name of a run's pictures. */
export const keptName = async (store: RunStore): Promise<string> => (await readKept(store)).name

async function readKept(store: RunStore): Promise<Kept> {
  const text = await store.readText(FILES.description)
  if (text === undefined) throw new Error(`${store.nameOf(FILES.description)}: there is no such file`)
  return parseJson(text, store.nameOf(FILES.description)) as Kept
}

/** The pictures of a run. */
export async function loadKept(store: RunStore, adapterClass: 'cpu' | 'gpu'): Promise<Loaded> {
  const { isSample, labels, ...kept } = await readKept(store)
  if (isSample) return loadSample(adapterClass)
  const images = await store.readBytes(FILES.pixels)
  if (!images) throw new Error(`${store.nameOf(FILES.pixels)}: there is no such file`)
  return loaded(fromArrays({ ...kept, ...(labels.length && { labels }), images }), false, SHOWN[adapterClass])
}
