/** Images of a data set, brought to the device batch by batch. */
import type { Engine } from '../../engine/index.js'
import { ROW_FLOATS } from '../augment/draw.js'
import { deviceImages, type DeviceImages } from '../augment/views.js'
import { imageBytes, readImages, type ImageDataset } from '../data/dataset.js'

/** The images of one batch on the device at a time, so that a data set may be larger than the device. */
export class BatchImages {
  readonly onDevice: DeviceImages
  private readonly bytes: Uint8Array

  constructor(
    private readonly engine: Engine,
    private readonly dataset: ImageDataset,
    private readonly batch: number,
  ) {
    const { height, width } = dataset
    this.bytes = new Uint8Array(batch * imageBytes(dataset))
    const places = { count: batch, height, width, images: this.bytes }
    this.onDevice = deviceImages(places, engine.target.maxBindingBytes)
  }

  /** Puts the images of these indices, as many as the batch holds, in its places 0, 1, … */
  async load(indices: ArrayLike<number>): Promise<void> {
    await readImages(this.dataset, indices, this.bytes)
    const size = imageBytes(this.dataset)
    for (const { words, firstImage, count } of this.onDevice.shards) {
      const packed = new Uint8Array(words.bytes)
      packed.set(this.bytes.subarray(firstImage * size, (firstImage + count) * size))
      this.engine.write(words, new Uint32Array(packed.buffer))
    }
  }

  /** Rows that were drawn for images of the data set, made to name the batch's places instead. */
  place(rows: Float32Array): Float32Array {
    for (let row = 0; row * ROW_FLOATS < rows.length; row++) rows[row * ROW_FLOATS] = row % this.batch
    return rows
  }

  release(): void {
    for (const { words } of this.onDevice.shards) this.engine.release(words)
  }
}
