/** Device memory for the images of one batch, so that a data set may be larger than the device. */
import type { Engine } from '../../engine/index.js'
import { ROW_FLOATS } from '../augment/draw.js'
import { deviceImages, type DeviceImages } from '../augment/views.js'
import { imageBytes, readImages, type ImageDataset } from '../data/dataset.js'

/** Holds the images of one batch at a time. Views are made of them as of a whole data set. */
export class BatchImages {
  readonly onDevice: DeviceImages
  private readonly imageBytes: number
  private readonly packed: readonly Uint32Array[]
  private readonly own: Uint8Array

  /** @param batch images per batch */
  constructor(
    private readonly engine: Engine,
    private readonly dataset: ImageDataset,
    private readonly batch: number,
  ) {
    const { height, width, sizes } = dataset
    this.imageBytes = imageBytes(dataset)
    this.own = this.staging()
    // Rows are drawn for images of the data set, so the sizes are those of all its images.
    const places = { count: batch, height, width, sizes, images: this.own }
    this.onDevice = deviceImages(places, engine.target.maxBindingBytes)
    this.packed = this.onDevice.shards.map(({ words }) => new Uint32Array(words.size))
  }

  /** A new array for the bytes of one batch. */
  staging(): Uint8Array {
    return new Uint8Array(this.batch * this.imageBytes)
  }

  /** Whether the images are in a store that begins to fetch what is announced. */
  get announces(): boolean {
    const { images } = this.dataset
    return !(images instanceof Uint8Array) && images.announce !== undefined
  }

  /** Says which images are read soon. */
  announce(indices: ArrayLike<number>): void {
    const { images } = this.dataset
    if (!(images instanceof Uint8Array)) images.announce?.(indices)
  }

  /** Ends the reads that are under way. */
  cancel(): void {
    const { images } = this.dataset
    if (!(images instanceof Uint8Array)) images.cancel?.()
  }

  /** Reads the images at these indices, at most a batch, into a staging array. */
  read(indices: ArrayLike<number>, staging: Uint8Array): Promise<void> {
    return readImages(this.dataset, indices, staging.subarray(0, indices.length * this.imageBytes))
  }

  /**
   * Puts a staging array's images on the device, at the indices 0, 1, …. Programs that were submitted before still see
   * the previous batch. The array is copied, so the caller may reuse it.
   */
  put(staging: Uint8Array): void {
    this.onDevice.shards.forEach(({ words, firstImage, count }, i) => {
      const first = firstImage * this.imageBytes
      new Uint8Array(this.packed[i].buffer).set(staging.subarray(first, first + count * this.imageBytes))
      this.engine.write(words, this.packed[i])
    })
  }

  /** `read`, then `put`. */
  async load(indices: ArrayLike<number>): Promise<void> {
    await this.read(indices, this.own)
    this.put(this.own)
  }

  /**
   * Changes rows that were drawn for images of the data set: they then name the images by their index on the device.
   *
   * @param images the indices in the data set of the batch on the device
   */
  place(rows: Float32Array, images: ArrayLike<number>): Float32Array {
    const places = new Map<number, number>()
    for (let i = 0; i < images.length; i++) places.set(images[i], i)
    for (let at = 0; at < rows.length; at += ROW_FLOATS) rows[at] = places.get(rows[at])!
    return rows
  }

  release(): void {
    for (const { words } of this.onDevice.shards) this.engine.release(words)
  }
}
