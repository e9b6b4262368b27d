/**
 * Locks: files that name the process that holds them. A process that is killed leaves its lock file behind, and the next
 * one sees that the holder is dead and takes the lock over.
 */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { errorCode } from './files.js'
import { liveness, thisProcess } from '../../engine/node/process_identity.mjs'
import { removeAbandoned, temporaryBeside } from '../../engine/node/temporary.mjs'

const holderSchema = z.object({
  host: z.string(),
  pid: z.int().min(1),
  started: z.string(),
  job: z.object({ id: z.string(), restarts: z.int().min(0) }).optional(),
  /** Of this lock: two locks of one process differ. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  since: z.string(),
})
type Holder = z.infer<typeof holderSchema>

/** A lock is held by another process, which may live. */
export class LockedError extends Error {
  override name = 'LockedError'

  constructor(
    message: string,
    readonly holder: Holder,
  ) {
    super(message)
  }
}

/** A lock file without a holder belongs to a process that is just writing it, or that died while it did. */
const WRITING_MS = 5000
const MS_BETWEEN_TRIES = 200

const held = new Map<string, string>()
process.on('exit', () => {
  for (const [path, id] of held) removeOwn(path, id)
})

/**
 * Takes a lock, and makes missing folders.
 *
 * @param what is locked, for the message
 * @returns gives the lock back
 * @throws LockedError in one line that names the holder
 */
export async function takeLock(path: string, what: string): Promise<() => void> {
  const absolute = resolve(path)
  mkdirSync(dirname(absolute), { recursive: true })
  for (;;) {
    const id = randomBytes(16).toString('hex')
    if (create(absolute, id)) return hold(absolute, id)
    const present = read(absolute)
    if (present === undefined || present === 'unfinished') {
      await sleep(present ? MS_BETWEEN_TRIES : 1)
      continue
    }
    if (present !== 'broken' && liveness(present) !== 'dead') throw refusal(what, absolute, present)
    if (await replace(absolute, present, id)) return hold(absolute, id)
  }
}

/** How a process waits for a lock. */
export interface Waiting {
  /** Called once, with one line, when it has to wait. */
  onWait?: (line: string) => void
  /** Ends the waiting. */
  signal?: AbortSignal
}

/**
 * Takes a lock, and waits as long as another process holds it.
 *
 * @throws LockedError if the holder is on another machine, where nobody can say whether it lives; AbortError of the
 *   signal
 */
export async function waitForLock(path: string, what: string, { onWait, signal }: Waiting = {}): Promise<() => void> {
  for (let first = true; ; first = false) {
    try {
      return await takeLock(path, what)
    } catch (error) {
      if (!(error instanceof LockedError) || liveness(error.holder) === 'unknown') throw error
      if (first) onWait?.(`waiting for process ${error.holder.pid}, which is using ${what}`)
      await sleep(MS_BETWEEN_TRIES, undefined, { signal })
    }
  }
}

/**
 * Finds something, or makes it under a lock. Processes that begin at the same time wait for the one that makes it. The
 * remains of processes that died beside it are removed.
 *
 * @param path of the lock; it lies beside what is made
 * @param what names what is made in messages
 * @param options.find looks for it; undefined if it is not there, or not whole
 * @param options.make makes it; called only if `find` finds nothing while this process holds the lock
 * @returns what `find` or `make` gives
 * @throws what `find`, `make` and `waitForLock` throw
 */
export async function madeOnce<T>(
  path: string,
  what: string,
  { find, make, ...waiting }: { find(): Promise<T | undefined>; make(): Promise<T> } & Waiting,
): Promise<T> {
  await removeAbandoned(dirname(resolve(path)))
  const found = await find()
  if (found !== undefined) {
    await removeDead(path, what)
    return found
  }
  const release = await waitForLock(path, what, waiting)
  try {
    // Another process may have made it meanwhile.
    return (await find()) ?? (await make())
  } finally {
    release()
  }
}

/** Removes the lock of a process that died after its work was done. No later process would take that lock. */
async function removeDead(path: string, what: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return removeTakeovers(resolve(path))
  await takeLock(path, what).then(
    (release) => release(),
    () => undefined,
  )
}

function refusal(what: string, path: string, holder: Holder): LockedError {
  const { host, pid, since } = holder
  const isHere = host === thisProcess.host
  const remedy = isHere ? 'wait for it, or stop it' : `if that process has ended, remove ${path}`
  const line = `${what} is in use by process ${pid}${isHere ? '' : ` on ${host}`} since ${since}: ${remedy}`
  return new LockedError(line, holder)
}

function hold(path: string, id: string): () => void {
  held.set(path, id)
  removeTakeovers(path)
  return () => {
    held.delete(path)
    removeOwn(path, id)
  }
}

const textOf = (id: string): string =>
  `${JSON.stringify({ ...thisProcess, id, since: new Date().toISOString() } satisfies Holder)}\n`

/** @returns false if the file exists */
function create(path: string, id: string): boolean {
  let file: number
  try {
    // O_EXCL: a link is not followed.
    file = openSync(path, 'wx')
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  }
  try {
    writeSync(file, textOf(id))
  } catch (error) {
    rmSync(path, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
  return true
}

/** @returns undefined if there is no lock file; 'broken' if it names no holder and nobody is writing it */
function read(path: string): Holder | 'unfinished' | 'broken' | undefined {
  try {
    const stats = lstatSync(path)
    if (!stats.isFile()) throw new Error(`${path}: is in the place of a lock file, and is no file: remove it`)
    const text = readFileSync(path, 'utf8')
    const age = Date.now() - stats.mtimeMs
    try {
      return holderSchema.parse(JSON.parse(text))
    } catch {
      return age < WRITING_MS ? 'unfinished' : 'broken'
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Replaces the lock of a dead process. Only one process at a time may do this, and it makes sure that the lock is still
 * the one it has seen: otherwise a slow process could replace the lock of one that was faster.
 *
 * @returns false if another process was faster
 */
async function replace(path: string, dead: Holder | 'broken', id: string): Promise<boolean> {
  const nameOf = (present: typeof dead): string => (present === 'broken' ? present : present.id)
  let release: () => void
  try {
    release = await takeLock(`${path}.${nameOf(dead)}`, path)
  } catch (error) {
    if (!(error instanceof LockedError)) throw error
    await sleep(MS_BETWEEN_TRIES)
    return false
  }
  try {
    const present = read(path)
    if (present === undefined || present === 'unfinished' || nameOf(present) !== nameOf(dead)) return false
    const temporary = temporaryBeside(path)
    if (!create(temporary, id)) return false
    renameSync(temporary, path)
    return true
  } finally {
    release()
  }
}

/**
 * Removes the locks of processes that died while they took this lock over. A process that is about to take it over still
 * sees that its holder has changed.
 */
function removeTakeovers(path: string): void {
  const [folder, first] = [dirname(path), `${basename(path)}.`]
  const isTakeover = (name: string): boolean =>
    name.startsWith(first) && /^(broken|[0-9a-f]{32})$/.test(name.slice(first.length))
  try {
    for (const name of readdirSync(folder).filter(isTakeover)) {
      const present = read(join(folder, name))
      const isDead = present === 'broken' || (typeof present === 'object' && liveness(present) === 'dead')
      if (isDead) rmSync(join(folder, name), { force: true })
    }
  } catch {
    // There is no such folder, or nothing in it can be removed, which is no reason to fail.
  }
}

function removeOwn(path: string, id: string): void {
  try {
    if ((JSON.parse(readFileSync(path, 'utf8')) as { id?: unknown }).id === id) rmSync(path, { force: true })
  } catch {
    // It is gone already.
  }
}
