/**
 * A packed folder: pictures decoded once into one file of records of equal size, and an index of their sources.
 *
 *     images.bin    [count, resolution, resolution, 3] bytes, RGB
 *     sizes.bin     [count, 2] u16, little-endian: height and width of each picture, if pictures are packed whole
 *     index.json    key of the source pictures; pictures that could not be decoded
 *
 * The folder is complete or absent. It is packed again when a picture was added, removed or changed.
 */
import { createHash } from 'node:crypto'
import { open, readFile, stat, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { DecodeBudget, pixelsOf } from './decode_budget.js'
import { readJson, writeAtomically, writeFolderAtomically } from '../files.js'
import { madeOnce } from '../lock.js'
import type { ProgressReporter } from '../../data/progress.js'
import type { PictureResize } from '../../data/resample.js'
import { decodePicture, type Decoded } from './decode_picture.js'

/** Name of the image file in a packed folder. */
export const IMAGES = 'images.bin'
const INDEX = 'index.json'
const SIZES = 'sizes.bin'
/** Raise this when the same pictures give other bytes. */
const VERSION = 2
/** Pictures in full size that are in memory at once. */
const WHOLE_PICTURES = 8
/** Number of files whose size and time are read at once. */
const STATS_AT_ONCE = 64

/** A picture that could not be decoded, and why. */
export interface SkippedPicture {
  file: string
  reason: string
}

const indexSchema = z.object({
  key: z.string(),
  count: z.number().int().min(0),
  skipped: z.array(z.object({ file: z.string(), reason: z.string() })),
})

type Index = z.infer<typeof indexSchema>

export interface PackOptions {
  folder: string
  /** Paths of the pictures below `folder`, in the order of packing. */
  files: readonly string[]
  /** Height and width, pixels. */
  resolution: number
  resize: PictureResize
  progress: ProgressReporter
  /** Told once if another process is packing the same pictures. */
  onWait?(line: string): void
}

/**
 * Packs pictures into a folder, unless the folder is up to date.
 *
 * @throws when none of the pictures can be decoded
 */
export async function openPacked(packed: string, options: PackOptions): Promise<Index> {
  const key = await keyOf(options)
  return madeOnce(`${packed}.lock`, `the packed pictures ${packed}`, {
    find: () => current(packed, key, options),
    make: () => pack(packed, key, options),
    onWait: options.onWait,
  })
}

/** The index of a packed folder; undefined if the folder is absent, damaged or out of date. */
async function current(packed: string, key: string, { resolution, resize }: PackOptions): Promise<Index | undefined> {
  const { data: present } = indexSchema.safeParse(await readJson(join(packed, INDEX)).catch(() => undefined))
  const holds = async (name: string, bytes: number): Promise<boolean> =>
    stat(join(packed, name)).then(
      ({ size }) => size === bytes,
      () => false,
    )
  if (present?.key !== key || !(await holds(IMAGES, present.count * 3 * resolution ** 2))) return undefined
  return resize !== 'whole' || (await holds(SIZES, 4 * present.count)) ? present : undefined
}

/** Height and width of each picture of a folder that is packed whole, [count, 2]. */
export async function readSizes(packed: string): Promise<Uint16Array> {
  const bytes = await readFile(join(packed, SIZES))
  return Uint16Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i))
}

async function pack(packed: string, key: string, options: PackOptions): Promise<Index> {
  const { folder, files } = options
  let index: Index | undefined
  await writeFolderAtomically(packed, async (temporary) => {
    const { skipped, sizes } = await decodeInto(join(temporary, IMAGES), options)
    if (skipped.length === files.length)
      throw new Error(
        `${folder}: none of its ${files.length} pictures can be decoded; ${skipped[0].file}: ${skipped[0].reason}`,
      )
    if (options.resize === 'whole') await writeFile(join(temporary, SIZES), littleEndian(sizes))
    index = { key, count: files.length - skipped.length, skipped }
    await writeAtomically(join(temporary, INDEX), JSON.stringify(index, null, 1))
  })
  return index!
}

/** A hash of the folder, the resolution, the filter, and the name, size and time of each picture. */
async function keyOf({ folder, files, resolution, resize }: PackOptions): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([VERSION, folder, resolution, resize]))
  for (let first = 0; first < files.length; first += STATS_AT_ONCE) {
    const some = files.slice(first, first + STATS_AT_ONCE)
    // A broken link counts as a picture that cannot be decoded.
    const found = await Promise.all(some.map((file) => stat(join(folder, file)).catch(() => undefined)))
    hash.update(JSON.stringify(some.map((file, i) => [file, found[i]?.size, found[i]?.mtimeMs])))
  }
  return hash.digest('hex')
}

function littleEndian(numbers: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(2 * numbers.length)
  numbers.forEach((number, i) => bytes.writeUInt16LE(number, 2 * i))
  return bytes
}

/** Writes the pictures in their order. Returns those that cannot be decoded, and height and width of the others. */
async function decodeInto(
  path: string,
  { folder, files, resolution, resize, progress }: PackOptions,
): Promise<{ skipped: SkippedPicture[]; sizes: number[] }> {
  const task = progress.begin(`packing ${resolution}×${resolution}`, files.length, 'images')
  const out = await open(path, 'wx')
  const skipped: SkippedPicture[] = []
  const sizes: number[] = []
  // sharp decodes on Node's thread pool. Enough pictures are decoded ahead to keep it busy while the oldest is written.
  // 'bilinear' resizes on this thread and would only collect decoded pictures, which may be large.
  const ahead = resize === 'bilinear' ? WHOLE_PICTURES : 2 * availableParallelism()
  const decoding: Promise<Decoded | Error>[] = []
  const budget = new DecodeBudget()
  try {
    for (let done = 0, begun = 0; done < files.length; done++) {
      while (begun < files.length && begun < done + ahead)
        decoding.push(within(budget, join(folder, files[begun++]), resolution, resize).catch((error: Error) => error))
      const decoded = await decoding.shift()!
      if (decoded instanceof Error) skipped.push({ file: files[done], reason: firstLine(decoded) })
      else {
        await out.writeFile(decoded.pixels)
        sizes.push(decoded.height, decoded.width)
      }
      task.update(done + 1)
    }
    await out.sync()
  } finally {
    task.finish()
    await Promise.all(decoding)
    await out.close()
  }
  return { skipped, sizes }
}

const within = async (budget: DecodeBudget, file: string, resolution: number, filter: PictureResize) =>
  budget.within(await pixelsOf(file), () => decodePicture(file, resolution, filter))

const firstLine = ({ message }: Error): string => message.split('\n')[0].replace(/^.*Input file/, 'input file')
