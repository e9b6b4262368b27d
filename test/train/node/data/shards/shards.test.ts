/** Shards that GNU tar has written, and shards for GNU tar to read; damage; a server with failures. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Purpose, RandomStream } from '../../../../../engine/index.js'
import { inMemory, LostDataError, type ImageDataset } from '../../../../../train/data/dataset.js'
import { silentProgress } from '../../../../../train/data/progress.js'
import { batchesOf } from '../../../../../train/feed/batches.js'
import { sharesOf } from '../../../../../train/ranks/share.js'
import { loadDataset } from '../../../../../train/node/data/index.js'
import { HttpFiles } from '../../../../../train/node/data/shards/http_files.js'
import { expand, shardSource } from '../../../../../train/node/data/shards/open_source.js'
import { decodeIndex, indexOf, scanShard } from '../../../../../train/node/data/shards/shard_index.js'
import { ShardStore } from '../../../../../train/node/data/shards/shard_store.js'
import { writeShards } from '../../../../../train/node/data/shards/write_shards.js'
import { shardServer, type ShardServer } from '../../../../support/shard_server.js'

const SIDE = 6
const COUNT = 23
let folder: string
/** [COUNT][SIDE, SIDE, 3] */
let pixels: Uint8Array[]
let warnings: string[]
const labelOf = (i: number): number => (7 * i) % 3

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-shards-'))
  const random = new RandomStream(1, Purpose.subset)
  pixels = Array.from({ length: COUNT }, () => new Uint8Array(3 * SIDE ** 2).map(() => random.integer(256)))
  // By class for the writer, flat with long names for GNU tar.
  for (const [i, raw] of pixels.entries()) {
    const png = await sharp(raw, { raw: { width: SIDE, height: SIDE, channels: 3 } })
      .png()
      .toBuffer()
    await mkdir(join(folder, 'pictures', 'train', `class${labelOf(i)}`), { recursive: true })
    await writeFile(join(folder, 'pictures', 'train', `class${labelOf(i)}`, `p${i}.png`), png)
    await mkdir(join(folder, 'flat', 'a-folder-with-a-name'.repeat(6)), { recursive: true })
    const key = join(folder, 'flat', keyOf(i))
    await writeFile(`${key}.PNG`, png)
    await writeFile(`${key}.cls`, `${labelOf(i)}\n`)
    await writeFile(`${key}.json`, '{}')
  }
})
afterAll(() => rm(folder, { recursive: true }))

/** Every third name is too long for a plain header. */
const keyOf = (i: number): string =>
  `${i % 3 ? '' : `${'a-folder-with-a-name'.repeat(6)}/`}n${String(i).padStart(3, '0')}`

/** Writes one shard of pictures with GNU tar. */
function gnuTar(shard: string, members: readonly number[], format: string): void {
  const files = members.flatMap((i) => ['PNG', 'cls', 'json'].map((extension) => `${keyOf(i)}.${extension}`))
  execFileSync('tar', [`--format=${format}`, '-cf', shard, '-C', join(folder, 'flat'), ...files])
}

const load = (dataDir: string, split: 'train' | 'test' = 'train'): Promise<ImageDataset> => {
  warnings = []
  return loadDataset('shards', split, {
    ...{ dataDir, resolution: SIDE, cacheDir: join(folder, 'cache'), progress: silentProgress },
    onWarning: (line) => warnings.push(line),
  })
}

/** The images as [label, number of the picture]. */
async function contentOf(dataset: ImageDataset): Promise<[number, number][]> {
  const { images } = await inMemory(dataset)
  const size = 3 * SIDE ** 2
  return Array.from({ length: dataset.count }, (_, k) => {
    const image = Buffer.from(images.subarray(k * size, (k + 1) * size))
    return [dataset.labels[k] ?? -1, pixels.findIndex((raw) => image.equals(raw))]
  })
}

const shared = (members: readonly number[]): [number, number][] => members.map((i) => [labelOf(i), i])
const range = (first: number, end: number): number[] => Array.from({ length: end - first }, (_, i) => first + i)

test.each(['gnu', 'posix'])('reads shards in the %s format of GNU tar, with names of any length', async (format) => {
  const own = join(folder, `by-${format}`)
  await mkdir(own)
  gnuTar(join(own, 'imagenet-train-00.tar'), range(0, 10), format)
  gnuTar(join(own, 'imagenet-train-01.tar'), range(10, 20), format)
  gnuTar(join(own, 'imagenet-val-00.tar'), range(20, COUNT), format)
  const train = await load(own)
  expect(await contentOf(train)).toEqual(shared(range(0, 20)))
  expect([train.classes, warnings]).toEqual([['0', '1', '2'], []])
  expect(await contentOf(await load(own, 'test'))).toEqual(shared(range(20, COUNT)))
  expect(await contentOf(await load(join(own, 'imagenet-train-{01..01}.tar')))).toEqual(shared(range(10, 20)))
  // One file of two that were joined, with the zeros of the first in the middle.
  const joined = await Promise.all([0, 1].map((i) => readFile(join(own, `imagenet-train-0${i}.tar`))))
  await writeFile(join(own, 'joined.tar'), Buffer.concat(joined))
  expect(await contentOf(await load(join(own, 'joined.tar')))).toEqual(shared(range(0, 20)))
})

test('writes shards that GNU tar unpacks to the same files, and an index that finds them', async () => {
  const out = join(folder, 'written')
  await writeShards({
    ...{ from: join(folder, 'pictures'), out, shardBytes: 8000, seed: 1, progress: silentProgress },
    onWarning: (line) => expect.unreachable(line),
  })
  const names = (await readdir(out)).sort()
  expect(names.slice(0, 2).concat(names.slice(-1))).toEqual([
    'train-000000.tar',
    'train-000001.tar',
    'train-index.safetensors',
  ])
  const unpacked = join(folder, 'unpacked')
  await mkdir(unpacked)
  for (const name of names.slice(0, -1)) execFileSync('tar', ['-xf', join(out, name), '-C', unpacked])
  const found = await Promise.all(
    range(0, COUNT).map(async (i) => {
      const key = join(unpacked, String(i).padStart(9, '0'))
      const raw = await sharp(`${key}.png`).raw().toBuffer()
      return [Number(await readFile(`${key}.cls`, 'utf8')), pixels.findIndex((one) => raw.equals(one))]
    }),
  )
  expect([...found].sort((a, b) => a[1] - b[1])).toEqual(shared(range(0, COUNT)))
  expect(found).not.toEqual([...found].sort((a, b) => a[1] - b[1]))
  const read = await load(out)
  expect(await contentOf(read)).toEqual(found)
  expect(read.classes).toEqual(['class0', 'class1', 'class2'])
  await expect(load(out, 'test')).rejects.toThrow(/holds no shards of the test split/)
})

test('an index that is damaged is refused in one line', async () => {
  const bytes = await readFile(join(folder, 'written', 'train-index.safetensors'))
  const text = bytes.toString('latin1')
  for (const [from, to] of [
    ['train-000000.tar', '../../../etc/pwd'],
    ['sizes', 'sixes'],
    ['class0', 'class"'],
  ]) {
    const damaged = Buffer.from(text.replace(from, to), 'latin1')
    expect(() => decodeIndex(damaged, 'some file')).toThrow(/^some file.*$/)
  }
})

describe('damage', () => {
  const damaged = async (name: string, change: (tar: Buffer) => Buffer): Promise<string> => {
    const own = join(folder, name)
    await mkdir(own)
    gnuTar(join(own, 'train-0.tar'), range(0, 10), 'ustar')
    await writeFile(join(own, 'train-0.tar'), change(await readFile(join(own, 'train-0.tar'))))
    return own
  }
  /** Position of the header of a picture. */
  const headerAt = (tar: Buffer, i: number): number => tar.indexOf(`n${String(i).padStart(3, '0')}.PNG`)

  test('a broken header: its picture is left out, and reading goes on behind it', async () => {
    const own = await damaged('header', (tar) => {
      tar[headerAt(tar, 4) + 150] ^= 1
      return tar
    })
    expect(await contentOf(await load(own))).toEqual(shared([0, 1, 2, 3, 5, 6, 7, 8, 9]))
    expect(warnings).toEqual([
      expect.stringMatching(/train-0\.tar: passed over damage: bytes \d+ to \d+ are no tar file$/),
    ])
  })

  test('a picture that cannot be decoded: the next one of the shard takes its place, with its label', async () => {
    const own = await damaged('picture', (tar) => {
      for (const i of [4, 5, 9]) tar.fill(0, headerAt(tar, i) + 512, headerAt(tar, i) + 600)
      return tar
    })
    const dataset = await load(own)
    expect(await contentOf(dataset)).toEqual(shared([0, 1, 2, 3, 6, 6, 6, 7, 8, 0]))
    expect(warnings.sort()).toEqual(
      [4, 5, 9].map(() => expect.stringMatching(/the picture at byte \d+ is damaged \(.+\): the next one/) as string),
    )
    expect(await contentOf(dataset)).toEqual(shared([0, 1, 2, 3, 6, 6, 6, 7, 8, 0]))
    expect(warnings).toHaveLength(3)
  })

  test('a file that is cut off: what is whole is read', async () => {
    const own = await damaged('cut', (tar) => tar.subarray(0, headerAt(tar, 7) + 520))
    expect(await contentOf(await load(own))).toEqual(shared(range(0, 7)))
    expect(warnings).toEqual([expect.stringMatching(/n007\.PNG ends after the file, which is truncated$/)])
  })

  test('places without shards are refused in one line', async () => {
    const empty = join(folder, 'empty')
    await mkdir(empty)
    await expect(load(empty)).rejects.toThrow(/^.*empty: holds no shards of the train split: .tar files$/)
    await writeFile(join(empty, 'a.tar'), Buffer.alloc(10_240))
    await expect(load(empty)).rejects.toThrow(/the shards hold no pictures/)
    await writeFile(join(empty, 'a.tar'), 'this is no tar file'.repeat(100))
    await expect(load(empty)).rejects.toThrow(/the shards hold no pictures/)
    await expect(load(join(folder, 'nowhere'))).rejects.toThrow(/data folder .*nowhere does not exist/)
    expect(() => expand('a/train-{5..2}.tar')).toThrow(/the range \{5..2\} has no files/)
    expect(() => expand('a/{train}.tar')).toThrow(/a range is written as/)
  })
})

describe('a server', () => {
  let server: ShardServer
  beforeAll(async () => {
    server = await shardServer(join(folder, 'by-gnu'))
  })
  afterAll(() => void server.server.close())

  /** The two shards of the server, with short pauses. */
  async function storeOf(options: { blockBytes?: number; mostBytes?: number } = {}, pauses = [1, 1, 1]) {
    warnings = []
    const source = new HttpFiles(server.url, ['imagenet-train-00.tar', 'imagenet-train-01.tar'], pauses)
    const onWarning = (line: string): void => void warnings.push(line)
    const scanned = await Promise.all(
      ['imagenet-train-00.tar', 'imagenet-train-01.tar'].map(async (name) => {
        const { bytes } = (await source.look(name))!
        return { name, bytes, scanned: await scanShard(source, name, bytes) }
      }),
    )
    const index = indexOf(scanned, { source: source.name, onWarning })
    const store = new ShardStore(source, index, { side: SIDE, resize: 'lanczos', onWarning, ...options })
    return { store, index }
  }

  test('gives the same images, in ranges', async () => {
    const dataset = await load(`${server.url}/imagenet-train-{00..01}.tar`)
    expect(await contentOf(dataset)).toEqual(shared(range(0, 20)))
    expect(server.requests.length).toBeGreaterThan(2)
    // The index is in the cache now, so the shards are not searched again.
    const before = server.requests.length
    await load(`${server.url}/imagenet-train-{00..01}.tar`)
    expect(server.requests.slice(before).every(([, first, last]) => first === last)).toBe(true)
  })

  test('requests that fail are repeated, up to a limit', async () => {
    const { store } = await storeOf()
    const read = async () => {
      const out = new Uint8Array(3 * SIDE ** 2)
      await store.read([13], out)
      return pixels.findIndex((raw) => Buffer.from(out).equals(raw))
    }
    const troubles: (number | 'cut')[] = [503, 'cut', 429]
    server.trouble = () => troubles.shift()
    expect(await read()).toBe(13)
    server.trouble = () => 503
    await expect(read()).rejects.toThrow(LostDataError)
    await expect(read()).rejects.toThrow(/imagenet-train-01\.tar: status 503, also after 4 tries$/)
    server.trouble = () => 403
    await expect(read()).rejects.toThrow(/the server answers with status 403$/)
    server.trouble = () => 'whole'
    await expect(read()).rejects.toThrow(/the server ignores range requests/)
    server.trouble = undefined
    expect(await read()).toBe(13)
  })

  test('a server that is not there ends with its name', async () => {
    const source = new HttpFiles('http://127.0.0.1:9', ['a.tar'], [1])
    await expect(source.look('a.tar')).rejects.toThrow(/^http:\/\/127\.0\.0\.1:9\/a\.tar: .+, also after 2 tries$/)
  })

  test('a program with nothing else to do waits for the last try', () => {
    const at = new URL('../../../../../train/node/data/shards/http_files.ts', import.meta.url).href
    const program = `
      const { HttpFiles } = await import('${at}')
      await new HttpFiles('http://127.0.0.1:9', ['a.tar'], [50]).look('a.tar')`
    const args = ['--import', 'tsx', '--input-type=module', '-e', program]
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    expect(stderr).toMatch(/127\.0\.0\.1:9\/a\.tar: .* after 2 tries/)
    expect(status).toBe(1)
  })

  test('reads that are cancelled end, and later ones work', async () => {
    const source = new HttpFiles(server.url, ['imagenet-train-00.tar'], [1e6])
    let asked = false
    server.trouble = () => {
      asked = true
      return 503
    }
    const read = expect(source.look('imagenet-train-00.tar')).rejects.toThrow(
      'imagenet-train-00.tar: reading was cancelled',
    )
    while (!asked) await new Promise((resolve) => setTimeout(resolve, 5))
    source.cancel()
    await read
    server.trouble = undefined
    expect(await source.look('imagenet-train-00.tar')).toEqual({ bytes: expect.any(Number) as number })
  })

  test('ranks read parts of their own, once, within the memory that blocks may take', async () => {
    // Blocks of two pictures.
    const blockBytes = 3000
    const { store: probe } = await storeOf({ blockBytes })
    expect(probe.blocks.length).toBeGreaterThan(9)
    const indices = Uint32Array.from(range(0, 20))
    const order = { seed: 1, perStep: 4, steps: 5, blocks: { starts: probe.blocks, batch: 4 } }
    const batches = [...batchesOf(indices, order, { step: 0, epoch: 0, stepInEpoch: 0 })]
    const seen: number[] = []
    const reads: number[] = []
    for (const rank of [0, 1]) {
      const { store } = await storeOf({ blockBytes, mostBytes: 10 * blockBytes })
      server.requests.length = 0
      const own = [...sharesOf(batches, { batch: 4 }, { rank, size: 2 })].map(({ images }) => images)
      for (const images of own) store.announce(images)
      for (const images of own) {
        const out = new Uint8Array(images.length * 3 * SIDE ** 2)
        await store.read(images, out)
        const size = 3 * SIDE ** 2
        images.forEach((_, k) =>
          seen.push(pixels.findIndex((raw) => Buffer.from(out.subarray(k * size, (k + 1) * size)).equals(raw))),
        )
      }
      reads.push(server.requests.length)
    }
    expect([...seen].sort((a, b) => a - b)).toEqual(range(0, 20))
    // 10 blocks; one may lie at the border of the two.
    expect(reads[0] + reads[1]).toBeLessThanOrEqual(probe.blocks.length)
  })

  test('a folder of an address needs the index', async () => {
    await expect(load(server.url)).rejects.toThrow(/train-index\.safetensors is missing: name the shards themselves/)
    const { url, server: other } = await shardServer(join(folder, 'written'))
    const expected = await contentOf(await load(join(folder, 'written')))
    expect(await contentOf(await load(url))).toEqual(expected)
    other.close()
  })

  test('only places that the shards still have are read', async () => {
    const { store } = await storeOf()
    const other = await shardServer(join(folder, 'by-posix'))
    const moved = await shardSource(`${other.url}/imagenet-train-{00..01}.tar`)
    Object.assign(store, { source: moved })
    await expect(store.read([0], new Uint8Array(3 * SIDE ** 2))).rejects.toThrow(
      /has \d+ bytes, and had \d+ when it was indexed$/,
    )
    other.server.close()
  })
})
