/**
 * Where shards are: a folder, or an http(s) server that answers range requests.
 *
 *     pictures/                                a folder of .tar files
 *     https://host/pictures                    a folder with the indices that `data -- shard` writes
 *     https://host/train-{000000..000146}.tar  a range of files, also of a folder on disk
 *
 * Names that contain `val`, `valid`, `validation` or `test` as a word are the test split; all others are for training.
 */
import { open, readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { LostDataError } from '../../../data/dataset.js'
import { errorCode, unreadable } from '../../files.js'
import { isFolder } from '../picture_files.js'
import { AtOnce } from './at_once.js'
import { HttpFiles } from './http_files.js'
import { splitOf, type ShardSource } from './shard_source.js'

/** @throws one line if a folder does not exist or a pattern is malformed */
export async function shardSource(dataDir: string): Promise<ShardSource> {
  const { base, files } = expand(dataDir)
  if (/^https?:\/\//.test(dataDir)) return new HttpFiles(base, files)
  if (!(await isFolder(base))) throw new Error(`data folder ${base} does not exist; name a folder of shards (.tar)`)
  return folderOf(resolve(base), files)
}

/** The largest number of files in a range. It keeps a typing error from filling the memory. */
const MOST_FILES = 1_000_000

/** Splits a place into a folder and, for a pattern or a single file, the names of files. */
export function expand(place: string): { base: string; files?: string[] } {
  const slash = place.lastIndexOf('/')
  const [base, last] = slash < 0 ? ['.', place] : [place.slice(0, slash) || '/', place.slice(slash + 1)]
  const range = /^([^{}]*)\{(\d+)\.\.(\d+)\}([^{}]*)$/.exec(last)
  if (!range && /[{}]/.test(place))
    throw new Error(`\`dataDir\` ${place}: a range is written as train-{000000..000146}.tar, in the name of the file`)
  if (!range) return /\.tar$/i.test(last) ? { base, files: [last] } : { base: place.replace(/(.)\/+$/, '$1') }
  const [, before, first, until, after] = range
  const count = Number(until) - Number(first) + 1
  if (!(count >= 1 && count <= MOST_FILES))
    throw new Error(`\`dataDir\` ${place}: the range {${first}..${until}} has no files, or more than ${MOST_FILES}`)
  const files = Array.from(
    { length: count },
    (_, i) => `${before}${String(Number(first) + i).padStart(first.length, '0')}${after}`,
  )
  return { base, files }
}

async function readRange(path: string, start: number, end: number): Promise<Buffer> {
  const handle = await open(path)
  try {
    const bytes = Buffer.allocUnsafe(end - start)
    for (let done = 0; done < bytes.length;) {
      const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done)
      if (bytesRead === 0) throw new LostDataError(`${path}: ends before byte ${end}; the file has changed`)
      done += bytesRead
    }
    return bytes
  } finally {
    await handle.close()
  }
}

/** Files that are open at once. */
const OPEN_FILES = 32

function folderOf(folder: string, files?: string[]): ShardSource {
  const pathOf = (file: string): string => join(folder, file)
  const turns = new AtOnce(OPEN_FILES)
  return {
    name: folder,
    pathOf,
    async list(split) {
      const all = files ?? (await readdir(folder)).filter((name) => /^[^.].*\.tar$/i.test(name)).sort()
      return all.filter((name) => splitOf(name) === split)
    },
    async look(file) {
      const found = await stat(pathOf(file)).catch(() => undefined)
      return found?.isFile() ? { bytes: found.size, version: found.mtimeMs } : undefined
    },
    read: (file, { start, end }) =>
      turns.run(() =>
        readRange(pathOf(file), start, end).catch((error: unknown) => {
          if (errorCode(error) === undefined) throw error
          throw new LostDataError(unreadable(pathOf(file), error), { cause: error })
        }),
      ),
  }
}
