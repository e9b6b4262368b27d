// What both fetched software drivers need (lavapipe.mjs, swiftshader.mjs): a progress line, commands, and folders that
// appear whole or not at all. Only Node built-ins: the launcher runs this before `npm ci` has installed anything.
import { spawn } from 'node:child_process'
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { writeDriverRecord } from './driver_files.mjs'
import { removeAbandoned, temporaryBeside } from './temporary.mjs'

/** @typedef {{ update(text: string): void, end(text: string): void }} ProgressLine */

/** A progress line on stderr. A terminal shows every update; otherwise only the first and the last text are printed.
 * @param {string} title @returns {ProgressLine} */
export function progressLine(title) {
  const tty = process.stderr.isTTY === true
  process.stderr.write(tty ? title : `${title}\n`)
  const show = (/** @type {string} */ text) => process.stderr.write(`\r${title}: ${text}\x1b[K`)
  return {
    update: (text) => {
      if (tty) show(text)
    },
    end: (text) => {
      if (tty) show(`${text}\n`)
      else process.stderr.write(`${title}: ${text}\n`)
    },
  }
}

/** Runs a command and resolves with its stdout; rejects with the last line of its stderr.
 * @param {string} command @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, shell?: boolean }} options @returns {Promise<string>} */
export function output(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let err = ''
    child.stdout.on('data', (data) => {
      out += data
    })
    child.stderr.on('data', (data) => {
      err += data
    })
    child.on('error', (error) => reject(new Error(`${command}: ${error.message}`)))
    child.on('close', (code) => {
      if (code === 0) resolve(out)
      else reject(new Error(`${command} ${args[0]} failed: ${err.trim().split('\n').pop() || `exit code ${code}`}`))
    })
  })
}

/** Builds a folder beside `target` and renames it to `target` when it is complete. Readers see all of it or nothing, and
 * two processes cannot mix their files: the slower one drops its copy.
 * @param {string} target @param {(temporary: string) => Promise<void>} build */
export async function buildFolder(target, build) {
  const parent = dirname(target)
  await mkdir(parent, { recursive: true })
  await removeAbandoned(parent)
  const temporary = temporaryBeside(target)
  try {
    await mkdir(temporary)
    await build(temporary)
    await rename(temporary, target).catch(async (error) => {
      if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(error.code)) throw error
      await access(target)
    })
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

/** @param {string} folder @param {string} driver library name @param {string[]} preload */
export async function writeManifests(folder, driver, preload) {
  // The library path is relative to the manifest, so that the folder can be moved.
  await writeFile(
    join(folder, 'icd.json'),
    JSON.stringify(
      { file_format_version: '1.0.0', ICD: { library_path: `./lib/${driver}`, api_version: '1.1.0' } },
      null,
      2,
    ) + '\n',
  )
  writeDriverRecord(folder, preload)
}

/** How to start npm: by the path that npm gives its scripts, else by name (a `.cmd` file on Windows).
 * @returns {{ command: string, args: string[], shell: boolean }} */
export function npmCommand() {
  const path = process.env.npm_execpath
  if (path && /^npm(-cli)?\.[cm]?js$/.test(basename(path)))
    return { command: process.execPath, args: [path], shell: false }
  return { command: 'npm', args: [], shell: process.platform === 'win32' }
}
