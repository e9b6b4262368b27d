/** Data sets that their authors publish as one archive, which the user downloads. It is checked and unpacked once. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { extract } from 'tar'
import { openCache } from '../../../engine/node/cache_folder.mjs'
import { errorCode, unreadable, writeFolderAtomically } from '../files.js'
import { madeOnce } from '../lock.js'
import { MissingSplitError, type LoadOptions } from '../../data/registry.js'
import type { Split } from '../../data/dataset.js'
import { terminalProgress } from './terminal_progress.js'
import type { ProgressReporter } from '../../data/progress.js'

/** An archive as its authors publish it. */
export interface OfficialArchive {
  /** Name of the data set in errors. */
  title: string
  /** URL; ends in the file name of the archive. */
  address: string
  /** sha256 of the archive, in hexadecimal. */
  sha256: string
  /** The only folder in the archive. */
  folder: string
  /** Files that identify this folder under another name. */
  files: readonly string[]
}

/**
 * The folder of the unpacked files: `dataDir` itself, or a folder in `dataDir` or in the cache. If only the archive is
 * there, it is first checked and unpacked beside itself.
 *
 * @throws one line with the official address and the folder for the file, when neither files nor archive are there; one
 *   line when the archive is not the official one
 */
export async function archiveFolder(
  archive: OfficialArchive,
  { dataDir, cacheDir, progress = terminalProgress(), onWarning = console.error }: LoadOptions,
): Promise<string> {
  const { title, address, sha256, folder, files } = archive
  const base = dataDir ?? cacheDir ?? openCache()
  if (dataDir !== undefined && !(await kindOf(dataDir))?.isDirectory())
    throw new Error(`data folder ${dataDir} does not exist; name a folder that holds ${folder}/ or its archive`)
  const inside = join(base, folder)
  const find = async (): Promise<string | undefined> => ((await kindOf(inside))?.isDirectory() ? inside : undefined)
  const path = join(base, address.slice(address.lastIndexOf('/') + 1))
  if ((await find()) === undefined) {
    if (dataDir !== undefined) for (const file of files) if (await kindOf(join(dataDir, file))) return dataDir
    if (!(await kindOf(path))?.isFile())
      throw new Error(
        `${title} is not in ${base}: download ${address} (sha256 ${sha256}) into that folder and run this again, ` +
          `or name the folder that holds it as \`dataDir\``,
      )
  }
  const make = async (): Promise<string> => {
    const { size } = await stat(path)
    const sum = await sha256Of(path, size, progress)
    if (sum !== sha256)
      throw new Error(`${path}: its sha256 is ${sum}, not the official ${sha256}: download it again from ${address}`)
    const isWhole = async (): Promise<boolean> => (await find()) !== undefined
    await writeFolderAtomically(inside, (temporary) => unpack(path, temporary, size, progress), { isWhole })
    return inside
  }
  return madeOnce(`${inside}.lock`, inside, { find, make, onWait: onWarning })
}

const kindOf = (path: string) => stat(path).catch(() => undefined)

async function sha256Of(path: string, bytes: number, progress: ProgressReporter): Promise<string> {
  const task = progress.begin('checking the archive', bytes, 'bytes')
  try {
    const hash = createHash('sha256')
    let done = 0
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) {
      hash.update(chunk as Buffer)
      task.update((done += (chunk as Buffer).length))
    }
    return hash.digest('hex')
  } finally {
    task.finish()
  }
}

/** Unpacks the contents of the top folder of the archive. */
async function unpack(path: string, folder: string, bytes: number, progress: ProgressReporter): Promise<void> {
  const task = progress.begin('unpacking', bytes, 'bytes')
  const source = createReadStream(path, { highWaterMark: 2 ** 20 })
  try {
    const unpacking = extract({ cwd: folder, strip: 1, strict: true })
    let done = 0
    source.on('data', (chunk) => task.update((done += chunk.length)))
    await new Promise<void>((resolve, reject) => {
      source.on('error', reject)
      unpacking.on('error', reject)
      unpacking.on('close', resolve)
      source.pipe(unpacking)
    })
  } catch (error) {
    source.unpipe()
    source.destroy()
    await filesSettle(folder)
    throw new Error(`${path}: cannot be unpacked (${(error as Error).message.split('\n')[0]})`, { cause: error })
  } finally {
    task.finish()
  }
}

/** Waits until no more files appear: tar still writes files after an error, and the folder is about to be removed. */
async function filesSettle(folder: string): Promise<void> {
  for (let before = -1, now = 0; before !== now;) {
    before = now
    await setTimeout(QUIET_MS)
    now = (await readdir(folder, { recursive: true }).catch(() => [])).length
  }
}

const QUIET_MS = 20

/** For `catch`: an error that names the split for which a file is missing. */
export const missingFile =
  (path: string, split: Split, title: string) =>
  (error: unknown): never => {
    if (errorCode(error) === 'ENOENT')
      throw new MissingSplitError(`${path} is missing; the ${split} split needs it (${title}, binary version)`)
    throw new Error(unreadable(path, error), { cause: error })
  }
