/** How a run's images get to the device: all of them once, or each batch while the one before is trained on. */
import type { Engine } from '../../engine/index.js'
import { deviceImages, type DeviceImages } from '../augment/views.js'
import { BatchImages } from './batch_images.js'
import type { ImageDataset } from '../data/dataset.js'

/** 'auto': where the images stay in a file or are more than `LARGEST_RESIDENT` bytes or one binding. */
export type Streaming = 'auto' | 'always'

/** A stream costs a step next to nothing, and how much memory a device has cannot be asked. */
const LARGEST_RESIDENT = 2 ** 30
/** Batches that are read ahead. */
const STAGING_ARRAYS = 2

/** A step's images, by their indices in the data set. */
interface Batch {
  readonly images: ArrayLike<number>
}

/** Images of a data set on the device, batch after batch. */
export interface ImageFeed {
  /** What views are made of. */
  readonly onDevice: DeviceImages
  readonly streams: boolean
  /**
   * Brings batches to the device, in their order; a batch's images are there from when it is yielded until the next is
   * asked for, by which time all that uses them must have been submitted.
   *
   * @param order batches of one size
   * @returns each batch, with the milliseconds since it was asked for: for what was not read in time, the upload, and
   *   beginning to read another
   */
  batches<B extends Batch>(order: Iterable<B>): AsyncGenerator<B & { waitMs: number }>
  /** Rows drawn for images of the data set, changed to name the images as the device has them. */
  place(rows: Float32Array): Float32Array
  /** Frees the images on the device. */
  release(): void
}

/** @param batch images a batch */
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
    place: (rows) => images.place(rows),
    release: () => images.release(),
  }
}

/** Reads the next batches while the present one is trained on. */
async function* prefetched<B extends Batch>(
  images: BatchImages,
  order: Iterable<B>,
): AsyncGenerator<B & { waitMs: number }> {
  const coming = order[Symbol.iterator]()
  const ahead: { batch: B; staging: Uint8Array; read: Promise<void> }[] = []
  const begin = (staging: Uint8Array): void => {
    const next = coming.next()
    if (next.done) return
    const read = images.read(next.value.images, staging)
    // What goes wrong is thrown when the batch is due.
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
    await Promise.allSettled(ahead.map(({ read }) => read))
  }
}
