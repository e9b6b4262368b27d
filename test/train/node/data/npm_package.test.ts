import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
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
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-package-'))
  target = join(folder, 'target')
  await mkdir(target)
})
afterEach(() => rm(folder, { recursive: true }))

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

test('unpacks the pinned tarball and reports its bytes', async () => {
  const bytes = tarball({ 'package.json': '{"name":"pinned","version":"1.0.0"}', 'data.txt': 'pixels' })
  const path = join(folder, 'pinned.tgz')
  await writeFile(path, bytes)
  const { seen, progress } = recorder()
  await unpackPackage({ spec: `file:${path}`, integrity: integrityOf(bytes), bytes: bytes.length }, target, progress)
  expect(await readFile(join(target, 'package', 'data.txt'), 'utf8')).toBe('pixels')
  expect(await readdir(target)).toEqual(['package'])
  expect(seen).toEqual([`downloading file:${path}`, bytes.length, bytes.length, 'finished'])
})

test('refuses a tarball that is not the pinned one, in one line', async () => {
  const bytes = tarball({ 'package.json': '{"name":"other","version":"1.0.0"}' })
  const path = join(folder, 'other.tgz')
  await writeFile(path, bytes)
  const { seen, progress } = recorder()
  const pinned = { spec: `file:${path}`, integrity: integrityOf(Buffer.from('the pinned one')), bytes: 100 }
  await expect(unpackPackage(pinned, target, progress)).rejects.toThrow(
    `cannot download file:${path}: the registry sent a file that is not the pinned package (EINTEGRITY)`,
  )
  expect(seen.at(-1)).toBe('finished')
  expect(await readdir(target)).not.toContain('package')
})
