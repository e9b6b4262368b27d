// The files of a fetched driver: driver.json lists the libraries to load, and the size and sha256 of every file. They
// are compared only when the driver fails. Only Node built-ins: the launcher runs this before `npm ci`.
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** @typedef {{ bytes: number, sha256: string }} FileRecord */
/** `files` is absent if an older version fetched the driver.
 * @typedef {{ preload: string[], files?: Record<string, FileRecord> }} DriverRecord */

/** Writes driver.json. @param {string} folder @param {string[]} preload names of libraries, in the order of loading */
export function writeDriverRecord(folder, preload) {
  const names = ['icd.json', ...readdirSync(join(folder, 'lib')).map((name) => `lib/${name}`)]
  const files = Object.fromEntries(names.map((name) => [name, recordOf(readFileSync(join(folder, name)))]))
  writeFileSync(join(folder, 'driver.json'), JSON.stringify({ preload, files }, null, 2) + '\n')
}

/** @param {Buffer} content @returns {FileRecord} */
const recordOf = (content) => ({
  bytes: content.length,
  sha256: createHash('sha256').update(content).digest('hex'),
})

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A plain file name, which cannot lead out of the folder. @param {unknown} name */
const isName = (name) => typeof name === 'string' && /^[\w+-][\w.+-]*$/.test(name)

/** Reads driver.json. @param {string} folder @returns {DriverRecord | undefined} undefined if it is missing or damaged */
export function readDriverRecord(folder) {
  /** @type {unknown} */
  let record
  try {
    record = JSON.parse(readFileSync(join(folder, 'driver.json'), 'utf8'))
  } catch {
    return undefined
  }
  if (!isObject(record) || !Array.isArray(record.preload) || !record.preload.every(isName)) return undefined
  const { preload, files } = record
  if (files === undefined) return { preload }
  const whole =
    isObject(files) &&
    Object.entries(files).every(
      ([name, file]) =>
        isName(name.replace(/^lib\//, '')) && isObject(file) && Number.isSafeInteger(file.bytes) && isHash(file.sha256),
    )
  return whole ? { preload, files: /** @type {Record<string, FileRecord>} */ (files) } : undefined
}

/** @param {unknown} text */
const isHash = (text) => typeof text === 'string' && /^[0-9a-f]{64}$/.test(text)

/** Compares the files of a driver with their record. @param {string} folder
 * @returns {string} what is wrong with the first damaged file; '' if nothing is found */
export function damageOf(folder) {
  const record = readDriverRecord(folder)
  if (!record) return 'driver.json is missing or damaged'
  const names = record.files ? Object.keys(record.files) : record.preload.map((name) => `lib/${name}`)
  for (const name of names) {
    const expected = record.files?.[name]
    const info = statSync(join(folder, name), { throwIfNoEntry: false })
    if (!info?.isFile()) return `${name} is missing`
    if (expected && info.size !== expected.bytes) return `${name} has ${info.size} bytes instead of ${expected.bytes}`
    const content = readFileSync(join(folder, name))
    if (expected && recordOf(content).sha256 !== expected.sha256) return `the checksum of ${name} differs`
    if (!expected && !isWholeElf(content)) return `${name} is not a whole library`
  }
  return ''
}

/** Whether a library of 64 bits ends behind its table of sections, which linkers put at the end. @param {Buffer} file */
function isWholeElf(file) {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46) return false
  return Number(file.readBigUInt64LE(40)) + file.readUInt16LE(58) * file.readUInt16LE(60) <= file.length
}

/** The adapters in a cached answer of Dawn. @param {unknown} cached @param {string} key
 * @returns {import('./drivers.mjs').AdapterReport[]} empty if the answer is for another key or damaged */
export function adaptersIn(cached, key) {
  if (!isObject(cached) || cached.key !== key || !Array.isArray(cached.adapters)) return []
  const whole = cached.adapters.every(
    (adapter) =>
      isObject(adapter) &&
      typeof adapter.name === 'string' &&
      typeof adapter.description === 'string' &&
      typeof adapter.software === 'boolean',
  )
  return whole ? cached.adapters : []
}

/** A failure to fetch that is remembered. @param {unknown} cached @param {number} longestMs
 * @returns {string} its reason; '' if it is too old or damaged */
export function failureIn(cached, longestMs) {
  if (!isObject(cached) || typeof cached.reason !== 'string' || typeof cached.time !== 'number') return ''
  const age = Date.now() - cached.time
  return age >= 0 && age < longestMs ? cached.reason : ''
}
