/** Reads images by position from a file of records of equal size, so that a data set may be larger than memory. */
import { closeSync, fstatSync, openSync, read } from 'node:fs'
import { promisify } from 'node:util'
import type { ImageStore } from '../../data/dataset.js'

const readAt = promisify(read)
/** The file stays open as long as its `ImageFile` lives, so that a file that replaces it on disk has no effect. */
const abandoned = new FinalizationRegistry<number>((file) => closeSync(file))

/** Most bytes of one read. Neighbouring records are read together. */
const LONGEST_READ = 2 ** 22

export class ImageFile implements ImageStore {
  private readonly file: number
  /** Size of the file. */
  readonly bytes: number

  /**
   * @param recordBytes bytes of a record: height · width · 3
   * @param toPixels converts a record to [height, width, 3] bytes; without it the records have this layout
   */
  constructor(
    readonly path: string,
    private readonly recordBytes: number,
    private readonly toPixels?: (record: Uint8Array, out: Uint8Array) => void,
  ) {
    this.file = openSync(path, 'r')
    this.bytes = fstatSync(this.file).size
    abandoned.register(this, this.file)
  }

  async read(indices: ArrayLike<number>, out: Uint8Array): Promise<void> {
    const { recordBytes, toPixels } = this
    const longest = Math.max(1, Math.floor(LONGEST_READ / recordBytes))
    const raw = toPixels ? new Uint8Array(out.length) : out
    const reads: Promise<void>[] = []
    for (let first = 0, next; first < indices.length; first = next) {
      next = first + 1
      while (next < indices.length && indices[next] === indices[next - 1] + 1 && next - first < longest) next++
      reads.push(this.fill(raw.subarray(first * recordBytes, next * recordBytes), indices[first]))
    }
    await Promise.all(reads)
    if (toPixels)
      for (let at = 0; at < out.length; at += recordBytes)
        toPixels(raw.subarray(at, at + recordBytes), out.subarray(at, at + recordBytes))
  }

  private async fill(target: Uint8Array, firstRecord: number): Promise<void> {
    const position = firstRecord * this.recordBytes
    for (let done = 0; done < target.length;) {
      const { bytesRead } = await readAt(this.file, target, done, target.length - done, position + done)
      if (bytesRead === 0) throw new Error(`${this.path}: ends before image ${firstRecord}; the file has changed`)
      done += bytesRead
    }
  }
}
