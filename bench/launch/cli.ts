/** `webgpu-ssl task FOLDER NUMBER`: makes one run of a sweep or an experiment, as a process that a launcher starts. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { openWithNote, parseOptions, runCommand, withAdapter, wholeNumber } from '../../train/cli/common.js'
import { abortOnSignal } from '../../train/cli/interrupt.js'
import { runFolder } from '../../train/node/run_folder.js'
import { validCheckpoints } from '../../train/run/checkpoint_record.js'
import { Interrupted, namedSplits, Runs } from '../runs/runs.js'
import { readTasks, writeStatus, type TaskStatus } from './tasks.js'

const MS_BETWEEN_STATUS = 2000
const MS_BETWEEN_LINES = 60_000

const command = withAdapter(
  new Command('task')
    .description('Make one run of a sweep or of an experiment. --launcher starts these processes.')
    .argument('<folder>', 'folder of a launch')
    .argument('<number>', 'number of the task', wholeNumber('number', 0)),
)

/** What a run has kept so far. A job that adds nothing to it would never end. */
async function keptIn(folder: string): Promise<string> {
  const checkpoints = await validCheckpoints(runFolder(folder))
  const readings = await readdir(join(folder, 'readings'), { recursive: true }).catch(() => [])
  return JSON.stringify([checkpoints.at(-1), readings.length])
}

await runCommand(async () => {
  const { adapter } = parseOptions<{ adapter?: string }>(command)
  const [folder, task] = command.processedArgs as [string, number]
  const { root, tasks } = await readTasks(folder)
  const requests = tasks[task]
  if (!requests) throw new Error(`${folder}: has tasks 0 to ${tasks.length - 1}, not ${task}`)
  let status: TaskStatus = { state: 'running', what: 'starting', done: 0, total: 0 }
  const keep = (change: Partial<TaskStatus>): Promise<void> =>
    writeStatus(folder, task, (status = { ...status, ...change }))
  await keep({})
  const signal = abortOnSignal()
  let keptAt = 0
  let saidAt = 0
  try {
    const engine = await openWithNote(adapter)
    const runs = new Runs({
      ...{ engine, root, signal, splits: namedSplits() },
      onProgress(what, done, total) {
        status = { ...status, what, done, total }
        const now = performance.now()
        // A status that cannot be written is written with the next one.
        if (now - keptAt > MS_BETWEEN_STATUS) void keep({}).catch(() => undefined)
        if (now - saidAt > MS_BETWEEN_LINES) console.error(`${what} ${done}/${total}`)
        if (now - keptAt > MS_BETWEEN_STATUS) keptAt = now
        if (now - saidAt > MS_BETWEEN_LINES) saidAt = now
      },
      onMessage: (line) => console.error(line),
    })
    const run = runs.folderOf(requests[0].config)
    const before = await keptIn(run)
    try {
      for (const request of requests) {
        const result = await runs.run(request)
        if ('error' in result) throw new Error(result.error)
      }
      await keep({ state: 'done' })
      console.error(`done: ${run}`)
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error
      if ((await keptIn(run)) === before)
        throw new Error('the job ended before the run took a step: give it more time', { cause: error })
      await keep({ state: 'stopped' })
      console.error(`saved: ${run}`)
      process.exitCode ??= 130
    }
  } catch (error) {
    await keep({ state: 'failed', error: (error as Error).message.split('\n')[0] })
    throw error
  }
})
