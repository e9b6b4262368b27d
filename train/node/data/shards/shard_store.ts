/**
 * Pictures in shards as a store of images. Training announces what it reads soon; the blocks that hold it are fetched
 * meanwhile, and kept until all their pictures have been taken. Other readers get the bytes of the pictures that they
 * want. A picture that cannot be decoded is named once, and the next one of its shard takes its place, so that every
 * batch is full and a function of the shards alone.
 */
import { LostDataError, type ImageStore } from '../../../data/dataset.js'
import type { PictureResize } from '../../../data/resample.js'
import { DecodeBudget, pixelsOf } from '../decode_budget.js'
import { decodePicture } from '../decode_picture.js'
import type { ShardIndex } from './shard_index.js'
import type { ShardSource } from './shard_source.js'
import { TAR_BLOCK } from './tar_members.js'

/** A block ends where it reaches so many bytes: large enough for a request, small enough to hold hundreds. */
const BLOCK_BYTES = 2 ** 20
/** Most bytes of blocks that are kept or on their way. */
const MOST_BYTES = 2 ** 29
/** Most pictures in a row that cannot be decoded. */
const MOST_DAMAGED = 100

export interface ShardStoreOptions {
  /** Height and width of the images, in pixels. */
  readonly side: number
  readonly resize: PictureResize
  /** Receives one line for each damaged picture. */
  onWarning(line: string): void
  readonly blockBytes?: number
  readonly mostBytes?: number
}

interface Block {
  readonly bytes: number
  readonly content: Promise<Buffer>
  /** Pictures that have not been taken. */
  left: number
}

export class ShardStore implements ImageStore {
  /** See `ImageDataset.blocks`. */
  readonly blocks: Uint32Array
  /** Bytes that have been read, for measurements. */
  bytesRead = 0
  private readonly shardOfBlock: Uint32Array
  private readonly held = new Map<number, Block>()
  /** By block: pictures that are announced and have not been taken. */
  private readonly pending = new Map<number, number>()
  private heldBytes = 0
  private readonly budget = new DecodeBudget()
  /** The picture that takes the place of a damaged one. */
  private readonly substitutes = new Map<number, number>()

  constructor(
    private readonly source: ShardSource,
    private readonly index: ShardIndex,
    private readonly options: ShardStoreOptions,
  ) {
    const { starts, shardOf } = blocksOf(index, options.blockBytes ?? BLOCK_BYTES)
    this.blocks = starts
    this.shardOfBlock = shardOf
  }

  announce(indices: ArrayLike<number>): void {
    for (let i = 0; i < indices.length; i++) {
      const block = this.blockOf(indices[i])
      this.pending.set(block, (this.pending.get(block) ?? 0) + 1)
      if (!this.held.has(block) && this.makeRoom(this.sizeOf(block))) this.fetch(block)
    }
  }

  cancel(): void {
    this.pending.clear()
    this.source.cancel?.()
  }

  async read(indices: ArrayLike<number>, out: Uint8Array): Promise<void> {
    const { side } = this.options
    const wanted = new Map<number, number>()
    for (let i = 0; i < indices.length; i++) {
      const block = this.blockOf(indices[i])
      wanted.set(block, (wanted.get(block) ?? 0) + 1)
    }
    for (const [block, count] of wanted)
      if (!this.held.has(block) && (this.pending.has(block) || 2 * count > this.picturesOf(block))) {
        this.makeRoom(this.sizeOf(block))
        this.fetch(block)
      }
    const size = 3 * side ** 2
    await Promise.all(
      Array.from(indices, async (picture, i) => {
        out.set(await this.decoded(picture), i * size)
      }),
    )
  }

  /**
   * Decodes a picture, or the one that takes its place.
   *
   * @param skipped damaged pictures before this one
   * @returns [side, side, 3]
   */
  private async decoded(picture: number, skipped = 0): Promise<Uint8Array> {
    const { side, resize } = this.options
    const { labels } = this.index
    const content = await this.contentOf(picture)
    if (!this.substitutes.has(picture))
      try {
        return await this.budget.within(
          await pixelsOf(content),
          async () => (await decodePicture(content, side, resize)).pixels,
        )
      } catch (error) {
        this.passOver(picture, (error as Error).message.split('\n')[0])
      }
    if (skipped === MOST_DAMAGED)
      throw new LostDataError(`${this.pathOf(picture)}: more than ${MOST_DAMAGED} pictures in a row are damaged`)
    const next = this.substitutes.get(picture)!
    const pixels = await this.decoded(next, skipped + 1)
    if (labels.length > 0) labels[picture] = labels[next]
    return pixels
  }

  private passOver(picture: number, reason: string): void {
    if (this.substitutes.has(picture)) return
    this.substitutes.set(picture, this.nextOf(picture))
    const at = TAR_BLOCK * this.index.starts[picture]
    this.options.onWarning(
      `${this.pathOf(picture)}: the picture at byte ${at} is damaged (${reason}): the next one takes its place`,
    )
  }

  /** The shard of a picture. */
  private pathOf(picture: number): string {
    return this.source.pathOf(this.index.shards[this.shardOfBlock[this.blockOf(picture)]])
  }

  /** The next picture of the shard, or the first one after the last. */
  private nextOf(picture: number): number {
    const shard = this.shardOfBlock[this.blockOf(picture)]
    const next = picture + 1
    return next < this.index.ends[shard] ? next : (this.index.ends[shard - 1] ?? 0)
  }

  /** The bytes of a picture's file. */
  private async contentOf(picture: number): Promise<Buffer> {
    const number = this.blockOf(picture)
    const start = TAR_BLOCK * this.index.starts[picture]
    const end = start + this.index.bytes[picture]
    const block = this.held.get(number)
    const pending = (this.pending.get(number) ?? 0) - 1
    if (pending > 0) this.pending.set(number, pending)
    else this.pending.delete(number)
    if (!block) return this.readBytes(number, start, end)
    const first = TAR_BLOCK * this.index.starts[this.blocks[number]]
    if (--block.left <= 0) this.release(number)
    const content = await block.content
    return content.subarray(start - first, end - first)
  }

  private fetch(number: number): void {
    const bytes = this.sizeOf(number)
    const start = TAR_BLOCK * this.index.starts[this.blocks[number]]
    const content = this.readBytes(number, start, start + bytes)
    // The error is thrown where the pictures are read; a later reader tries again.
    content.catch(() => this.release(number))
    this.held.set(number, { bytes, content, left: this.picturesOf(number) })
    this.heldBytes += bytes
  }

  /** Releases the oldest blocks for which nobody waits. @returns whether there is room for so many bytes */
  private makeRoom(bytes: number): boolean {
    const most = this.options.mostBytes ?? MOST_BYTES
    for (const number of this.held.keys()) {
      if (this.heldBytes + bytes <= most) break
      if (!this.pending.has(number)) this.release(number)
    }
    return this.heldBytes + bytes <= most
  }

  private release(number: number): void {
    const block = this.held.get(number)
    if (!block) return
    this.held.delete(number)
    this.heldBytes -= block.bytes
  }

  private async readBytes(block: number, start: number, end: number): Promise<Buffer> {
    const shard = this.shardOfBlock[block]
    this.bytesRead += end - start
    return this.source.read(this.index.shards[shard], { start, end, bytes: this.index.sizes[shard] })
  }

  private picturesOf(block: number): number {
    return this.blocks[block + 1] - this.blocks[block]
  }

  /** From the first picture of a block to the end of its last one. */
  private sizeOf(block: number): number {
    const { starts, bytes } = this.index
    const last = this.blocks[block + 1] - 1
    return TAR_BLOCK * (starts[last] - starts[this.blocks[block]]) + bytes[last]
  }

  /** Binary search. */
  private blockOf(picture: number): number {
    let [low, high] = [0, this.blocks.length - 2]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.blocks[middle] <= picture) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** The first picture of each block, then their number; and the shard of each block. A block lies within a shard. */
function blocksOf({ ends, starts, bytes }: ShardIndex, most: number): { starts: Uint32Array; shardOf: Uint32Array } {
  const [firsts, shardOf]: [number[], number[]] = [[], []]
  for (let shard = 0, picture = 0; shard < ends.length; shard++)
    for (; picture < ends[shard]; picture++) {
      const first = firsts.at(-1)
      const isNew = shardOf.at(-1) !== shard || TAR_BLOCK * (starts[picture] - starts[first!]) + bytes[picture] > most
      if (!isNew) continue
      firsts.push(picture)
      shardOf.push(shard)
    }
  return { starts: Uint32Array.from([...firsts, starts.length]), shardOf: Uint32Array.from(shardOf) }
}
