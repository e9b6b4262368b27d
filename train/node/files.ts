/**
 * Files that are whole or absent: everything a run leaves behind goes through here, so that a
 * crash or Ctrl-C never leaves half a checkpoint, summary or data set under its final name.
 */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { access, constants, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { parseJson } from '../run/store.js'

/**
 * Writes a file under its name only once all of it is on disk: a temporary file in the same
 * folder, flushed, then renamed. Makes missing parent folders.
 */
export async function writeAtomically(path: string, data: string | Uint8Array): Promise<void> {
  const folder = dirname(resolve(path))
  await mkdir(folder, { recursive: true })
  const temporary = temporaryBeside(path)
  try {
    const file = await open(temporary, 'wx')
    try {
      await file.writeFile(data)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(folder)
}

/**
 * Fills a temporary folder beside `path` and gives it that name when `fill` is done, replacing
 * what was there. When `fill` fails or the process is interrupted, nothing is left behind.
 *
 * @param options.finishOnSignal the caller handles SIGINT itself and wants the folder finished all the same
 */
export async function writeFolderAtomically(
  path: string,
  fill: (folder: string) => Promise<void>,
  { finishOnSignal = false }: { finishOnSignal?: boolean } = {},
): Promise<void> {
  await mkdir(dirname(resolve(path)), { recursive: true })
  const temporary = temporaryBeside(path)
  const guard = finishOnSignal ? (_: string, work: () => Promise<void>) => work() : removedWhenInterrupted
  await guard(temporary, async () => {
    await mkdir(temporary)
    await fill(temporary)
    // A folder cannot be renamed onto one that has files: the old one steps aside first.
    const old = temporaryBeside(path)
    await rename(path, old).catch(ignoreMissing)
    await rename(temporary, path)
    await rm(old, { recursive: true, force: true })
  })
  await syncFolder(dirname(resolve(path)))
}

/**
 * Makes sure that a folder is there or could be made, and makes nothing: what would fail after hours of work fails
 * before, and what fails before there is anything to write leaves no empty folder.
 *
 * @param option of the command line that names it
 */
export async function checkFolder(option: string, path: string): Promise<void> {
  let at = resolve(path)
  for (;;)
    try {
      if (!(await stat(at)).isDirectory()) throw new Error(`${option} ${path}: ${at} is a file: choose another folder`)
      await access(at, constants.W_OK)
      return
    } catch (error) {
      const code = errorCode(error)
      if (code === undefined) throw error
      if (code !== 'ENOENT' && code !== 'ENOTDIR')
        throw new Error(`${option} ${path}: cannot be written to (${code}): choose another folder`, { cause: error })
      at = dirname(at)
    }
}

/** Reads a JSON file; a missing or malformed one gives one line that names it. */
export async function readJson(path: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new Error(unreadable(path, error), { cause: error })
  }
  return parseJson(text, path)
}

/** Says in one line why a file could not be read. */
export const unreadable = (path: string, error: unknown): string =>
  errorCode(error) === 'ENOENT'
    ? `${path}: there is no such file`
    : `${path}: cannot be read (${errorCode(error) ?? String(error)})`

/** The system's code of an error from the file system or the network (`ENOENT`, …), if it has one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

/** Same folder, hence same file system: a rename from here is atomic. */
function temporaryBeside(path: string): string {
  const absolute = resolve(path)
  return join(dirname(absolute), `.${basename(absolute)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`)
}

/** Makes the rename itself durable; not every system lets a folder be opened, and none needs it to be right. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch {
    return
  }
}

function ignoreMissing(error: unknown): void {
  if (errorCode(error) !== 'ENOENT') throw error
}

/** Runs `work`; removes `folder` if it fails, or if SIGINT or SIGTERM ends the process meanwhile. */
async function removedWhenInterrupted(folder: string, work: () => Promise<void>): Promise<void> {
  const signals = ['SIGINT', 'SIGTERM'] as const
  const onSignal = (signal: NodeJS.Signals) => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    stopListening()
    // Without another listener the signal keeps its usual meaning.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
  }
  const stopListening = () => signals.forEach((signal) => process.off(signal, onSignal))
  signals.forEach((signal) => process.on(signal, onSignal))
  try {
    await work()
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  } finally {
    stopListening()
  }
}
