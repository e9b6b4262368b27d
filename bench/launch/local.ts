/** Makes runs as processes of this machine, several at once. */
import { spawn } from 'node:child_process'
import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { shareOfGpus } from '../../engine/node/equal_gpus.js'
import { Interrupted } from '../runs/runs.js'
import { totalsLine, totalsOf, whyFailed, type FollowedTask } from './follow.js'
import { keyOfRun, type Launcher } from './launcher.js'
import { newLaunch } from './records.js'
import { logFile, taskCommand } from './tasks.js'

const MS_BETWEEN_LOOKS = 500

/**
 * @param jobs processes at once; each uses one of the machine's equal GPUs
 * @param machine for tests: its devices, and the variables of the processes
 */
export const localLauncher =
  (jobs: number, machine: Parameters<typeof shareOfGpus>[2] = {}): Launcher =>
  async (runs, options) => {
    const { signal, say } = options
    const folder = await newLaunch(options, runs)
    say(
      `${runs.length} runs in ${Math.min(jobs, runs.length)} processes; what they print is in ${dirname(logFile(folder, 0))}`,
    )
    const tasks = runs.map(({ work }, task): FollowedTask => ({ task, work, state: 'waiting' }))
    const failures = new Map<string, string>()
    const line = totalsLine()
    const work = async (_: unknown, job: number): Promise<void> => {
      const own = await shareOfGpus(job, (text) => void (job === 0 && say(text)), machine)
      const variables = { ...(machine.variables ?? process.env), ...own }
      for (let task = tasks.find(isWaiting); task && !signal.aborted; task = tasks.find(isWaiting)) {
        task.state = 'running'
        const code = await runTask(folder, task.task, { adapter: options.adapter, variables }, signal)
        task.state = 'ended'
        if (code === 0 || signal.aborted) continue
        failures.set(keyOfRun(runs[task.task]), await whyFailed(folder, task.task))
      }
    }
    const ended = new AbortController()
    const shown = (async () => {
      while (!ended.signal.aborted) {
        line.show(await totalsOf(folder, tasks))
        await sleep(MS_BETWEEN_LOOKS, undefined, { signal: ended.signal }).catch(() => undefined)
      }
    })()
    try {
      await Promise.all(Array.from({ length: Math.min(jobs, runs.length) }, work))
    } finally {
      ended.abort()
      await shown
      line.end()
    }
    if (signal.aborted) throw new Interrupted('stopped')
    return failures
  }

const isWaiting = ({ state }: FollowedTask): boolean => state === 'waiting'

/** Runs the process of a task to its end. @returns its exit code */
async function runTask(
  folder: string,
  task: number,
  { adapter, variables }: { adapter?: string; variables: NodeJS.ProcessEnv },
  signal: AbortSignal,
): Promise<number> {
  const log = logFile(folder, task)
  await mkdir(dirname(log), { recursive: true })
  const output = await open(log, 'a')
  try {
    const [command, ...args] = taskCommand(folder, adapter)
    // A group of its own: Ctrl-C reaches this process alone, which then asks the others to save and end.
    const child = spawn(command, [...args, String(task)], {
      stdio: ['ignore', output.fd, output.fd],
      detached: true,
      env: variables,
    })
    const stop = (): void => void child.kill('SIGTERM')
    signal.addEventListener('abort', stop)
    try {
      return await new Promise<number>((resolve, reject) => {
        child.on('error', reject)
        child.on('exit', (code) => resolve(code ?? 1))
      })
    } finally {
      signal.removeEventListener('abort', stop)
    }
  } finally {
    await output.close()
  }
}
