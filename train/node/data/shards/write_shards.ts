/** Writes a folder of pictures as shards in WebDataset's convention, with the indices that readers need. */
import { readFile, writeFile } from 'node:fs/promises'
import { createWriteStream } from 'node:fs'
import { extname, join } from 'node:path'
import { finished } from 'node:stream/promises'
import sharp from 'sharp'
import { Header } from 'tar'
import { permutation } from '../../../../engine/random.js'
import type { Split } from '../../../data/dataset.js'
import type { ProgressReporter } from '../../../data/progress.js'
import { MissingSplitError } from '../../../data/registry.js'
import { writeFolderAtomically } from '../../files.js'
import { listSplit } from '../image_folder.js'
import { unsupportedNotes, type Listing } from '../picture_files.js'
import { encodeIndex, type ShardIndex } from './shard_index.js'
import { indexFile } from './shard_source.js'
import { TAR_BLOCK } from './tar_members.js'

export interface WriteShardsOptions {
  /** Folder of the pictures; see `image_folder.ts`. */
  readonly from: string
  /** Folder of the shards, which is made. */
  readonly out: string
  /** A shard ends where it reaches so many bytes. */
  readonly shardBytes: number
  /** Pixels of the shorter side of larger pictures, which are written anew as JPEG; absent: files stay as they are. */
  readonly shorterSide?: number
  /** Of the order of the pictures. */
  readonly seed: number
  readonly progress: ProgressReporter
  onWarning(line: string): void
}

/** Of JPEG, where pictures are written anew. */
const QUALITY = 92
/** Formats that stay as they are. Readers of shards know them by these extensions. */
const KEPT: Readonly<Record<string, string>> = {
  '.jpg': 'jpg',
  '.jpeg': 'jpg',
  '.jfif': 'jpg',
  '.png': 'png',
  '.webp': 'webp',
}
/** Pictures that are prepared at once. */
const AHEAD = 8

/**
 * Writes the shards of all splits that the folder has. The pictures are shuffled, because training mixes the pictures of a
 * shard less well than those of many shards.
 *
 * @returns the indices by split
 * @throws one line if there are no pictures
 */
export async function writeShards(options: WriteShardsOptions): Promise<{ split: Split; index: ShardIndex }[]> {
  const { from, out } = options
  const listings: { split: Split; listing: Listing }[] = []
  for (const split of ['train', 'test'] as const) {
    const listing = await listSplit(from, split).catch((error: unknown) => {
      if (split === 'test' && error instanceof MissingSplitError) return undefined
      throw error
    })
    if (listing) listings.push({ split, listing })
  }
  const written: { split: Split; index: ShardIndex }[] = []
  await writeFolderAtomically(out, async (folder) => {
    for (const { split, listing } of listings) {
      for (const line of unsupportedNotes(listing.folder, listing)) options.onWarning(line)
      const index = await writeSplit(folder, split, listing, options)
      await writeFile(join(folder, indexFile(split)), encodeIndex(index))
      written.push({ split, index })
    }
  })
  return written
}

async function writeSplit(
  folder: string,
  split: Split,
  { folder: from, files, labels, classes }: Listing,
  { shardBytes, shorterSide, seed, progress, onWarning }: WriteShardsOptions,
): Promise<ShardIndex> {
  const task = progress.begin(`writing ${split} shards`, files.length, 'images')
  const order = permutation(seed, 0, files.length)
  const ahead: Promise<Picture | Error>[] = []
  const index = { shards: [] as string[], sizes: [] as number[] }
  const [ends, starts, bytes, kept]: [number[], number[], number[], number[]] = [[], [], [], []]
  let shard: ShardFile | undefined
  const close = async (): Promise<void> => {
    if (!shard) return
    index.sizes.push(await shard.close())
    ends.push(starts.length)
    shard = undefined
  }
  try {
    for (let done = 0, begun = 0; done < files.length; done++) {
      while (begun < files.length && begun < done + AHEAD)
        ahead.push(prepared(join(from, files[order[begun++]]), shorterSide).catch((error: Error) => error))
      const picture = await ahead.shift()!
      task.update(done + 1)
      if (picture instanceof Error) {
        onWarning(`left out ${join(from, files[order[done]])}: ${picture.message.split('\n')[0]}`)
        continue
      }
      if (!shard) {
        const name = `${split === 'test' ? 'val' : 'train'}-${String(index.shards.length).padStart(6, '0')}.tar`
        index.shards.push(name)
        shard = new ShardFile(join(folder, name))
      }
      const key = String(starts.length).padStart(9, '0')
      starts.push((await shard.add(`${key}.${picture.extension}`, picture.content)) / TAR_BLOCK)
      bytes.push(picture.content.length)
      if (classes.length > 0) {
        const label = labels[order[done]]
        kept.push(label)
        await shard.add(`${key}.cls`, Buffer.from(String(label)))
      }
      if (shard.bytes >= shardBytes) await close()
    }
    await close()
  } finally {
    task.finish()
    await Promise.all(ahead)
    await shard?.close()
  }
  if (starts.length === 0) throw new Error(`${from}: none of its ${files.length} pictures can be read`)
  return {
    ...{ ...index, classes },
    ...{ ends: Uint32Array.from(ends), starts: Uint32Array.from(starts), bytes: Uint32Array.from(bytes) },
    labels: Uint32Array.from(kept),
  }
}

interface Picture {
  readonly content: Buffer
  readonly extension: string
}

/** The file of a picture as it is, or written anew. */
async function prepared(path: string, shorterSide?: number): Promise<Picture> {
  const content = await readFile(path)
  const extension = KEPT[extname(path).toLowerCase()]
  const picture = sharp(content)
  const { width, height } = await picture.metadata()
  if (shorterSide !== undefined && Math.min(width, height) > shorterSide) {
    const shrunk = picture.autoOrient().resize({ width: shorterSide, height: shorterSide, fit: 'outside' })
    return { content: await shrunk.jpeg({ quality: QUALITY }).toBuffer(), extension: 'jpg' }
  }
  return extension ? { content, extension } : { content: await picture.png().toBuffer(), extension: 'png' }
}

/** A tar file that grows. */
class ShardFile {
  bytes = 0
  private readonly stream

  constructor(path: string) {
    this.stream = createWriteStream(path, { flags: 'wx' })
    // Thrown where the stream is closed.
    this.stream.on('error', () => undefined)
  }

  /** @returns the position of the first byte of the content */
  async add(path: string, content: Buffer): Promise<number> {
    const header = Buffer.alloc(TAR_BLOCK)
    new Header({ path, mode: 0o644, uid: 0, gid: 0, size: content.length, mtime: new Date(0), type: 'File' }).encode(
      header,
    )
    const start = this.bytes + TAR_BLOCK
    await this.write(header)
    await this.write(content)
    await this.write(Buffer.alloc((TAR_BLOCK - (content.length % TAR_BLOCK)) % TAR_BLOCK))
    return start
  }

  /** @returns the size of the file */
  async close(): Promise<number> {
    await this.write(Buffer.alloc(2 * TAR_BLOCK))
    this.stream.end()
    await finished(this.stream)
    return this.bytes
  }

  private write(bytes: Buffer): Promise<void> {
    this.bytes += bytes.length
    return new Promise((resolve, reject) => {
      this.stream.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  }
}
