import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { unpackPackage } from '../../../../train/node/data/npm_package.js'
import type { ProgressReporter } from '../../../../train/data/progress.js'

/** A gzipped ustar archive as npm publishes it: each path starts with `package/`. */
function tarball(files: Record<string, string>): Buffer {
  const blocks: Buffer[] = []
  for (const [name, text] of Object.entries(files)) {
    const header = Buffer.alloc(512)
    header.write(`package/${name}`, 0)
    header.write('0000644\0', 100)
    header.write(`${text.length.toString(8).padStart(11, '0')}\0`, 124)
    header.write('00000000000\0        0', 136)
    header.write('ustar\u000000', 257)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    const body = Buffer.alloc(Math.ceil(text.length / 512) * 512)
    body.write(text)
    blocks.push(header, body)
  }
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]))
}

const integrityOf = (bytes: Uint8Array) => `sha512-${createHash('sha512').update(bytes).digest('base64')}`

let folder: string
let target: string
let server: Server | undefined
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-package-'))
  target = join(folder, 'target')
  await mkdir(target)
  // npm reads its configuration and keeps its cache here, and nothing of the user's.
  vi.stubEnv('npm_config_userconfig', join(folder, 'npmrc'))
  vi.stubEnv('npm_config_cache', join(folder, 'cache'))
  vi.stubEnv('npm_config_fetch_retries', '0')
  for (const name of ['http_proxy', 'https_proxy', 'all_proxy'])
    for (const key of [name, name.toUpperCase()]) vi.stubEnv(key, undefined)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  server?.close()
  server = undefined
  await rm(folder, { recursive: true })
})

/** Starts a registry with the given answers by path; npm's environment names it. Returns its address. */
async function registry(answers: (address: string) => Record<string, Buffer | object>): Promise<string> {
  const started = createServer((request, response) => {
    const answer = answers(address)[decodeURIComponent(request.url ?? '')]
    if (answer === undefined) response.writeHead(404).end('{}')
    else response.end(Buffer.isBuffer(answer) ? answer : JSON.stringify(answer))
  })
  server = started
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve))
  const address = `http://127.0.0.1:${(started.address() as AddressInfo).port}/npm/`
  vi.stubEnv('npm_config_registry', address)
  return address
}

function recorder() {
  const seen: (number | string)[] = []
  const progress: ProgressReporter = {
    begin: (label, total) => {
      seen.push(label, total)
      return { update: (done) => seen.push(done), finish: () => seen.push('finished') }
    },
  }
  return { seen, progress }
}

const files = { 'package.json': '{"name":"@some/pinned","version":"1.0.0"}', 'data.txt': 'pixels' }

test("unpacks the pinned tarball of npm's registry and reports its bytes", async () => {
  const bytes = tarball(files)
  await registry(() => ({ '/npm/@some/pinned/-/pinned-1.0.0.tgz': bytes }))
  const { seen, progress } = recorder()
  const pinned = { spec: '@some/pinned@1.0.0', integrity: integrityOf(bytes), bytes: bytes.length }
  await unpackPackage(pinned, target, progress)
  expect(await readFile(join(target, 'package', 'data.txt'), 'utf8')).toBe('pixels')
  expect(await readdir(target)).toEqual(['package'])
  expect(seen).toEqual(['downloading @some/pinned@1.0.0', bytes.length, bytes.length, 'finished'])
})

test('lets npm download from a registry that keeps the tarball elsewhere', async () => {
  const bytes = tarball(files)
  const integrity = integrityOf(bytes)
  await registry((address) => ({
    '/npm/@some/pinned': {
      name: '@some/pinned',
      'dist-tags': { latest: '1.0.0' },
      versions: {
        '1.0.0': {
          name: '@some/pinned',
          version: '1.0.0',
          dist: { tarball: new URL('/files/1.tgz', address).href, integrity },
        },
      },
    },
    '/files/1.tgz': bytes,
  }))
  await unpackPackage({ spec: '@some/pinned@1.0.0', integrity, bytes: bytes.length }, target, recorder().progress)
  expect(await readFile(join(target, 'package', 'data.txt'), 'utf8')).toBe('pixels')
  expect(await readdir(target)).toEqual(['package'])
})

test('refuses a tarball that is not the pinned one, in one line', async () => {
  const bytes = tarball({ 'package.json': '{"name":"other","version":"1.0.0"}' })
  await registry(() => ({ '/npm/other/-/other-1.0.0.tgz': bytes }))
  const { seen, progress } = recorder()
  const pinned = { spec: 'other@1.0.0', integrity: integrityOf(Buffer.from('the pinned one')), bytes: 100 }
  await expect(unpackPackage(pinned, target, progress)).rejects.toThrow(
    /^cannot download other@1\.0\.0: the registry sent a file that is not the pinned package; check the registry of npm$/,
  )
  expect(seen.at(-1)).toBe('finished')
  expect(await readdir(target)).toEqual([])
})

test('a package that the registry does not have is one line with the remedy', async () => {
  await registry(() => ({}))
  const pinned = { spec: 'absent@1.0.0', integrity: 'sha512-', bytes: 100 }
  await expect(unpackPackage(pinned, target, recorder().progress)).rejects.toThrow(
    /^cannot download absent@1\.0\.0: .*; check the network and npm's registry and proxy settings$/,
  )
})
