/** Attacks on the cache folder, whose drivers are loaded as programs. */
import {
  chmodSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { driverFolder, openCache, writeWhole } from '../../../engine/node/cache_folder.mjs'
import { activateDriver, healDriver } from '../../../engine/node/drivers.mjs'
import { buildFolder } from '../../../engine/node/fetch.mjs'
import { thisProcess } from '../../../engine/node/process_identity.mjs'
import { removeAbandonedNow, temporaryBeside } from '../../../engine/node/temporary.mjs'
import { withPredictedNames } from '../../support/predicted_names.js'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const hasUsers = process.getuid !== undefined

let folder: string
let cache: string
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'cache-')))
  cache = join(folder, 'cache')
  vi.stubEnv('WEBGPU_SSL_CACHE', cache)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

const modeOf = (path: string): number => statSync(path).mode & 0o777

describe.runIf(hasUsers)('the cache folder', () => {
  test('is private, also if it existed', () => {
    openCache()
    expect(modeOf(cache)).toBe(0o700)
    vi.stubEnv('WEBGPU_SSL_CACHE', undefined)
    vi.stubEnv('XDG_CACHE_HOME', folder)
    const own = join(folder, 'webgpu-ssl')
    mkdirSync(own, { mode: 0o755 })
    expect(openCache()).toBe(own)
    expect(modeOf(own)).toBe(0o700)
  })

  test('that the user has chosen keeps its permissions, unless every user may write there', () => {
    mkdirSync(cache)
    chmodSync(cache, 0o775)
    openCache()
    expect(modeOf(cache)).toBe(0o775)
    for (const mode of [0o777, 0o1777]) {
      chmodSync(cache, mode)
      expect(openCache).toThrow(`${cache}: every user could change the programs in it: name a folder inside it`)
    }
  })

  test('may be a link of this user, whose target keeps its permissions', () => {
    const target = join(folder, 'target')
    mkdirSync(target)
    chmodSync(target, 0o755)
    symlinkSync(target, join(folder, 'webgpu-ssl'))
    vi.stubEnv('WEBGPU_SSL_CACHE', undefined)
    vi.stubEnv('XDG_CACHE_HOME', folder)
    openCache()
    expect(modeOf(target)).toBe(0o755)
  })

  test.runIf(isRoot).each([
    ['a folder of another user', () => (mkdirSync(cache), lchownSync(cache, NOBODY, NOBODY))],
    [
      "another user's link to a folder of this user",
      () => {
        mkdirSync(join(folder, 'target'))
        symlinkSync(join(folder, 'target'), cache)
        lchownSync(cache, NOBODY, NOBODY)
      },
    ],
  ])('is refused if it is %s', (_, plant) => {
    plant()
    expect(openCache).toThrow(`${cache} belongs to another user`)
    if (lstatSync(cache).isSymbolicLink()) expect(readdirSync(join(folder, 'target'))).toEqual([])
  })
})

describe.runIf(hasUsers)('a driver in the cache', () => {
  /** A planted driver: its library would be loaded into this process. */
  const plant = (at: string): void => {
    mkdirSync(join(at, 'lib'), { recursive: true })
    writeFileSync(join(at, 'driver.json'), '{ "preload": ["libevil.so"] }')
    writeFileSync(join(at, 'icd.json'), '{}')
  }
  const loadedLibraries = (): string[] => {
    const loaded: string[] = []
    vi.spyOn(process, 'dlopen').mockImplementation((_, path) => void loaded.push(path))
    return loaded
  }

  test.each([
    [
      'a link',
      () => {
        plant(join(folder, 'elsewhere'))
        mkdirSync(cache)
        symlinkSync(join(folder, 'elsewhere'), join(cache, 'swiftshader'))
      },
      'swiftshader is a link, which is not followed: remove it',
    ],
    [
      'in a folder into which every user may write',
      () => (plant(join(cache, 'swiftshader')), chmodSync(cache, 0o777)),
      'every user could change the programs in it',
    ],
    [
      'itself a folder into which every user may write',
      () => (plant(join(cache, 'swiftshader')), chmodSync(join(cache, 'swiftshader'), 0o777)),
      'every user could change the programs in it',
    ],
    ...(isRoot
      ? [
          [
            'of another user',
            () => (plant(join(cache, 'swiftshader')), lchownSync(join(cache, 'swiftshader'), NOBODY, NOBODY)),
            'belongs to another user',
          ] as [string, () => void, string],
        ]
      : []),
  ] as [string, () => void, string][])('that is %s is neither loaded nor repaired', async (_, attack, message) => {
    attack()
    const loaded = loadedLibraries()
    try {
      expect(() => driverFolder('swiftshader')).toThrow(message)
      expect(() => activateDriver('swiftshader')).toThrow(/link|user|already/)
      await expect(healDriver('swiftshader', async () => undefined)).rejects.toThrow(message)
      expect(loaded).toEqual([])
    } finally {
      vi.restoreAllMocks()
    }
  })
})

describe('temporary names', () => {
  test('cannot be guessed: 64 random bits', () => {
    const names = new Set(Array.from({ length: 1000 }, () => temporaryBeside(cache)))
    expect(names.size).toBe(1000)
    for (const name of names) expect(name).toMatch(/-[0-9a-f]{16}\.tmp$/)
  })

  test('that an attacker does guess lead to a refusal, and the link there is not followed', async () => {
    mkdirSync(cache)
    const victim = join(folder, 'victim')
    writeFileSync(victim, 'untouched')
    mkdirSync(join(folder, 'victims'))
    await withPredictedNames(async () => {
      symlinkSync(victim, temporaryBeside(join(cache, 'file.json')))
      expect(() => writeWhole(join(cache, 'file.json'), 'evil')).toThrow('EEXIST')
      symlinkSync(join(folder, 'victims'), temporaryBeside(join(cache, 'driver')))
      const build = buildFolder(join(cache, 'driver'), async (at) => writeFileSync(join(at, 'evil'), ''))
      await expect(build).rejects.toThrow('EEXIST')
    })
    expect(readFileSync(victim, 'utf8')).toBe('untouched')
    expect(readdirSync(join(folder, 'victims'))).toEqual([])
    expect(readdirSync(cache)).toEqual([])
  })

  test('a link in place of a file is replaced, and its target stays', () => {
    mkdirSync(cache)
    const victim = join(folder, 'victim')
    writeFileSync(victim, 'untouched')
    symlinkSync(victim, join(cache, 'variants.json'))
    writeWhole(join(cache, 'variants.json'), '{}')
    expect(readFileSync(victim, 'utf8')).toBe('untouched')
    expect(lstatSync(join(cache, 'variants.json')).isFile()).toBe(true)
  })

  test('of a dead process are removed when the cache is opened or a driver is fetched, those of a living one stay', async () => {
    mkdirSync(cache)
    const mine = temporaryBeside(join(cache, 'mine'))
    const { pid, started } = thisProcess
    const deadOne = (name: string) =>
      temporaryBeside(join(cache, name)).replace(`-${pid}-${started}-`, `-${2 ** 22 + 1}-1-`)
    for (const path of [deadOne('lavapipe'), mine]) mkdirSync(join(path, 'lib'), { recursive: true })
    const victims = join(folder, 'victims')
    mkdirSync(join(victims, 'kept'), { recursive: true })
    symlinkSync(victims, deadOne('link'))
    openCache()
    expect(readdirSync(cache)).toEqual([mine.slice(cache.length + 1)])
    mkdirSync(deadOne('swiftshader'))
    await buildFolder(join(cache, 'driver'), async () => undefined)
    expect(readdirSync(cache).sort()).toEqual([mine.slice(cache.length + 1), 'driver'].sort())
    expect(readdirSync(victims)).toEqual(['kept'])
  })

  test('of earlier versions name no owner: they are removed after a week', async () => {
    mkdirSync(join(cache, '.tmp-lavapipe-0123456789ab'), { recursive: true })
    removeAbandonedNow(cache)
    expect(readdirSync(cache)).toHaveLength(1)
    vi.useFakeTimers({ now: Date.now() + 8 * 86_400_000, toFake: ['Date'] })
    removeAbandonedNow(cache)
    vi.useRealTimers()
    expect(readdirSync(cache)).toEqual([])
  })
})
