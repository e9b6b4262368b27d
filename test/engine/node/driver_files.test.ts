/** Damaged drivers and caches: noticed when a driver fails, named in one line, and fetched again. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { adaptersIn, damageOf, failureIn, readDriverRecord } from '../../../engine/node/driver_files.mjs'
import { healDriver } from '../../../engine/node/drivers.mjs'
import { buildFolder, writeManifests } from '../../../engine/node/fetch.mjs'

let cache: string
let driver: string
let fetched: number

/** The files of a driver as a fetch leaves them. */
const fetchDriver = (target: string): Promise<void> =>
  buildFolder(target, async (folder) => {
    fetched++
    mkdirSync(join(folder, 'lib'))
    writeFileSync(join(folder, 'lib/libone.so.1'), 'one'.repeat(100))
    writeFileSync(join(folder, 'lib/libdriver.so'), 'driver'.repeat(100))
    await writeManifests(folder, 'libdriver.so', ['libone.so.1', 'libdriver.so'])
  })

beforeEach(async () => {
  cache = mkdtempSync(join(tmpdir(), 'driver-files-'))
  vi.stubEnv('WEBGPU_SSL_CACHE', cache)
  driver = join(cache, 'lavapipe')
  fetched = 0
  await fetchDriver(driver)
})
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  rmSync(cache, { recursive: true })
})

const flip = (file: string): void => {
  const bytes = readFileSync(file)
  bytes[7] ^= 1
  writeFileSync(file, bytes)
}

const damages: [string, () => void, string][] = [
  [
    'a truncated library',
    () => truncateSync(join(driver, 'lib/libdriver.so'), 10),
    'lib/libdriver.so has 10 bytes instead of 600',
  ],
  [
    'an empty library',
    () => truncateSync(join(driver, 'lib/libone.so.1'), 0),
    'lib/libone.so.1 has 0 bytes instead of 300',
  ],
  ['a missing library', () => rmSync(join(driver, 'lib/libone.so.1')), 'lib/libone.so.1 is missing'],
  ['a flipped bit', () => flip(join(driver, 'lib/libone.so.1')), 'the checksum of lib/libone.so.1 differs'],
  ['a damaged manifest', () => writeFileSync(join(driver, 'icd.json'), ''), 'icd.json has 0 bytes instead of'],
  ['an empty record', () => writeFileSync(join(driver, 'driver.json'), ''), 'driver.json is missing or damaged'],
  ['a missing record', () => rmSync(join(driver, 'driver.json')), 'driver.json is missing or damaged'],
  [
    'a record without checksums, and no libraries',
    () => writeFileSync(join(driver, 'driver.json'), '{"preload": ["libone.so.1"]}'),
    'lib/libone.so.1 is not a whole library',
  ],
]

describe('a fetched driver', () => {
  test('is not fetched again while it is whole', async () => {
    expect(damageOf(driver)).toBe('')
    expect(await healDriver('lavapipe', fetchDriver)).toBe(false)
    expect(fetched).toBe(1)
  })

  test.each(damages)('with %s is fetched again', async (_, damage, reason) => {
    damage()
    expect(damageOf(driver)).toContain(reason)
    const lines: string[] = []
    vi.spyOn(process.stderr, 'write').mockImplementation((line) => lines.push(String(line)) > 0)
    // The driver can be fetched only on Linux.
    vi.spyOn(process, 'platform', 'get').mockReturnValue('linux')
    expect(await healDriver('lavapipe', fetchDriver)).toBe(true)
    expect(lines).toEqual([expect.stringContaining(`The software driver lavapipe is damaged (${reason}`)])
    expect({ fetched, damage: damageOf(driver) }).toEqual({ fetched: 2, damage: '' })
  })

  test.each([
    'null',
    '[]',
    '{"preload": null}',
    '{"preload": ["../../evil.so"]}',
    '{"preload": [1]}',
    '{"preload": [], "files": {"lib/../../x": {}}}',
  ])('has no record in %s', (text) => {
    writeFileSync(join(driver, 'driver.json'), text)
    expect(readDriverRecord(driver)).toBeUndefined()
  })
})

test('damaged cached answers do not count', () => {
  const adapter = { name: 'a', description: 'b', software: true }
  expect(adaptersIn({ key: 'k', adapters: [adapter] }, 'k')).toEqual([adapter])
  for (const adapters of [null, {}, 'x', [null], [{ ...adapter, description: 5 }], [{ name: 'a' }]])
    expect(adaptersIn({ key: 'k', adapters }, 'k')).toEqual([])
  for (const cached of [undefined, null, [], { key: 'other', adapters: [adapter] }])
    expect(adaptersIn(cached, 'k')).toEqual([])
  const time = Date.now()
  expect(failureIn({ reason: 'r', time }, 1e6)).toBe('r')
  for (const cached of [
    null,
    { reason: 5, time },
    { reason: 'r', time: 'x' },
    { reason: 'r', time: time + 1e9 },
    { reason: 'r', time: 0 },
  ])
    expect(failureIn(cached, 1e6)).toBe('')
})
