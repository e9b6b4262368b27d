/** Brings a run's images to the device: all of them once, or each batch while the previous batch is trained on. */
import type { Engine } from '../../engine/index.js'
import { deviceImages, type DeviceImages } from '../augment/views.js'
import { BatchImages } from './batch_images.js'
import type { ImageDataset } from '../data/dataset.js'

/** 'auto': only images that stay in a file, exceed `LARGEST_RESIDENT` bytes or exceed one binding are streamed. */
export type Streaming = 'auto' | 'always'

/** Streaming costs a step almost nothing, and WebGPU does not tell how much memory a device has. */
const LARGEST_RESIDENT = 2 ** 30
/** The number of batches that are read ahead. */
const STAGING_ARRAYS = 2
/** Images that are announced to their store before they are read: at 2,500 images/s, those of 0.4 s. */
const ANNOUNCED = 1024

/** A step's images, by their indices in the data set. */
interface Batch {
  readonly images: ArrayLike<number>
}

/** The images of a data set on the device, batch after batch. */
export interface ImageFeed {
  /** What views are made of. */
  readonly onDevice: DeviceImages
  readonly streams: boolean
  /**
   * Brings batches to the device, in their order. The images of a batch stay there until the next batch is requested;
   * all programs that use them must be submitted before that.
   *
   * @param order batches, none of them larger than the feed's
   * @returns each batch, with the milliseconds since it was requested: waiting for its images, uploading them, and
   *   starting to read another batch
   */
  batches<B extends Batch>(order: Iterable<B>): AsyncGenerator<B & { waitMs: number }>
  /**
   * Changes rows that were drawn for the images of the current batch: they then name the images by their index on the
   * device.
   *
   * @param images of the batch, by their indices in the data set
   */
  place(rows: Float32Array, images: ArrayLike<number>): Float32Array
  /** Frees the images on the device. */
  release(): void
}

/** @param batch images per batch */
export function imageFeed(engine: Engine, dataset: ImageDataset, batch: number, streaming: Streaming): ImageFeed {
  const { images } = dataset
  const most = Math.min(engine.target.maxBindingBytes, LARGEST_RESIDENT)
  const resident = images instanceof Uint8Array && images.length <= most && streaming === 'auto'
  return resident
    ? residentFeed(engine, deviceImages({ ...dataset, images }, engine.target.maxBindingBytes))
    : streamedFeed(new BatchImages(engine, dataset, batch))
}

function residentFeed(engine: Engine, onDevice: DeviceImages): ImageFeed {
  return {
    onDevice,
    streams: false,
    async *batches(order) {
      for (const each of order) yield { ...each, waitMs: 0 }
    },
    place: (rows) => rows,
    release() {
      for (const { words } of onDevice.shards) engine.release(words)
    },
  }
}

function streamedFeed(images: BatchImages): ImageFeed {
  return {
    onDevice: images.onDevice,
    streams: true,
    batches: (order) => prefetched(images, order),
    place: (rows, batch) => images.place(rows, batch),
    release: () => images.release(),
  }
}

/** The same batches. Their images are announced before the batches are due. */
function* announced<B extends Batch>(images: BatchImages, order: Iterable<B>): Generator<B> {
  if (!images.announces) return yield* order
  const ahead: B[] = []
  let count = 0
  for (const batch of order) {
    images.announce(batch.images)
    ahead.push(batch)
    count += batch.images.length
    while (count > ANNOUNCED) {
      const due = ahead.shift()!
      count -= due.images.length
      yield due
    }
  }
  yield* ahead
}

/** Reads the next batches while the current batch is trained on. */
async function* prefetched<B extends Batch>(
  images: BatchImages,
  order: Iterable<B>,
): AsyncGenerator<B & { waitMs: number }> {
  const coming = announced(images, order)
  const ahead: { batch: B; staging: Uint8Array; read: Promise<void> }[] = []
  const begin = (staging: Uint8Array): void => {
    const next = coming.next()
    if (next.done) return
    const read = images.read(next.value.images, staging)
    // An error of reading is thrown when the batch is due.
    read.catch(() => undefined)
    ahead.push({ batch: next.value, staging, read })
  }
  try {
    let asked = performance.now()
    for (let i = 0; i < STAGING_ARRAYS; i++) begin(images.staging())
    for (let due; (due = ahead.shift());) {
      await due.read
      images.put(due.staging)
      begin(due.staging)
      yield { ...due.batch, waitMs: performance.now() - asked }
      asked = performance.now()
    }
  } finally {
    images.cancel()
    await Promise.allSettled(ahead.map(({ read }) => read))
  }
}
