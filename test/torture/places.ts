/** Where work is killed: each place with its inputs, its command and its results. */
import { createCipheriv, createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { create } from 'tar'
import { encodeRecords } from '../../train/data/cifar_records.js'
import { resultsOf } from '../support/kill_loop.js'

export interface Place {
  name: string
  /** Arguments of node, and its environment, that begin or continue the work in a folder. */
  command(folder: string): { args: string[]; env?: NodeJS.ProcessEnv }
  /** What must be the same after the work, with and without kills. */
  results(folder: string): Promise<unknown>
  /** What stderr says when the work has begun; by default the work has begun when it has changed its folder. */
  sign?: RegExp
  /** A kill comes so many milliseconds after the beginning at most; by default it comes until the end. */
  mostMs?: number
}

const IMAGES = 24
const PICTURES = 120
const FILES = 200

const processOf = (name: string): string => fileURLToPath(new URL(`../support/${name}_process.ts`, import.meta.url))
const [work, experiment] = [processOf('place'), processOf('experiment')]

/** Makes the inputs of all places in a folder. @returns `close` stops the registry that the download uses */
export async function preparePlaces(folder: string): Promise<{ places: Place[]; close(): Promise<void> }> {
  const inputs = join(folder, 'inputs')
  const data = join(inputs, 'cifar')
  mkdirSync(data, { recursive: true })
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16))
  const bytes = (count: number): Uint8Array => new Uint8Array(stream.update(Buffer.alloc(count)))
  for (const [name, count] of Object.entries({ 'data_batch_1.bin': IMAGES, 'test_batch.bin': IMAGES / 2 })) {
    const labels = Array.from({ length: count }, (_, i) => i % 3)
    writeFileSync(join(data, name), encodeRecords(bytes(count * 3072), labels))
  }
  const { server, ...download } = await downloading(inputs, bytes)
  const places = [
    pretraining(data),
    await packing(join(inputs, 'pictures'), bytes),
    download.place,
    await unpacking(join(inputs, 'archive'), bytes),
    sweeping(inputs, data),
    experimenting(data),
  ]
  return { places, close: () => new Promise((resolve) => server.close(() => resolve())) }
}

/** The sha256 of every file in a folder, by name. */
function digests(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()
  const files = names.filter((name) => statSync(join(folder, name)).isFile())
  return Object.fromEntries(
    files.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  )
}

function pretraining(data: string): Place {
  const args = [
    ...['--data-dir', data, '--width', '4', '--image-size', '8', '--views', '2', '--projector-dim', '8'],
    ...['--batch', '8', '--epochs', '200', '--checkpoint-every', '3', '--online-probe', '--no-tune'],
  ]
  return {
    name: 'pretraining',
    command(folder) {
      const out = join(folder, 'run')
      const checkpoints = join(out, 'checkpoints')
      const resumable = existsSync(checkpoints) && readdirSync(checkpoints).some((name) => name.startsWith('step-'))
      return {
        args: ['train/cli/pretrain.ts', ...(resumable ? ['--resume', '--no-tune'] : args), '--out', out],
      }
    },
    results: (folder) => resultsOf(join(folder, 'run')),
    sign: /^(recorded|resumed) /m,
    mostMs: 1200,
  }
}

async function packing(pictures: string, bytes: (count: number) => Uint8Array): Promise<Place> {
  const side = 240
  for (const [i, split] of Array.from({ length: PICTURES }, (_, i) => [i, i % 4 ? 'train' : 'val'] as const)) {
    const at = join(pictures, split, `class-${i % 3}`)
    mkdirSync(at, { recursive: true })
    const raw = { width: side, height: side, channels: 3 } as const
    await sharp(bytes(3 * side * side), { raw })
      .jpeg()
      .toFile(join(at, `${i}.jpg`))
  }
  return {
    name: 'packing pictures',
    command: (folder) => ({
      args: ['train/cli/data.ts', 'folder', '--data-dir', pictures, '--resolution', '200'],
      env: { WEBGPU_SSL_CACHE: folder },
    }),
    results: async (folder) => digests(folder),
  }
}

/** A package of random bytes on a registry that sends it slowly. */
async function downloading(
  inputs: string,
  bytes: (count: number) => Uint8Array,
): Promise<{ place: Place; server: Server }> {
  const [parts, msBetween] = [60, 10]
  const content = join(inputs, 'package')
  mkdirSync(content)
  writeFileSync(join(content, 'package.json'), '{"name":"pinned","version":"1.0.0"}')
  writeFileSync(join(content, 'data.bin'), bytes(300_000))
  await create({ file: join(inputs, 'pinned.tgz'), cwd: inputs, gzip: true }, ['package'])
  const tarball = readFileSync(join(inputs, 'pinned.tgz'))
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
  const server = createServer((request, response) => {
    const path = '/pinned/-/pinned-1.0.0.tgz'
    if (request.url !== path) {
      const dist = { tarball: `${address}${path}`, integrity }
      const versions = { '1.0.0': { name: 'pinned', version: '1.0.0', dist } }
      response.end(JSON.stringify({ name: 'pinned', 'dist-tags': { latest: '1.0.0' }, versions }))
      return
    }
    let sent = 0
    const timer = setInterval(() => {
      const next = Math.ceil((tarball.length * ++sent) / parts)
      response.write(tarball.subarray(Math.ceil((tarball.length * (sent - 1)) / parts), next))
      if (sent < parts) return
      clearInterval(timer)
      response.end()
    }, msBetween)
    response.on('close', () => clearInterval(timer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const place: Place = {
    name: 'downloading',
    command: (folder) => ({
      args: [work, 'download', join(folder, 'set'), 'pinned@1.0.0', integrity, String(tarball.length)],
      env: {
        npm_config_registry: `${address}/`,
        npm_config_userconfig: join(inputs, 'npmrc'),
        npm_config_cache: join(inputs, 'npm'),
        ...Object.fromEntries(
          ['http_proxy', 'https_proxy', 'all_proxy'].flatMap((n) => [n, n.toUpperCase()]).map((name) => [name, '']),
        ),
      },
    }),
    results: async (folder) => digests(folder),
  }
  return { place, server }
}

async function unpacking(inputs: string, bytes: (count: number) => Uint8Array): Promise<Place> {
  mkdirSync(join(inputs, 'set'), { recursive: true })
  for (let i = 0; i < FILES; i++) writeFileSync(join(inputs, 'set', `${i}.bin`), bytes(2000))
  const archive = join(inputs, 'set.tar.gz')
  await create({ file: archive, cwd: inputs, gzip: true }, ['set'])
  return {
    name: 'unpacking',
    command: (folder) => ({ args: [work, 'unpack', folder, archive] }),
    results: async (folder) => digests(folder),
  }
}

/** Everything that is equal in two performances: no times and no dates. */
function withoutTimes(text: string): unknown {
  return JSON.parse(text, (name, value: unknown) => (['date', 'seconds', 'folder'].includes(name) ? undefined : value))
}

const runsIn = async (folder: string): Promise<[string, unknown][]> =>
  Promise.all(
    readdirSync(folder)
      .sort()
      .map(async (name) => [name, await resultsOf(join(folder, name))] as [string, unknown]),
  )

function sweeping(inputs: string, data: string): Place {
  const file = join(inputs, 'grid.yaml')
  writeFileSync(
    file,
    `
base: { dataDir: ${JSON.stringify(data)}, width: 4, batch: 8, epochs: 6, checkpointEvery: 1, projectorDim: 8, augmentation: { size: 8 }, onlineProbe: true }
grid: { views: [2, 3] }
seeds: [1, 2]
readout: { epochs: 20 }
`,
  )
  return {
    name: 'sweep',
    command: (folder) => ({ args: ['bench/sweep/cli.ts', file, '--out', folder] }),
    results: async (folder) => ({
      figures: withoutTimes(readFileSync(join(folder, 'results.json'), 'utf8')),
      runs: await runsIn(join(folder, 'runs')),
      files: readdirSync(folder).sort(),
    }),
    sign: /, seed \d \(/,
  }
}

function experimenting(data: string): Place {
  return {
    name: 'experiment',
    command: (folder) => ({ args: [experiment, folder, data] }),
    results: async (folder) => ({
      figures: withoutTimes(readFileSync(join(folder, 'dynamics.json'), 'utf8')),
      runs: await runsIn(join(folder, 'runs')),
      files: readdirSync(folder).sort(),
    }),
  }
}
