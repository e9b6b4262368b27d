/** Measured variants, kept in the cache folder: by adapter and driver, then by op and shapes. Measured once. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Engine } from '../engine.js'
import { measureVariants } from '../tuning.js'
import { cacheFolder } from './drivers.mjs'

interface CacheFile {
  /** Grows when kernels change so much that old measurements mislead. */
  version: number
  adapters: Record<string, Record<string, string>>
}

const VERSION = 1

/** Names the adapter and its driver, as far as they are told apart. */
const keyOf = ({ info }: Engine): string =>
  [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(' · ')

/**
 * Lets the engine choose kernels by measurement: what was measured before is read from the cache folder, and what a
 * graph needs beyond is measured before it is recorded, and kept.
 *
 * @param onProgress told of each product that has been measured
 * @param file the cache file; by default `variants.json` in the cache folder
 */
export function tuneByMeasurement(
  engine: Engine,
  onProgress?: (done: number, total: number) => void,
  file = join(cacheFolder(), 'variants.json'),
): void {
  const key = keyOf(engine)
  engine.variants = new Map([...Object.entries(read(file).adapters[key] ?? {}), ...engine.variants])
  engine.tuner = async (choices) => {
    const measured = await measureVariants(engine, choices, onProgress)
    // Read anew: another process may have added to it meanwhile.
    const cache = read(file)
    cache.adapters[key] = { ...cache.adapters[key], ...Object.fromEntries(measured) }
    write(file, cache)
    return measured
  }
}

/** The cache; an empty one where there is none, or none that can be understood: it can always be measured again. */
function read(file: string): CacheFile {
  try {
    const cache = JSON.parse(readFileSync(file, 'utf8')) as CacheFile
    if (cache.version === VERSION && typeof cache.adapters === 'object') return cache
  } catch {
    // None yet, or a broken one.
  }
  return { version: VERSION, adapters: {} }
}

function write(file: string, cache: CacheFile): void {
  mkdirSync(dirname(file), { recursive: true })
  const half = `${file}.${process.pid}`
  writeFileSync(half, JSON.stringify(cache, undefined, 1))
  renameSync(half, file)
}
