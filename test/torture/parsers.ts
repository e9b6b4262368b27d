/** Every parser of bytes from outside, with valid files to damage. */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { create, Header } from 'tar'
import { parseSweep } from '../../bench/sweep/file.js'
import type { Engine } from '../../engine/index.js'
import {
  adaptersIn,
  damageOf,
  failureIn,
  readDriverRecord,
  writeDriverRecord,
} from '../../engine/node/driver_files.mjs'
import { tuneByMeasurement } from '../../engine/node/index.js'
import { readTar } from '../../engine/node/swiftshader.mjs'
import { decodeSafetensors, encodeSafetensors, toFloat32 } from '../../models/index.js'
import { overlay, resolveConfig, type PartialConfig } from '../../train/config/config.js'
import { parseYaml } from '../../train/config/parse_yaml.js'
import { CIFAR100_RECORDS, CIFAR10_RECORDS, decodeRecords } from '../../train/data/cifar_records.js'
import { silentProgress } from '../../train/data/progress.js'
import { loadDataset } from '../../train/node/data/index.js'
import { archiveFolder } from '../../train/node/data/official_archive.js'
import {
  decodeIndex,
  encodeIndex,
  indexOf,
  scanShard,
  type ShardIndex,
} from '../../train/node/data/shards/shard_index.js'
import type { ShardSource } from '../../train/node/data/shards/shard_source.js'
import { openPacked } from '../../train/node/data/packed_images.js'
import { runFolder } from '../../train/node/run_folder.js'
import { readCheckpoint } from '../../train/run/checkpoint_record.js'
import { readConfig, readSummary } from '../../train/run/folder.js'
import { featureInfoIn } from '../../train/run/weights.js'
import { cifarRecords, stlImages } from '../train/node/data/records.js'

const shardIndex: ShardIndex = {
  ...{ shards: ['train-0.tar', 'train-1.tar'], sizes: [5000, 4000], classes: ['a', 'b'] },
  ...{ ends: Uint32Array.of(2, 3), starts: Uint32Array.of(1, 4, 1), bytes: Uint32Array.of(700, 900, 30) },
  labels: Uint32Array.of(0, 1, 1),
}

function tarOf(files: Readonly<Record<string, string>>): Uint8Array {
  const blocks = Object.entries(files).flatMap(([path, text]) => {
    const [header, content] = [Buffer.alloc(512), Buffer.alloc(512)]
    new Header({ path, size: content.write(text), mode: 0o644, type: 'File' }).encode(header)
    return [header, content]
  })
  return new Uint8Array(Buffer.concat([...blocks, Buffer.alloc(1024)]))
}

export interface Parser {
  name: string
  valid: Uint8Array[]
  /** What an error must contain. */
  file: string
  /** Parses the bytes as a command does. Bytes are refused by an Error of one line. */
  parse(bytes: Uint8Array): unknown
  /** Parses of about a millisecond or more get fewer cases. */
  slow?: true
}

const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value, null, 1))

const CONFIG = `data: cifar10
width: 8
views: 4
lr: 1e-3
schedule: cosine
objective: vicreg
lambda: 25
onlineProbe: true
augmentation:
  recipe: cifar
  size: 16
  scale: [0.2, 1]
  jitter: { probability: 0.5, hueMode: hsv }
  blur: { probability: [1, 0.1], sigma: [0.1, 2] }
  crops: [{ views: 2, size: 16, scale: [0.3, 1] }, { views: 2, size: 8, scale: [0.05, 0.3] }]
`
const SUMMARY = {
  ...{ stopped: 'done', steps: 1, totalSteps: 1, epochs: 0, finalLoss: 1.5, seconds: 2, secondsToFirstStep: 1 },
  ...{ imagesPerSecond: 3.5, peakBytes: 1000, adapter: 'a', date: '2026-01-01T00:00:00.000Z' },
}
const SWEEP = `base: { data: cifar10, epochs: 2, augmentation: { size: 16 } }
grid:
  views: [2, 4]
  augmentation.flip: [0, 0.5]
  objective: [barlow-twins, simclr]
seeds: [1, 2]
readout: { views: 2, knn: false }
`

/** @param folder for the files of parsers that read files; on a file system in memory if there is one */
export async function parsers(folder: string): Promise<Parser[]> {
  const at = (...names: string[]): string => join(folder, ...names)
  return [...weights(), ...records(at), ...options(at), ...caches(at), ...(await archives(at)), ...(await pictures(at))]
}

type At = (...names: string[]) => string

function weights(): Parser[] {
  const tensors = {
    'conv1.weight': { dtype: 'F32', shape: [2, 3], data: new Float32Array(6) },
    'bn1.bias': { dtype: 'F16', shape: [4], data: new Uint16Array(4) },
    count: { dtype: 'I64', shape: [], data: new BigInt64Array(1) },
  } as const
  const metadata = { arch: 'resnet18', width: '64', mean: '[0.1, 0.2, 0.3]' }
  const copies = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, { ...t, shape: [...t.shape] }]))
  return [
    {
      name: 'safetensors',
      valid: [encodeSafetensors(copies, metadata), encodeSafetensors({}, {})],
      file: 'w.safetensors',
      parse(bytes) {
        const file = decodeSafetensors(bytes, 'w.safetensors')
        for (const tensor of Object.values(file.tensors)) {
          const { byteLength, byteOffset, buffer } = tensor.data
          const inside = buffer !== bytes.buffer || byteOffset + byteLength <= bytes.byteOffset + bytes.length
          if (!inside || byteLength > bytes.length) throw new TypeError('a tensor lies outside the file')
          toFloat32(tensor)
        }
        featureInfoIn(file.metadata, 'w.safetensors')
      },
    },
    {
      name: 'index of shards',
      valid: [encodeIndex(shardIndex)],
      file: 'train-index.safetensors',
      parse: (bytes) => decodeIndex(bytes, 'train-index.safetensors'),
    },
    {
      name: 'shard',
      valid: [tarOf({ 'a.png': 'not a picture', 'a.cls': '3', 'b.png': 'another', 'b.cls': '4' })],
      file: 'shard.tar',
      async parse(bytes) {
        const content = Buffer.from(bytes)
        const source = {
          read: (_: string, range: { start: number; end: number }) => content.subarray(range.start, range.end),
        }
        const scanned = await scanShard(source as unknown as ShardSource, 'shard.tar', content.length)
        for (const { start, bytes: size } of scanned.samples)
          if (start + size > content.length) throw new TypeError('a picture lies outside the file')
        indexOf([{ name: 'shard.tar', bytes: content.length, scanned }], {
          source: 'shard.tar',
          onWarning: () => undefined,
        })
      },
    },
  ]
}

function records(at: At): Parser[] {
  mkdirSync(at('stl'))
  return [
    {
      name: 'CIFAR-10',
      valid: [cifarRecords(1, 2, 9)],
      file: 'x.bin',
      parse: (bytes) => decodeRecords(bytes, CIFAR10_RECORDS, 'x.bin'),
    },
    {
      name: 'CIFAR-100',
      valid: [cifarRecords([19, 99], [0, 0])],
      file: 'x.bin',
      parse: (bytes) => decodeRecords(bytes, CIFAR100_RECORDS, 'x.bin'),
    },
    {
      name: 'STL-10',
      valid: [stlImages(5, 8)],
      file: at('stl'),
      slow: true,
      parse(bytes) {
        writeFileSync(at('stl', 'train_X.bin'), bytes)
        const label = 1 + ((bytes[0] ?? 0) % 11)
        writeFileSync(at('stl', 'train_y.bin'), new Uint8Array(Math.floor(bytes.length / 27_648)).fill(label))
        return loadDataset('stl10', 'train', { dataDir: at('stl') })
      },
    },
  ]
}

function options(at: At): Parser[] {
  mkdirSync(at('run/checkpoints/step-00000001'), { recursive: true })
  const run = runFolder(at('run'))
  const config = utf8(CONFIG)
  return [
    {
      name: 'YAML of a configuration',
      valid: [config],
      file: 'c.yaml',
      parse(bytes) {
        const given = parseYaml(textOf(bytes), 'c.yaml') ?? {}
        if (typeof given === 'object' && !Array.isArray(given))
          inFile('c.yaml', () => resolveConfig(overlay(given as PartialConfig, { width: 4 })))
      },
    },
    { name: 'YAML of a sweep', valid: [utf8(SWEEP)], file: 's.yaml', parse: (b) => parseSweep(textOf(b), 's.yaml') },
    {
      name: 'config.yaml of a run',
      valid: [config],
      file: at('run'),
      parse(bytes) {
        writeFileSync(at('run/config.yaml'), bytes)
        return readConfig(run)
      },
    },
    {
      name: 'checkpoint.json',
      valid: [
        json({ step: 1, epoch: 0, stepInEpoch: 1, seconds: 2.5, adapter: 'a', target: {}, variants: { a: 'b' } }),
      ],
      file: at('run'),
      parse(bytes) {
        writeFileSync(at('run/checkpoints/step-00000001/checkpoint.json'), bytes)
        return readCheckpoint(run, 'step-00000001')
      },
    },
    {
      name: 'summary.json',
      valid: [json(SUMMARY)],
      file: at('run'),
      parse(bytes) {
        writeFileSync(at('run/summary.json'), bytes)
        return readSummary(run)
      },
    },
  ]
}

/** The commands put the file's name before an error of its options. */
function inFile(file: string, resolve: () => unknown): void {
  try {
    resolve()
  } catch (error) {
    const { name, message } = error as Error
    throw Object.assign(new Error(`${file}: ${message}`), { name })
  }
}

function caches(at: At): Parser[] {
  mkdirSync(at('driver/lib'), { recursive: true })
  for (const file of ['icd.json', 'lib/libone.so']) writeFileSync(at('driver', file), 'x'.repeat(300))
  writeDriverRecord(at('driver'), ['libone.so'])
  const info = { vendor: 'v', architecture: 'a', device: 'd', description: 'e' }
  const parsed = (bytes: Uint8Array): unknown => {
    try {
      return JSON.parse(textOf(bytes)) as unknown
    } catch {
      return undefined
    }
  }
  return [
    {
      name: 'adapters-*.json, unavailable-*.json',
      valid: [
        json({ key: 'k', adapters: [{ name: 'n', description: 'd', software: true }] }),
        json({ reason: 'r', time: Date.now() }),
      ],
      file: '',
      parse(bytes) {
        for (const { name, description } of adaptersIn(parsed(bytes), 'k')) name.concat(description)
        failureIn(parsed(bytes), 1e9).concat('')
      },
    },
    {
      name: 'driver.json',
      valid: [new Uint8Array(readFileSync(at('driver/driver.json')))],
      file: '',
      parse(bytes) {
        writeFileSync(at('driver/driver.json'), bytes)
        for (const name of readDriverRecord(at('driver'))?.preload ?? [])
          if (name.includes('/') || name.startsWith('.')) throw new TypeError('a library lies outside the folder')
        damageOf(at('driver'))
      },
    },
    {
      name: 'variants.json',
      valid: [json({ version: 2, adapters: { 'v · a · d · e': { 'matmul(f32[1, 2])': 'tiled' } } })],
      file: '',
      parse(bytes) {
        writeFileSync(at('variants.json'), bytes)
        const engine = { info, variants: new Map<string, string>() } as unknown as Engine
        tuneByMeasurement(engine, undefined, at('variants.json'))
        for (const [, name] of engine.variants) name.concat('')
      },
    },
  ]
}

async function archives(at: At): Promise<Parser[]> {
  mkdirSync(at('source/set'), { recursive: true })
  for (const file of ['a.bin', 'b.bin']) writeFileSync(at('source/set', file), file.repeat(100))
  const packed = async (gzip: boolean): Promise<Uint8Array> => {
    await create({ file: at('set.tar'), cwd: at('source'), gzip }, ['set'])
    return new Uint8Array(readFileSync(at('set.tar')))
  }
  const [plain, zipped] = [await packed(false), await packed(true)]
  return [
    {
      name: 'tar of a driver',
      valid: [plain],
      file: 'tar',
      parse: (bytes) => readTar(Buffer.from(bytes)),
    },
    {
      name: 'tar of a data set',
      valid: [plain, plain, zipped],
      file: 'set.tar.gz',
      slow: true,
      async parse(bytes) {
        const outside = mkdtempSync(at('outside-'))
        const dataDir = join(outside, 'data')
        mkdirSync(dataDir)
        writeFileSync(join(dataDir, 'set.tar.gz'), bytes)
        const sha256 = createHash('sha256').update(bytes).digest('hex')
        const archive = { title: 'Set', address: 'https://example.org/set.tar.gz', sha256, folder: 'set', files: [] }
        const refusal = await archiveFolder(archive, { dataDir, progress: silentProgress }).then(
          () => undefined,
          (error: Error) => error,
        )
        const found = [...readdirSync(outside), ...readdirSync(dataDir)].sort().filter((name) => name !== 'set')
        rmSync(outside, { recursive: true })
        if (found.join() !== 'data,set.tar.gz') throw new TypeError(`files outside the folder: ${found.join(', ')}`)
        if (refusal) throw refusal
      },
    },
  ]
}

async function pictures(at: At): Promise<Parser[]> {
  mkdirSync(at('pictures'))
  const pixels = Buffer.from(Uint8Array.from({ length: 12 * 10 * 3 }, (_, i) => (i * 37) % 256))
  const picture = sharp(pixels, { raw: { width: 12, height: 10, channels: 3 } })
  const [png, interlaced, jpeg, webp, gif, tiff] = (
    await Promise.all([
      picture.png().toBuffer(),
      picture.png({ progressive: true }).toBuffer(),
      picture.withMetadata({ orientation: 6 }).jpeg().toBuffer(),
      picture.webp().toBuffer(),
      picture.gif().toBuffer(),
      picture.tiff().toBuffer(),
    ])
  ).map((bytes) => new Uint8Array(bytes))
  const pack = (name: string) => (resize: 'lanczos' | 'bilinear') =>
    openPacked(at('packed', `${name}-${resize}`), {
      folder: at('pictures'),
      files: [name],
      resolution: 6,
      resize,
      progress: silentProgress,
    })
  writeFileSync(at('pictures', 'whole.png'), png)
  await pack('whole.png')('lanczos')
  return [
    {
      name: 'pictures',
      valid: [png, interlaced, jpeg, jpeg, webp, gif, tiff],
      file: 'picture.png',
      slow: true,
      async parse(bytes) {
        writeFileSync(at('pictures', 'picture.png'), bytes)
        await pack('picture.png')(bytes.length % 2 ? 'lanczos' : 'bilinear')
      },
    },
    {
      name: 'index.json of packed pictures',
      valid: [new Uint8Array(readFileSync(at('packed/whole.png-lanczos/index.json')))],
      file: '',
      slow: true,
      async parse(bytes) {
        writeFileSync(at('packed/whole.png-lanczos/index.json'), bytes)
        for (const { file, reason } of (await pack('whole.png')('lanczos')).skipped) file.concat(reason)
      },
    },
  ]
}
