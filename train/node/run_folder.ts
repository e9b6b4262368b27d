/** Runs in folders on disk. */
import { appendFileSync, existsSync, readdirSync, rmdirSync, statSync } from 'node:fs'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import { openRun as openStoredRun, type OpenOptions } from '../run/checkpoint.js'
import type { Progress } from '../run/checkpoint_record.js'
import { checkpointPath, CHECKPOINTS, CONFIG_FILE } from '../run/folder.js'
import type { RunStore } from '../run/store.js'
import { errorCode, readWhole, unreadable, unwritable, writeAtomically, writeFolderAtomically } from './files.js'
import { takeLock } from './lock.js'
import { removeAbandoned } from '../../engine/node/temporary.mjs'

/** A checkpoint of a run folder. */
export interface Checkpoint extends Progress {
  /** Path of its folder, which holds model.safetensors. */
  folder: string
}

/** The files of a run in a folder, which need not exist yet. */
export function runFolder(folder: string): RunStore {
  const at = (path: string): string => join(folder, path)
  return {
    nameOf: (path) => (path === undefined ? folder : at(path)),
    readText: async (path) => (await bytesOf(at(path)))?.toString('utf8'),
    readBytes: (path) => bytesOf(at(path)),
    list: async (path) => (existsSync(at(path)) ? readdir(at(path)) : []),
    write: (path, data) => naming(at(path), () => writeAtomically(at(path), data)),
    writeFolder: (path, fill) =>
      naming(at(path), () =>
        writeFolderAtomically(
          at(path),
          (temporary) => fill((name, data) => writeFile(join(temporary, name), data, { flush: true, flag: 'wx' })),
          { finishOnSignal: true },
        ),
      ),
    append: (path, data) => naming(at(path), async () => appendFileSync(at(path), data)),
    remove: (path) => rm(at(path), { force: true, recursive: true }),
    lock: () => lockFolder(folder),
  }
}

const LOCK_FILE = '.lock'

/** Locks a run's folder, and removes what killed processes have left in it. */
async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const isNew = !existsSync(folder)
  const release = await naming(folder, () => takeLock(join(folder, LOCK_FILE), `\`out\` ${folder}`))
  for (const place of [folder, join(folder, CHECKPOINTS)]) await removeAbandoned(place)
  return async () => {
    release()
    // A run that fails before its first step leaves nothing.
    if (isNew && existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder)
  }
}

/** Runs work that writes. Its error names the file. */
async function naming<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw unwritable(path, error)
  }
}

async function bytesOf(file: string): Promise<Buffer | undefined> {
  try {
    return await readWhole(file)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')) return undefined
    throw new ConfigError(unreadable(file, error))
  }
}

/**
 * Opens a run's folder: its configuration and its newest whole checkpoint.
 *
 * @throws ConfigError in one line if the folder holds no run, or no whole checkpoint among several
 */
export async function openRun(
  folder: string,
  options?: OpenOptions,
): Promise<{ folder: string; config: PretrainConfig; latest?: Checkpoint }> {
  checkHoldsRun(folder)
  const { config, latest } = await openStoredRun(runFolder(folder), options)
  if (!latest) return { folder, config }
  const { name, ...progress } = latest
  return { folder, config, latest: { ...progress, folder: join(folder, checkpointPath(name)) } }
}

const MOST_LISTED = 5

/** Throws a ConfigError if a folder holds no run; the message lists the runs in its subfolders. */
export function checkHoldsRun(folder: string): void {
  if (existsSync(join(folder, CONFIG_FILE))) return
  const within = runsWithin(folder)
  const listed = within.slice(0, MOST_LISTED).join(', ') + (within.length > MOST_LISTED ? ', …' : '')
  throw new ConfigError(
    `${folder} holds no run (it has no ${CONFIG_FILE}): name ${within.length ? `one of those in it: ${listed}` : 'a folder that pretraining wrote'}`,
  )
}

/** The runs in a folder's subfolders, in order. A quickstart leaves them one level down, a sweep two. */
function runsWithin(folder: string, depth = 2): string[] {
  if (depth === 0 || !existsSync(folder) || !statSync(folder).isDirectory()) return []
  const subfolders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return subfolders
    .map(({ name }) => join(folder, name))
    .sort()
    .flatMap((inner) => (existsSync(join(inner, CONFIG_FILE)) ? [inner] : runsWithin(inner, depth - 1)))
}
