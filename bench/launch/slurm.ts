/**
 * Makes runs as a Slurm job array, one task for each run. The jobs do not need the command that submitted them: the same
 * command finds them again, follows them and collects what they have made.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeAtomically } from '../../train/node/files.js'
import type { SlurmOptions } from '../../train/node/slurm/options.js'
import { arrayScript } from '../../train/node/slurm/script.js'
import { queuedTasks, submitScript, type QueuedTask } from '../../train/node/slurm/slurm.js'
import { CachedRuns } from '../runs/cached_runs.js'
import { Interrupted } from '../runs/runs.js'
import { totalsLine, totalsOf, whyFailed, type FollowedTask } from './follow.js'
import { isMade, keyOfRun, type Launched, type Launcher, type LaunchOptions } from './launcher.js'
import { newestJob, newLaunch, writeJob } from './records.js'
import { logFile, readTasks, taskCommand } from './tasks.js'

export interface SlurmLauncherOptions {
  slurm: SlurmOptions
  /** At most so many runs at once. */
  most?: number
  /** Seconds before the end of a job's time at which it is warned. */
  warningSeconds?: number
  /** Milliseconds between two looks at the queue. */
  everyMs?: number
}

/** Looks at a queue cost the cluster's controller time. */
const MS_BETWEEN_LOOKS = 10_000
/** A file that another machine has written may appear late in a shared folder. */
const MS_UNTIL_FILES_APPEAR = 5000

export function slurmLauncher(own: SlurmLauncherOptions): Launcher {
  return async (runs, options) => {
    const before = await newestJob(options.folder)
    let left: readonly Launched[] = runs
    if (before && (await queuedTasks(before.id)).size) {
      options.say(`following job ${before.id}, which is in the queue already`)
      await follow(before.launch, before.id, runs, own, options)
      left = await unmade(runs, options)
    }
    if (left.length === 0) return new Map()
    const launch = await newLaunch(absolute(options), left)
    const script = join(launch, 'script.sh')
    await mkdir(dirname(logFile(launch, 0)), { recursive: true })
    await writeAtomically(script, scriptOf(launch, left.length, own, options))
    const id = await submitScript(script)
    await writeJob(launch, id)
    options.say(
      `job ${id}: ${left.length} tasks; their output is in ${dirname(logFile(launch, 0))}. They go on without this command: ` +
        `the same command follows them again, scancel ${id} ends them`,
    )
    await follow(launch, id, left, own, options)
    return failuresOf(launch, left, options)
  }
}

/** The script of a launch, for a reader. */
export const scriptOf = (
  launch: string,
  count: number,
  own: SlurmLauncherOptions,
  options: Pick<LaunchOptions, 'name' | 'adapter'>,
): string =>
  arrayScript({
    name: options.name,
    count,
    most: own.most,
    log: logFile(resolve(launch), '%a'),
    command: taskCommand(resolve(launch), options.adapter),
    options: own.slurm,
    warningSeconds: own.warningSeconds,
  })

/** A job may begin in another folder. */
const absolute = ({ root, folder }: LaunchOptions): { root: string; folder: string } => ({
  root: resolve(root),
  folder: resolve(folder),
})

/** Shows how the tasks of a job stand, until none of them waits or runs. @throws Interrupted if the signal ends it */
async function follow(
  launch: string,
  id: string,
  runs: readonly Launched[],
  { everyMs = MS_BETWEEN_LOOKS }: SlurmLauncherOptions,
  { signal, say }: LaunchOptions,
): Promise<void> {
  const works = new Map(runs.map((run) => [keyOfRun(run), run.work]))
  const { tasks: lists } = await readTasks(launch)
  const tasks = lists.map((requests, task): FollowedTask => ({
    task,
    work: works.get(keyOfRun({ requests })) ?? 1,
    state: 'waiting',
  }))
  const line = totalsLine()
  try {
    for (;;) {
      const queued = await queuedTasks(id)
      for (const task of tasks) task.state = stateOf(queued.get(task.task))
      line.show(await totalsOf(launch, tasks), reasonOf(queued))
      if (queued.size === 0) return
      await sleep(everyMs, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) break
    }
  } finally {
    line.end()
  }
  say(`job ${id} goes on: the same command follows it again, scancel ${id} ends it`)
  throw new Interrupted('stopped')
}

const stateOf = (task: QueuedTask | undefined): FollowedTask['state'] =>
  !task ? 'ended' : task.state === 'PENDING' || task.state === 'REQUEUED' ? 'waiting' : 'running'

/** Why tasks wait, if none runs. */
function reasonOf(queued: ReadonlyMap<number, QueuedTask>): string {
  const all = [...queued.values()]
  if (all.some(({ state }) => state !== 'PENDING')) return ''
  return [...new Set(all.map(({ reason }) => reason).filter((reason) => reason !== 'None'))].join(', ')
}

/** The runs that have no result yet. */
async function unmade(runs: readonly Launched[], { root }: LaunchOptions): Promise<Launched[]> {
  const cached = new CachedRuns(root)
  const made = await Promise.all(runs.map((run) => isMade(cached, run)))
  return runs.filter((_, i) => !made[i])
}

/** Why runs have no result, by the key of their configuration. */
async function failuresOf(
  launch: string,
  runs: readonly Launched[],
  options: LaunchOptions,
): Promise<Map<string, string>> {
  let failed = await unmade(runs, options)
  for (let waited = 0; failed.length && waited < MS_UNTIL_FILES_APPEAR; waited += 500) {
    await sleep(500)
    failed = await unmade(failed, options)
  }
  const why = failed.map(async (run) => [keyOfRun(run), await whyFailed(launch, runs.indexOf(run))] as const)
  return new Map(await Promise.all(why))
}
