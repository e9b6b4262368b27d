/**
 * Files and folders that are written whole or not at all. A crash or Ctrl-C never leaves half a checkpoint, summary or
 * data set under its final name.
 */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { access, constants, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { parseJson } from '../run/store.js'

/**
 * Writes a file whole or not at all: it writes a temporary file in the same folder, flushes it, then renames it. Makes
 * missing parent folders.
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
 * Writes a folder whole or not at all: `fill` writes into a temporary folder, which then replaces `path`. If `fill`
 * fails or the process is interrupted, the temporary folder is removed.
 *
 * @param options.finishOnSignal on SIGINT the folder is finished; the caller handles the signal
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
    // A folder cannot be renamed onto a folder with files, so the old folder is renamed first.
    const old = temporaryBeside(path)
    await rename(path, old).catch(ignoreMissing)
    await rename(temporary, path)
    await rm(old, { recursive: true, force: true })
  })
  await syncFolder(dirname(resolve(path)))
}

/**
 * Checks that a folder exists or can be made, so that a command fails before hours of work and not after them. It makes
 * nothing.
 *
 * @param option that names the folder, for the message
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

/**
 * Reads a JSON file.
 *
 * @throws Error in one line that names the file, if it is missing or malformed
 */
export async function readJson(path: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new Error(unreadable(path, error), { cause: error })
  }
  return parseJson(text, path)
}

/** Says in one line why a file cannot be read. */
export const unreadable = (path: string, error: unknown): string =>
  errorCode(error) === 'ENOENT'
    ? `${path}: there is no such file`
    : `${path}: cannot be read (${errorCode(error) ?? String(error)})`

/** The code of an error from the file system or the network (`ENOENT`, …), if it has one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

/** A path in the same folder and therefore on the same file system, so that a rename is atomic. */
function temporaryBeside(path: string): string {
  const absolute = resolve(path)
  return join(dirname(absolute), `.${basename(absolute)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`)
}

/** Makes a rename durable. Some systems cannot open a folder; they are skipped, because files are whole either way. */
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

/** Runs `work`. Removes `folder` if `work` fails, or if SIGINT or SIGTERM ends the process. */
async function removedWhenInterrupted(folder: string, work: () => Promise<void>): Promise<void> {
  const signals = ['SIGINT', 'SIGTERM'] as const
  const onSignal = (signal: NodeJS.Signals) => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    stopListening()
    // Without another listener, the signal ends the process as usual.
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
