/**
 * Temporary files and folders. Their names say which process owns them, so that the remains of a process that was
 * killed are recognised and removed by the next one that writes into the same folder.
 */
import { randomBytes } from 'node:crypto'
import { lstat, readdir, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { hostTag, liveness, thisProcess } from './process_identity.js'

/** `.NAME.HOST-PID-START-RANDOM.tmp`; earlier versions wrote `.NAME.PID-RANDOM.tmp`. */
const pattern = /^\..+\.(?:([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{16}|(\d+)-[0-9a-f]{8})\.tmp$/

/** Remains of another machine are removed after this time, because nobody can say whether their process lives. */
const FOREIGN_MS = 7 * 86_400_000

/** A path in the same folder and therefore on the same file system, so that a rename is atomic. */
export function temporaryBeside(path: string): string {
  const absolute = resolve(path)
  const { host, pid, started } = thisProcess
  const owner = [hostTag(host), pid, started, randomBytes(8).toString('hex')].join('-')
  return join(dirname(absolute), `.${basename(absolute)}.${owner}.tmp`)
}

/** Removes the temporary files and folders in a folder that no living process owns. */
export async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name)
    // A file that cannot be removed is no reason to fail.
    if (await isAbandoned(path)) await rm(path, { recursive: true, force: true }).catch(() => undefined)
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  const found = pattern.exec(basename(path))
  if (!found) return false
  const [, tag, pid, started, oldPid] = found
  if (tag === undefined || tag === hostTag(thisProcess.host))
    return liveness({ host: thisProcess.host, pid: Number(pid ?? oldPid), started: started ?? '0' }) === 'dead'
  const changed = await lstat(path).catch(() => undefined)
  return changed !== undefined && Date.now() - changed.mtimeMs > FOREIGN_MS
}
