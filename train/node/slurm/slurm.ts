/** Slurm's own commands: sbatch and squeue. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { errorCode } from '../files.js'

const execute = promisify(execFile)

/** The state of a task that Slurm still knows as waiting or running. */
export interface QueuedTask {
  /** As squeue names it: PENDING, RUNNING, COMPLETING, … */
  state: string
  /** Why it waits. */
  reason: string
}

/** Runs a command of Slurm. @throws Error in one line */
async function slurm(command: string, args: readonly string[]): Promise<string> {
  try {
    return (await execute(command, args, { maxBuffer: 2 ** 26 })).stdout
  } catch (error) {
    if (errorCode(error) === 'ENOENT')
      throw new Error(
        `${command}: Slurm is not on this machine: use a log-in node of the cluster, or --dry-run, which only prints the script`,
        { cause: error },
      )
    const said = String((error as { stderr?: unknown }).stderr ?? '')
      .trim()
      .split('\n')[0]
    throw new Error(said || `${command} failed (${(error as Error).message.split('\n')[0]})`, { cause: error })
  }
}

/** Submits a script and returns the number of the job. @throws Error in one line, with what sbatch says */
export async function submitScript(path: string): Promise<string> {
  // In a federation the name of the cluster follows the number.
  const [id] = (await slurm('sbatch', ['--parsable', path])).trim().split(';')
  if (!/^\d+$/.test(id)) throw new Error(`sbatch: '${id}' is not the number of a job`)
  return id
}

/** States in which a job has ended, though squeue may list it for a while. */
const ENDED = ['BOOT_FAIL', 'CANCELLED', 'COMPLETED', 'DEADLINE', 'FAILED', 'NODE_FAIL', 'OUT_OF_MEMORY', 'TIMEOUT']

/** The tasks of a job array that wait or run, by their number. A job without an array has task 0. */
export async function queuedTasks(id: string): Promise<Map<number, QueuedTask>> {
  let text: string
  try {
    text = await slurm('squeue', ['--noheader', '--array', '--jobs', id, '--format', '%K|%T|%r'])
  } catch (error) {
    // A job that ended some minutes ago is forgotten.
    if (/Invalid job id/i.test((error as Error).message)) return new Map()
    throw error
  }
  const tasks = new Map<number, QueuedTask>()
  for (const line of text.split('\n').filter(Boolean)) {
    const [index, state, reason] = line.split('|')
    if (!ENDED.includes(state)) tasks.set(/^\d+$/.test(index) ? Number(index) : 0, { state, reason })
  }
  return tasks
}
