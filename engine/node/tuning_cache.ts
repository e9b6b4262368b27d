/** The cache of measured variants, a file in the cache folder: by adapter and driver, then by op and shapes. */
import { mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Engine } from '../engine.js'
import { measureVariants } from '../tuning.js'
import { cacheFolder, openCache, writeWhole } from './cache_folder.mjs'
import { isObject } from './driver_files.mjs'

type Table = Record<string, string>

interface CacheFile {
  /** Increased when kernels change so much that old measurements are misleading. */
  version: number
  adapters: Record<string, Table>
}

const VERSION = 2

/** Identifies the adapter and its driver, as far as WebGPU's adapter info does. */
const keyOf = ({ info }: Engine): string =>
  [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(' · ')

/**
 * Makes the engine choose variants by measurement. Earlier measurements are read from the cache. Missing ones are made
 * before a graph is recorded, and added to the cache.
 *
 * @param onProgress called when each product is measured
 * @param file the cache file; by default `variants.json` in the cache folder
 */
export function tuneByMeasurement(
  engine: Engine,
  onProgress?: (done: number, total: number) => void,
  file = join(cacheFolder(), 'variants.json'),
): void {
  const key = keyOf(engine)
  engine.variants = new Map([...Object.entries(read(file).adapters[key] ?? {}), ...engine.variants])
  engine.tuner = async (tunables) => {
    const measured = await measureVariants(engine, tunables, { onProgress })
    // Read again, because another process may have added to it meanwhile.
    const cache = read(file)
    cache.adapters[key] = { ...cache.adapters[key], ...Object.fromEntries(measured) }
    write(file, cache)
    return measured
  }
}

/** Whether an adapter's table names a variant for each product. Lowering ignores names of variants that do not exist. */
const isWhole = (entry: [string, unknown]): entry is [string, Table] =>
  isObject(entry[1]) && Object.values(entry[1]).every((name) => typeof name === 'string')

/** The cache without its damaged tables, or an empty one if the file is missing or broken: all can be measured again. */
function read(file: string): CacheFile {
  try {
    const cache: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (isObject(cache) && cache.version === VERSION && isObject(cache.adapters))
      return {
        version: VERSION,
        adapters: Object.fromEntries(Object.entries(cache.adapters).filter(isWhole)),
      }
  } catch {
    // Missing or broken.
  }
  return { version: VERSION, adapters: {} }
}

function write(file: string, cache: CacheFile): void {
  if (dirname(file) === cacheFolder()) openCache()
  else mkdirSync(dirname(file), { recursive: true })
  writeWhole(file, JSON.stringify(cache, undefined, 1))
}
