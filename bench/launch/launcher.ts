/**
 * Launchers: where the runs of a sweep or an experiment are made. Each run is a task of its own: a process on this machine,
 * or a task of a Slurm job array.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { PretrainConfig } from '../../train/config/config.js'
import { CachedRuns, keyOf, type RunRequest, type RunResult } from '../runs/cached_runs.js'
import type { KeptReadings } from '../runs/kept.js'

/** A run to make. */
export interface Launched {
  /** What to make of it: the run itself, and its readouts. */
  requests: RunRequest[]
  /** A measure of its work, such as the rows that it trains on. */
  work: number
}

export interface LaunchOptions {
  /** Shown in Slurm's queue. */
  name: string
  /** Folder of the runs. */
  root: string
  /** Folder of what launchers keep. */
  folder: string
  adapter?: string
  /** Readings of runs that were made elsewhere; those that are made now are added. */
  kept?: KeptReadings
  signal: AbortSignal
  /** Told what happens, in one line each. */
  say(line: string): void
}

/** Makes runs. Resolves when all of them have ended, well or not. @returns why a run failed, by the key of its configuration */
export type Launcher = (runs: readonly Launched[], options: LaunchOptions) => Promise<ReadonlyMap<string, string>>

/** What performs runs one after another: in this process, or from the results of a launcher. */
export interface RunMaker {
  isDone(request: RunRequest): Promise<boolean>
  found(request: RunRequest): Promise<RunResult | undefined>
  /** @returns the readings, or the error of a failed run in one line */
  run(request: RunRequest): Promise<RunResult>
}

/** The results of launched runs. A run without a result has failed, and is not made here. */
class LaunchedRuns extends CachedRuns implements RunMaker {
  constructor(
    root: string,
    private readonly failures: ReadonlyMap<string, string>,
    onMessage: (line: string) => void,
    kept?: KeptReadings,
  ) {
    super(root, onMessage, kept)
  }

  async run(request: RunRequest): Promise<RunResult> {
    const found = await this.found(request)
    if (!found)
      return {
        folder: this.folderOf(request.config),
        error: this.failures.get(keyOf(request.config)) ?? 'the run has no result',
      }
    await this.keep(request, found)
    return found
  }
}

/** Keeps the readings of those runs that have ended. */
export async function keepEnded(cached: CachedRuns, requests: readonly RunRequest[]): Promise<void> {
  for (const request of requests) {
    const found = await cached.found(request)
    if (found) await cached.keep(request, found)
  }
}

/** The key of a run's configuration, which names its folder. */
export const keyOfRun = ({ requests }: Pick<Launched, 'requests'>): string => keyOf(requests[0].config)

/** Whether every readout of a run is there. */
export const isMade = async (cached: CachedRuns, { requests }: Launched): Promise<boolean> =>
  (await Promise.all(requests.map((request) => cached.isDone(request)))).every(Boolean)

/**
 * The runs that are not done, each once.
 *
 * @param workOf a measure of the work of a run
 * @param kept readings of runs that were made elsewhere
 */
export async function missingRuns(
  root: string,
  requests: readonly RunRequest[],
  workOf: (config: PretrainConfig) => Promise<number>,
  kept?: KeptReadings,
): Promise<Launched[]> {
  const cached = new CachedRuns(root, undefined, kept)
  const missing = new Map<string, Launched>()
  for (const request of requests) {
    if (await cached.isDone(request)) continue
    const key = keyOf(request.config)
    const run = missing.get(key)
    if (run) run.requests.push(request)
    else missing.set(key, { requests: [request], work: await workOf(request.config) })
  }
  return [...missing.values()]
}

/** Time between two looks for runs that have ended, whose readings are then kept. */
const MS_BETWEEN_READINGS = 60_000

/** Makes runs with a launcher, and keeps their readings as they come. @returns their results */
export async function launchRuns(
  launcher: Launcher,
  missing: readonly Launched[],
  options: LaunchOptions,
): Promise<RunMaker> {
  const { root, say, kept } = options
  const runs = (failures: ReadonlyMap<string, string>): LaunchedRuns => new LaunchedRuns(root, failures, say, kept)
  if (missing.length === 0) return runs(new Map())
  const ended = new AbortController()
  const soFar = runs(new Map())
  const requests = missing.flatMap((one) => one.requests)
  const keeping = (async () => {
    while (!ended.signal.aborted) {
      await sleep(MS_BETWEEN_READINGS, undefined, { signal: ended.signal }).catch(() => undefined)
      await keepEnded(soFar, requests)
    }
  })()
  // An error of keeping is thrown when the launcher has ended.
  keeping.catch(() => undefined)
  try {
    return runs(await launcher(missing, options))
  } finally {
    ended.abort()
    await keeping
  }
}
