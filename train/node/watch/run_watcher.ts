/** All runs in the folders that a user names: finds new ones and polls their files while anybody looks. */
import { existsSync } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { RunReader } from './run_reader.js'

export interface WatcherOptions {
  /** Milliseconds between two polls; 1,000 by default. Stat calls work on network file systems, notifications do not. */
  interval?: number
}

/** A folder that holds runs may have them in its subfolders or one level below. */
const DEPTH = 2
/** New runs are looked for, and ended ones polled, at every so many polls. */
const SELDOM = 5
const AT_ONCE = 16

export class RunWatcher {
  readonly runs = new Map<string, RunReader>()
  readonly #interval: number
  readonly #listeners = new Set<() => void>()
  #timer?: NodeJS.Timeout
  #refreshing?: Promise<void>
  #refreshedAt = -Infinity
  #polls = 0
  #slots = 0

  constructor(
    readonly folders: readonly string[],
    { interval = 1000 }: WatcherOptions = {},
  ) {
    this.#interval = interval
  }

  /** Polls unless that was done a moment ago. Several calls at once share one poll. */
  async refresh(): Promise<void> {
    if (!this.#refreshing && performance.now() - this.#refreshedAt < this.#interval / 2) return
    this.#refreshing ??= this.#poll().finally(() => {
      this.#refreshing = undefined
      this.#refreshedAt = performance.now()
    })
    await this.#refreshing
  }

  /** Calls `listener` after each poll that found a change, until the function that it returns is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    this.#timer ??= setInterval(() => void this.refresh(), this.#interval)
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  async #poll(): Promise<void> {
    const seldom = this.#polls++ % SELDOM === 0
    let changed = seldom && (await this.#findRuns())
    const due = [...this.runs.values()].filter(({ summary }) => seldom || summary.state !== 'ended')
    for (let at = 0; at < due.length; at += AT_ONCE) {
      const polled = await Promise.all(due.slice(at, at + AT_ONCE).map(pollOrWait))
      changed ||= polled.includes(true)
    }
    if (changed) for (const listener of [...this.#listeners]) listener()
  }

  /** Returns whether runs came or went. */
  async #findRuns(): Promise<boolean> {
    const found = new Map<string, string>()
    const folders = new Set<string>()
    for (const folder of this.folders)
      for (const run of await runsIn(resolve(folder), DEPTH)) {
        // A run that is reached by two arguments is one run.
        const real = await realpath(run).catch(() => run)
        if (!folders.has(real)) found.set(idOf(run), real)
        folders.add(real)
      }
    let changed = false
    for (const [id, folder] of found)
      if (!this.runs.has(id)) {
        this.runs.set(id, new RunReader(id, folder, this.#slots++))
        changed = true
      }
    for (const id of [...this.runs.keys()]) if (!found.has(id)) changed = this.runs.delete(id)
    return changed
  }
}

/** A file system that fails for a moment is asked again at the next poll. */
const pollOrWait = (run: RunReader): Promise<boolean> => run.poll().catch(() => false)

/** The path as a user would type it: relative where the run lies below the present folder. */
function idOf(folder: string): string {
  const path = relative(process.cwd(), folder)
  return (path === '' || path.startsWith('..') ? folder : path).replaceAll(sep, '/')
}

async function runsIn(folder: string, depth: number): Promise<string[]> {
  if (existsSync(join(folder, 'config.yaml'))) return [folder]
  if (depth === 0) return []
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const subfolders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
  const inner = await Promise.all(
    subfolders
      .map(({ name }) => join(folder, name))
      .sort()
      .map((path) => runsIn(path, depth - 1)),
  )
  return inner.flat()
}
