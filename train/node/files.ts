/**
 * Files and folders that are written whole or not at all. A crash or Ctrl-C never leaves half a checkpoint, summary or
 * data set under its final name.
 */
import { rmSync } from 'node:fs'
import { lstat, mkdir, open, readFile, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { parseJson } from '../run/store.js'
import { removeAbandoned, temporaryBeside } from '../../engine/node/temporary.mjs'

/**
 * Writes a file whole or not at all: it writes a temporary file in the same folder, flushes it, then renames it. Makes
 * missing parent folders.
 */
export async function writeAtomically(path: string, data: string | Uint8Array): Promise<void> {
  const folder = dirname(resolve(path))
  await mkdir(folder, { recursive: true })
  await cleanOnce(folder)
  const temporary = temporaryBeside(path)
  try {
    // O_EXCL: a link is not followed.
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
 * Writes a folder whole or not at all: `fill` writes into a temporary folder, which is then renamed to `path`. If `fill`
 * fails or the process is interrupted, the temporary folder is removed.
 *
 * @param options.finishOnSignal on SIGINT the folder is finished; the caller handles the signal
 * @param options.isWhole whether a folder that another process has put at `path` meanwhile is kept, and this one
 *   dropped; without it, a folder at `path` is replaced
 */
export async function writeFolderAtomically(
  path: string,
  fill: (folder: string) => Promise<void>,
  { finishOnSignal = false, isWhole }: { finishOnSignal?: boolean; isWhole?: () => Promise<boolean> } = {},
): Promise<void> {
  const parent = dirname(resolve(path))
  await mkdir(parent, { recursive: true })
  await cleanOnce(parent)
  const temporary = temporaryBeside(path)
  const stopListening = finishOnSignal ? () => undefined : removeOnSignal(temporary)
  try {
    await mkdir(temporary)
    await fill(temporary)
    await publish(temporary, path, isWhole)
  } finally {
    await rm(temporary, { recursive: true, force: true })
    stopListening()
  }
  await syncFolder(parent)
}

/** Renames a finished folder. A folder with files cannot be renamed onto, so the old one is first moved away. */
async function publish(temporary: string, path: string, isWhole?: () => Promise<boolean>): Promise<void> {
  for (;;) {
    try {
      return await rename(temporary, path)
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST', 'EPERM', 'EACCES', 'ENOTDIR'].includes(errorCode(error) ?? '')) throw error
      if (await isMissing(path)) throw error
    }
    if (await isWhole?.()) return
    const old = temporaryBeside(path)
    await rename(path, old).catch(ignoreMissing)
    await rm(old, { recursive: true, force: true })
  }
}

const isMissing = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => false,
    (error: unknown) => ['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? ''),
  )

/** The folders in which this process has looked for the remains of others. */
const cleaned = new Set<string>()

async function cleanOnce(folder: string): Promise<void> {
  if (cleaned.has(folder)) return
  cleaned.add(folder)
  await removeAbandoned(folder)
}

/**
 * Checks that a folder exists or can be made, so that a command fails before hours of work and not after them. It leaves
 * nothing behind.
 *
 * @param option that names the folder, for the message
 */
export async function checkFolder(option: string, path: string): Promise<void> {
  if (path.trim() === '') throw new Error(`${option}: names no folder`)
  let at = resolve(path)
  while (await isMissing(at)) at = dirname(at)
  const found = await stat(at).catch(() => undefined)
  if (!found?.isDirectory()) throw new Error(`${option} ${path}: ${at} is a file: choose another folder`)
  // Permissions do not tell whether the file system is read-only or full.
  const trial = temporaryBeside(join(at, 'trial'))
  try {
    await mkdir(trial)
    await rmdir(trial)
  } catch (error) {
    throw new Error(
      `${option} ${path}: cannot be written to (${errorCode(error) ?? String(error)}): choose another folder`,
      { cause: error },
    )
  }
}

/**
 * Makes sure that a command may write a file and can do so, and writes nothing.
 *
 * @param option that names it, for errors
 * @param force whether the file may exist already
 */
export async function checkFile(option: string, path: string, force = false): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) throw new Error(`${option} ${path}: is a folder; name a file`)
  if (found && !force)
    throw new Error(`${option} ${path}: exists already; name another file, or replace it with \`force\``)
  await checkFolder(option, dirname(resolve(path)))
}

/** Node reads no file of 2 GiB or more at once. */
const READ_BYTES = 2 ** 30

/**
 * Reads a file of any size that memory has room for.
 *
 * @param readBytes most bytes of one read
 * @throws the error of the file system
 */
export async function readWhole(path: string, readBytes = READ_BYTES): Promise<Buffer> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    if (size <= readBytes) return await file.readFile()
    const bytes = Buffer.allocUnsafeSlow(size)
    for (let at = 0; at < size;) {
      const { bytesRead } = await file.read(bytes, at, Math.min(readBytes, size - at), at)
      if (bytesRead === 0) throw new Error(`${path}: became shorter while it was read`)
      at += bytesRead
    }
    return bytes
  } finally {
    await file.close()
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

/** Says in one line why a file or folder cannot be written. Errors that are not of the file system stay as they are. */
export function unwritable(path: string, error: unknown): Error {
  const code = errorCode(error)
  if (code === undefined || !(error as NodeJS.ErrnoException).syscall) return error as Error
  const remedy = ['ENOSPC', 'EDQUOT'].includes(code) ? ': there is no space left' : ''
  return new Error(`${path}: cannot be written (${code})${remedy}`, { cause: error })
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

/** Removes `folder` if a signal ends the process. @returns stops that */
function removeOnSignal(folder: string): () => void {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const
  const onSignal = (signal: NodeJS.Signals) => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    stopListening()
    // Without another listener, the signal ends the process as usual.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
  }
  const stopListening = () => signals.forEach((signal) => process.off(signal, onSignal))
  signals.forEach((signal) => process.on(signal, onSignal))
  return stopListening
}
