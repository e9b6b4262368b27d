// The project's cache folder. It is private, because files in it are loaded as programs. Only Node built-ins: the
// launcher runs this before `npm ci` has installed anything.
import { chmodSync, lstatSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { removeAbandonedNow, temporaryBeside } from './temporary.mjs'

/** Its path: `WEBGPU_SSL_CACHE`, else `webgpu-ssl` under `XDG_CACHE_HOME` or `~/.cache`. @returns {string} */
export function cacheFolder() {
  return process.env.WEBGPU_SSL_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'webgpu-ssl')
}

/** Makes the cache folder for this user alone. A folder that the user has chosen keeps its permissions.
 * @returns {string} @throws one line if another user may change the files in it */
export function openCache() {
  const folder = cacheFolder()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const info = lstatSync(folder)
  if (!process.env.WEBGPU_SSL_CACHE && info.isDirectory() && info.mode & 0o077 && info.uid === process.getuid?.())
    chmodSync(folder, 0o700)
  refuseForeign(folder)
  if (!opened.has(folder)) removeAbandonedNow(folder)
  opened.add(folder)
  return folder
}

/** The folders in which this process has looked for the remains of others. @type {Set<string>} */
const opened = new Set()

/** The folder of a fetched driver, which may be missing. @param {string} home @returns {string}
 * @throws one line if it is a link, or if another user may change the files in it */
export function driverFolder(home) {
  const cache = cacheFolder()
  const folder = join(cache, home)
  const info = lstatSync(folder, { throwIfNoEntry: false })
  if (!info) return folder
  refuseForeign(cache)
  if (info.isSymbolicLink()) throw new Error(`${folder} is a link, which is not followed: remove it`)
  refuseForeign(folder)
  return folder
}

/** Refuses a folder, or a link to one, that belongs to another user or that every user may change. A link of this user
 * is followed: the cache may lie on another disk. @param {string} folder */
function refuseForeign(folder) {
  const user = process.getuid?.()
  if (user === undefined) return
  for (const { uid } of [lstatSync(folder), statSync(folder)])
    if (uid !== user && uid !== 0)
      throw new Error(
        `${folder} belongs to another user, who could change the programs in it: remove it, or choose another cache folder by WEBGPU_SSL_CACHE`,
      )
  if (statSync(folder).mode & 0o002)
    throw new Error(
      `${folder}: every user could change the programs in it: name a folder inside it as WEBGPU_SSL_CACHE, or run chmod o-w on it`,
    )
}

/** Writes a file whole or not at all. The temporary name cannot be guessed, and a link there is not followed.
 * @param {string} file @param {string} text */
export function writeWhole(file, text) {
  const temporary = temporaryBeside(file)
  try {
    writeFileSync(temporary, text, { flag: 'wx' })
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}
