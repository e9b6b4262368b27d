/**
 * The index of a split of shards: where each picture is, and its label. It is a safetensors file:
 *
 *     starts       U32 [count]    first byte of each picture in its shard, divided by 512
 *     bytes        U32 [count]    size of each picture
 *     labels       U32 [count]    if there are labels
 *     ends         U32 [shards]   number of pictures of the shards up to each one
 *     metadata     shards: names of the shards; sizes: bytes of each; classes: names of the classes; all as JSON
 *
 * `data -- shard` writes it beside the shards. For shards of other programs it is made when they are first used, and kept
 * in the cache.
 */
import { z } from 'zod'
import { decodeSafetensors, encodeSafetensors, type SafetensorsTensor } from '../../../../models/safetensors.js'
import { parseJson } from '../../../run/store.js'
import { TAR_BLOCK, tarMembers, Windows } from './tar_members.js'
import type { ShardSource } from './shard_source.js'

export interface ShardIndex {
  readonly shards: readonly string[]
  /** Bytes of each shard. */
  readonly sizes: readonly number[]
  /** [shards]: the number of pictures up to and with each shard. */
  readonly ends: Uint32Array
  /** [count]: first byte of each picture, divided by 512. */
  readonly starts: Uint32Array
  /** [count] */
  readonly bytes: Uint32Array
  /** [count], or empty. */
  readonly labels: Uint32Array
  readonly classes: readonly string[]
}

export function encodeIndex({ shards, sizes, classes, labels, ...index }: ShardIndex): Uint8Array {
  const tensor = (data: Uint32Array): SafetensorsTensor => ({ dtype: 'U32', shape: [data.length], data })
  const tensors = { starts: tensor(index.starts), bytes: tensor(index.bytes), ends: tensor(index.ends) }
  const metadata = { shards: JSON.stringify(shards), sizes: JSON.stringify(sizes), classes: JSON.stringify(classes) }
  return encodeSafetensors({ ...tensors, ...(labels.length > 0 && { labels: tensor(labels) }) }, metadata)
}

const MOST_CLASSES = 1_000_000
const names = z.array(z.string())

/** @throws Error in one line that names the source, if the bytes are no index, or one that contradicts itself */
export function decodeIndex(file: Uint8Array, source: string): ShardIndex {
  const fail = (problem: string): never => {
    throw new Error(`${source}: not an index of shards: ${problem}; make it again with \`data -- shard\`, or remove it`)
  }
  const { tensors, metadata } = decodeSafetensors(file, source)
  const numbers = (name: string, length?: number): Uint32Array => {
    const { dtype, shape, data } = tensors[name] ?? fail(`it has no ${name}`)
    if (dtype !== 'U32' || shape.length !== 1 || (length !== undefined && shape[0] !== length))
      fail(`${name} is ${dtype} [${shape.join(', ')}]`)
    return data as Uint32Array
  }
  const list = <T>(name: string, schema: z.ZodType<T>): T => {
    const { data } = schema.safeParse(parseJson(metadata[name] ?? '', `${source}: ${name}`))
    return data ?? fail(`its ${name} are malformed`)
  }
  const shards = list('shards', names)
  const sizes = list('sizes', z.array(z.number().int().min(0)))
  const classes = list('classes', names.max(MOST_CLASSES))
  const starts = numbers('starts')
  const count = starts.length
  const index: ShardIndex = {
    ...{ shards, sizes, classes, starts },
    bytes: numbers('bytes', count),
    ends: numbers('ends', shards.length),
    labels: tensors.labels ? numbers('labels', count) : new Uint32Array(0),
  }
  const strange = shards.find((name) => !/^[^/\\\0]+$/.test(name) || name.startsWith('.'))
  if (strange !== undefined) fail(`the name of a shard is '${strange.slice(0, 80)}'`)
  if (sizes.length !== shards.length) fail(`it has ${sizes.length} sizes of ${shards.length} shards`)
  index.ends.forEach((end, i) => end < (index.ends[i - 1] ?? 0) && fail('the numbers of pictures do not ascend'))
  if ((index.ends.at(-1) ?? 0) !== count) fail(`the shards have ${index.ends.at(-1) ?? 0} of ${count} pictures`)
  for (let shard = 0, i = 0; shard < shards.length; shard++)
    for (; i < index.ends[shard]; i++)
      if (starts[i] < 1 || TAR_BLOCK * starts[i] + index.bytes[i] > sizes[shard])
        fail(`picture ${i} is outside ${shards[shard]}`)
  if (index.labels.some((label) => label >= classes.length)) fail('a label has no class')
  return index
}

const PICTURES = new Set(['jpg', 'jpeg', 'png', 'webp'])
/** Longer contents are no class. */
const LONGEST_CLASS = 16

interface Sample {
  readonly start: number
  readonly bytes: number
  label?: number
}

/** The pictures of one shard, in their order. */
export interface ScannedShard {
  readonly samples: readonly Sample[]
  /** What is damaged, each in a few words. */
  readonly damage: readonly string[]
}

/**
 * Finds the samples of a shard in WebDataset's convention: files in a row whose paths agree up to the first dot of the
 * name are one sample. Its picture is the first .jpg, .jpeg, .png or .webp, its label the number in .cls.
 */
export async function scanShard(source: ShardSource, shard: string, bytes: number): Promise<ScannedShard> {
  const file = new Windows(bytes, (start, end) => source.read(shard, { start, end, bytes }))
  const samples: Sample[] = []
  const damage: string[] = []
  let key: string | undefined
  let picture: Sample | undefined
  let label: number | undefined
  const close = (): void => {
    if (picture) samples.push({ ...picture, label })
    picture = label = undefined
  }
  for await (const member of tarMembers(file)) {
    if ('damage' in member) {
      damage.push(member.damage)
      continue
    }
    const [, before, extension] = /^((?:.*\/)?[^./]*)\.([^/]*)$/s.exec(member.path) ?? []
    if (before !== key) close()
    key = before
    const kind = extension?.toLowerCase().split('.').at(-1)
    if (kind === 'cls' && member.bytes <= LONGEST_CLASS) {
      const text = (await file.slice(member.start, member.start + member.bytes)).toString('latin1').trim()
      if (/^\d+$/.test(text) && Number(text) < MOST_CLASSES) label = Number(text)
      else damage.push(`${member.path} is '${text.slice(0, 20)}' and not the number of a class`)
    } else if (kind !== undefined && PICTURES.has(kind) && member.bytes > 0)
      picture ??= { start: member.start, bytes: member.bytes }
  }
  close()
  return { samples, damage }
}

/**
 * The index of scanned shards.
 *
 * @param classes names by label; "0", "1", … by default
 * @param onWarning receives what is left out
 * @throws Error in one line if there are no pictures
 */
export function indexOf(
  shards: readonly { name: string; bytes: number; scanned: ScannedShard }[],
  { source, classes, onWarning }: { source: string; classes?: readonly string[]; onWarning(line: string): void },
): ShardIndex {
  const all = shards.flatMap(({ scanned }) => scanned.samples)
  const labelled = all.filter(({ label }) => label !== undefined).length
  // Where most pictures have a label, one without has lost it.
  const needsLabel = labelled > all.length / 2
  if (needsLabel && labelled < all.length)
    onWarning(`${source}: left out ${all.length - labelled} of ${all.length} pictures, which have no .cls`)
  const kept = shards.map(({ scanned }) => scanned.samples.filter(({ label }) => !needsLabel || label !== undefined))
  const samples = kept.flat()
  if (samples.length === 0)
    throw new Error(`${source}: the shards hold no pictures (.jpg, .png or .webp with a key, as WebDataset has them)`)
  let total = 0
  const labels = needsLabel ? Uint32Array.from(samples, ({ label }) => label!) : new Uint32Array(0)
  const count = labels.reduce((most, label) => Math.max(most, label + 1), 0)
  return {
    shards: shards.map(({ name }) => name),
    sizes: shards.map(({ bytes }) => bytes),
    ends: Uint32Array.from(kept, (own) => (total += own.length)),
    starts: Uint32Array.from(samples, ({ start }) => start / TAR_BLOCK),
    bytes: Uint32Array.from(samples, ({ bytes }) => bytes),
    labels,
    classes: classes ?? Array.from({ length: count }, (_, label) => String(label)),
  }
}
