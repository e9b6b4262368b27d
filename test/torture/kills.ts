/**
 * Work that is killed at random moments and started again, until it is done: it must end with the bits and lines of work
 * that nobody killed, and leave nothing behind.
 */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Purpose, RandomStream } from '../../engine/index.js'
import { preparePlaces, type Place } from './places.js'

/** Kills of one piece of work; then another one begins, with other moments. */
const KILLS_PER_WORK = 10
const MS_BETWEEN_LOOKS = 5

export interface KilledPlace {
  place: string
  /** Pieces of work, and the SIGKILLs of all of them. */
  works: number
  kills: number
  /** Every piece of work gave the same files as one that was not killed. */
  sameBits: boolean
  /** Locks and temporary files that are left. */
  remains: string[]
  seconds: number
  /** The last line of work that did not end well. */
  failure?: string
}

export interface KillOptions {
  /** Of all places together: half of them in pretraining, the others equally in the other places. */
  kills: number
  seed: number
  /** Only the places of these names. */
  only?: readonly string[]
}

/** @param onPlace called after each place */
export async function attackByKills(
  { kills, seed, only }: KillOptions,
  onPlace: (place: KilledPlace) => void,
): Promise<KilledPlace[]> {
  const folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-kills-'))
  const { places, close } = await preparePlaces(folder)
  try {
    const unknown = only?.find((wanted) => !places.some(({ name }) => name === wanted))
    if (unknown !== undefined)
      throw new Error(`--place ${unknown}: choose one of ${places.map(({ name }) => name).join(', ')}`)
    const chosen = places.filter(({ name }) => !only || only.includes(name))
    const weight = ({ name }: Place): number => (name === 'pretraining' ? places.length - 1 : 1)
    const total = chosen.reduce((sum, place) => sum + weight(place), 0)
    const results: KilledPlace[] = []
    for (const place of chosen) {
      const share = weight(place) / total
      results.push(await killIn(place, join(folder, 'work', place.name), Math.max(1, Math.round(kills * share)), seed))
      onPlace(results.at(-1)!)
    }
    return results
  } finally {
    await close()
    await rm(folder, { recursive: true })
  }
}

/** @param folder where the pieces of work get their folders */
async function killIn(place: Place, folder: string, kills: number, seed: number): Promise<KilledPlace> {
  const begun = performance.now()
  const result: KilledPlace = { place: place.name, works: 0, kills: 0, sameBits: true, remains: [], seconds: 0 }
  const whole = join(folder, 'whole')
  await mkdir(whole, { recursive: true })
  const first = await startIn(place, whole)
  if (first.code !== 0) throw new Error(`${place.name}: ${first.lastLine}`)
  const expected = await place.results(whole)
  const random = new RandomStream(seed, Purpose.subset)
  while (result.kills < kills && result.failure === undefined) {
    const work = join(folder, `killed-${result.works++}`)
    await mkdir(work)
    const wanted = Math.min(kills - result.kills, KILLS_PER_WORK)
    for (let killed = 0; ;) {
      const most = Math.max(1, Math.min(first.workMs, place.mostMs ?? Infinity))
      const ended = await startIn(place, work, killed < wanted ? random.integer(most) : undefined)
      if (ended.signal === 'SIGKILL') {
        killed++
        result.kills++
        continue
      }
      if (ended.code !== 0) result.failure = ended.lastLine
      // Work that ended before its kill begins again elsewhere.
      break
    }
    const same = result.failure === undefined && isDeepStrictEqual(await place.results(work), expected)
    result.sameBits &&= same
    result.remains.push(...remainsIn(work))
    await rm(work, { recursive: true })
  }
  return { ...result, seconds: (performance.now() - begun) / 1000 }
}

interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  lastLine: string
  /** From the beginning of the work to its end. */
  workMs: number
}

/** Begins or continues the work in a folder. @param killAfter milliseconds after the work has begun */
function startIn(place: Place, folder: string, killAfter?: number): Promise<Ended> {
  const listing = (): string => readdirSync(folder, { recursive: true }).sort().join('\n')
  const before = listing()
  const hasBegun = (): boolean => (place.sign ? place.sign.test(stderr) : listing() !== before)
  const { args, env } = place.command(folder)
  const child = spawn(process.execPath, ['--import', 'tsx', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
  })
  let stderr = ''
  child.stderr.on('data', (bytes: Buffer) => (stderr = (stderr + bytes.toString()).slice(-2000)))
  let began = 0
  let timer: NodeJS.Timeout | undefined
  const look = setInterval(() => {
    if (!hasBegun()) return
    clearInterval(look)
    began = performance.now()
    if (killAfter !== undefined) timer = setTimeout(() => child.kill('SIGKILL'), killAfter)
  }, MS_BETWEEN_LOOKS)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearInterval(look)
      clearTimeout(timer)
      const workMs = Math.ceil(began === 0 ? 0 : performance.now() - began)
      resolve({ code, signal, workMs, lastLine: stderr.trim().split('\n').pop() ?? '' })
    })
  })
}

/** Locks and temporary files. */
const remainsIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /(^|\/)\.|\.lock(\.|$)|\.tmp$/.test(name))
