// Temporary files and folders. Their names say which process owns them, so that the remains of a process that was killed
// are recognised and removed by the next one that writes into the same folder. Only Node built-ins: the launcher runs
// this before `npm ci` has installed anything.
import { randomBytes } from 'node:crypto'
import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { hostTag, liveness, thisProcess } from './process_identity.mjs'

/** `.NAME.HOST-PID-START-RANDOM.tmp`; earlier versions wrote `.NAME.PID-RANDOM.tmp`. */
const pattern = /^\..+\.(?:([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{16}|(\d+)-[0-9a-f]{8})\.tmp$/
/** Of earlier versions too; it names no owner. */
const ownerless = /^\.tmp-.+-[0-9a-f]{12}$/

/** Remains are removed after this time if nobody can say whether their process lives: it is of another machine, or its
 * name does not tell. */
const UNKNOWN_OWNER_MS = 7 * 86_400_000

/** A path in the same folder and therefore on the same file system, so that a rename is atomic. The name cannot be
 * guessed. @param {string} path */
export function temporaryBeside(path) {
  const absolute = resolve(path)
  const { host, pid, started } = thisProcess
  const owner = [hostTag(host), pid, started, randomBytes(8).toString('hex')].join('-')
  return join(dirname(absolute), `.${basename(absolute)}.${owner}.tmp`)
}

/** Removes the temporary files and folders in a folder that no living process owns. @param {string} folder */
export async function removeAbandoned(folder) {
  // A file that cannot be removed is no reason to fail.
  for (const path of abandonedIn(folder)) await rm(path, { recursive: true, force: true }).catch(() => undefined)
}

/** `removeAbandoned` for callers that cannot wait. @param {string} folder */
export function removeAbandonedNow(folder) {
  for (const path of abandonedIn(folder))
    try {
      rmSync(path, { recursive: true, force: true })
    } catch {
      // As above.
    }
}

/** @param {string} folder @returns {string[]} */
function abandonedIn(folder) {
  try {
    return readdirSync(folder)
      .map((name) => join(folder, name))
      .filter(isAbandoned)
  } catch {
    return []
  }
}

/** @param {string} path */
function isAbandoned(path) {
  const name = basename(path)
  const found = pattern.exec(name)
  if (!found) return ownerless.test(name) && isOld(path)
  const [, tag, pid, started, oldPid] = found
  if (tag !== undefined && tag !== hostTag(thisProcess.host)) return isOld(path)
  return liveness({ host: thisProcess.host, pid: Number(pid ?? oldPid), started: started ?? '0' }) === 'dead'
}

/** @param {string} path */
function isOld(path) {
  const info = lstatSync(path, { throwIfNoEntry: false })
  return info !== undefined && Date.now() - info.mtimeMs > UNKNOWN_OWNER_MS
}
