/**
 * Pictures in tar files, as WebDataset has them, in a folder or on a server; see `open_source.ts` for the places,
 * `shard_index.ts` for what a sample is. Pictures are fetched and decoded while training runs.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { printable } from '../../../../engine/node/command.js'
import { openCache } from '../../../../engine/node/cache_folder.mjs'
import type { Split } from '../../../data/dataset.js'
import { MissingSplitError, type DatasetLoader, type LoadOptions } from '../../../data/registry.js'
import { writeAtomically } from '../../files.js'
import { madeOnce } from '../../lock.js'
import { DEFAULT_RESOLUTION, checkResolution } from '../resolution.js'
import { terminalProgress } from '../terminal_progress.js'
import { shardSource } from './open_source.js'
import { decodeIndex, encodeIndex, indexOf, scanShard, type ScannedShard, type ShardIndex } from './shard_index.js'
import { indexFile, type ShardSource } from './shard_source.js'
import { ShardStore } from './shard_store.js'

/** Shards that are indexed at once. */
const SCANNED_AT_ONCE = 16
/** Notes on damage that are reported one by one. */
const NAMED = 10

export const shards: DatasetLoader = {
  splits: ['train', 'test'],
  pretraining: 'train',
  anyResolution: true,
  side: DEFAULT_RESOLUTION,
  locate: async (options) => (await open(options)).name,
  count: async (split, options) => (await openIndex(split, options)).index.starts.length,

  async labelled(options) {
    for (const split of ['train', 'test'] as const) {
      const found = await openIndex(split, options).catch((error: unknown) => {
        if (error instanceof MissingSplitError) return undefined
        throw error
      })
      if (!found?.index.labels.length) return false
    }
    return true
  },

  async load(split, options) {
    const { resolution = DEFAULT_RESOLUTION, resize = 'lanczos', onWarning = warn } = options
    checkResolution(resolution, resize)
    if (resize === 'whole')
      throw new Error(
        `\`resize\` whole: pictures in shards are cut to squares; leave \`resize\` out, or use data folder`,
      )
    const { source, index } = await openIndex(split, options)
    const images = new ShardStore(source, index, { side: resolution, resize, onWarning })
    return {
      name: basename(source.name),
      split,
      count: index.starts.length,
      height: resolution,
      width: resolution,
      channels: 3,
      images,
      blocks: images.blocks,
      labels: index.labels,
      classes: index.labels.length > 0 ? [...index.classes] : [],
    }
  },
}

const warn = (line: string): void => console.error(printable(line))

async function open({ dataDir }: LoadOptions): Promise<ShardSource> {
  if (dataDir === undefined)
    throw new Error('data set "shards": `dataDir` must name the folder or the URL of the shards')
  return shardSource(dataDir)
}

/** The index of a split: the one beside the shards, the one in the cache, or a new one. */
async function openIndex(split: Split, options: LoadOptions): Promise<{ source: ShardSource; index: ShardIndex }> {
  const { cacheDir, onWarning = warn } = options
  const source = await open(options)
  const listed = await source.list(split)
  if (listed?.length === 0)
    throw new MissingSplitError(
      `${source.name}: holds no shards of the ${split} split: .tar files${split === 'test' ? ' with val or test in their names' : ''}`,
    )
  const beside = await indexBeside(source, split, listed)
  if (beside) return { source, index: beside }
  if (!listed)
    throw new (split === 'train' ? Error : MissingSplitError)(
      `${source.pathOf(indexFile(split))} is missing: name the shards themselves, as in ${source.pathOf('train-{000000..000146}.tar')}, or write them with \`data -- shard\``,
    )
  const seen = await look(source, listed)
  const key = createHash('sha256')
    .update(JSON.stringify([1, source.name, seen]))
    .digest('hex')
    .slice(0, 16)
  const path = join(cacheDir ?? openCache(), 'shards', `${split}-${key}.safetensors`)
  const index = await madeOnce(`${path}.lock`, `the index of ${source.name}`, {
    find: async () => {
      const made = await readFile(path).catch(() => undefined)
      return made && decodeIndex(made, path)
    },
    make: async () => {
      const scanned = await scan(source, seen, options)
      await writeAtomically(path, encodeIndex(scanned))
      return scanned
    },
    onWait: onWarning,
  })
  return { source, index }
}

/** The index that `data -- shard` has written, if it is there and of these shards. */
async function indexBeside(
  source: ShardSource,
  split: Split,
  listed: readonly string[] | undefined,
): Promise<ShardIndex | undefined> {
  const file = indexFile(split)
  const found = await source.look(file)
  if (!found) return undefined
  const bytes = await source.read(file, { start: 0, end: found.bytes, bytes: found.bytes })
  const index = decodeIndex(new Uint8Array(bytes), source.pathOf(file))
  if (!listed) return index
  // Files on disk may have been added, removed or replaced since.
  if (listed.length !== index.shards.length || listed.some((name, i) => name !== index.shards[i])) return undefined
  const seen = await Promise.all(index.shards.map((shard) => source.look(shard)))
  return seen.every((shard, i) => shard?.bytes === index.sizes[i]) ? index : undefined
}

type Seen = { name: string; bytes: number; version?: number }[]

async function look(source: ShardSource, shards: readonly string[]): Promise<Seen> {
  return inParallel(shards, async (name) => {
    const found = await source.look(name)
    if (!found) throw new Error(`${source.pathOf(name)}: there is no such shard`)
    return { name, ...found }
  })
}

async function scan(source: ShardSource, seen: Seen, { progress = terminalProgress(), onWarning = warn }: LoadOptions) {
  const total = seen.reduce((sum, { bytes }) => sum + bytes, 0)
  const task = progress.begin('indexing the shards', total, 'bytes')
  let done = 0
  let reported = 0
  const note = (shard: string, scanned: ScannedShard): void => {
    for (const line of scanned.damage)
      if (reported++ < NAMED) onWarning(`${source.pathOf(shard)}: passed over damage: ${line}`)
  }
  try {
    const scanned = await inParallel(seen, async ({ name, bytes }) => {
      const found = await scanShard(source, name, bytes)
      note(name, found)
      task.update((done += bytes))
      return { name, bytes, scanned: found }
    })
    if (reported > NAMED) onWarning(`${source.name}: passed over damage at ${reported} places in all`)
    return indexOf(scanned, { source: source.name, onWarning })
  } finally {
    task.finish()
  }
}

/** Works on the items, some of them at once. @returns the results in their order */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length)
  let next = 0
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i])
  }
  await Promise.all(Array.from({ length: SCANNED_AT_ONCE }, worker))
  return results
}
