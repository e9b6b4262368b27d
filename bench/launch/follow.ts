/** Follows the tasks of a launch and shows them on one line. */
import { readFile } from 'node:fs/promises'
import { statusLine, lineFitter } from '../../train/cli/status_line.js'
import { duration, formatCount } from '../../train/report/text.js'
import { logFile, readStatus } from './tasks.js'

/** A task, as its launcher sees it. */
export type TaskState = 'waiting' | 'running' | 'ended'

export interface FollowedTask {
  /** Number in the list of tasks. */
  task: number
  state: TaskState
  /** A measure of the work of its run. */
  work: number
}

export interface Totals {
  waiting: number
  running: number
  ended: number
  /** Share of the work that is done, from 0 to 1. */
  share: number
}

/** Readouts come after training; the share of a run's work that training is taken to be. */
const TRAINING_SHARE = 0.9

/** How the tasks of a launch stand. */
export async function totalsOf(folder: string, tasks: readonly FollowedTask[]): Promise<Totals> {
  const shares = await Promise.all(
    tasks.map(async ({ task, state }) => {
      if (state === 'ended') return 1
      const found = await readStatus(folder, task)
      if (!found || found.total === 0) return 0
      const part = found.done / found.total
      return found.what === 'training' ? TRAINING_SHARE * part : TRAINING_SHARE + (1 - TRAINING_SHARE) * part
    }),
  )
  const work = tasks.reduce((sum, one) => sum + one.work, 0)
  const done = tasks.reduce((sum, one, i) => sum + one.work * shares[i], 0)
  const count = (state: TaskState): number => tasks.filter((one) => one.state === state).length
  return { waiting: count('waiting'), running: count('running'), ended: count('ended'), share: work ? done / work : 1 }
}

/** `3 of 8 runs ended, 2 running, 3 waiting`. */
export const describeTotals = ({ waiting, running, ended }: Totals): string =>
  [
    `${formatCount(ended)} of ${formatCount(waiting + running + ended)} runs ended`,
    ...(running ? [`${formatCount(running)} running`] : []),
    ...(waiting ? [`${formatCount(waiting)} waiting`] : []),
  ].join(', ')

const SECONDS_BETWEEN_LINES = 30

/** Shows how tasks stand: a line that is redrawn, or a line now and then where stderr is no terminal. */
export function totalsLine(stream: NodeJS.WriteStream = process.stderr) {
  const line = statusLine(stream)
  const fitted = lineFitter()
  const begun = performance.now()
  let first: number | undefined
  let said = ''
  let saidAt = -Infinity
  const left = ({ share }: Totals): string => {
    first ??= share
    const seconds = (performance.now() - begun) / 1000
    return share > first && share < 1 ? `${duration((seconds / (share - first)) * (1 - share))} left` : ''
  }
  return {
    show(totals: Totals, note = ''): void {
      const text = describeTotals(totals)
      const remaining = left(totals)
      if (stream.isTTY)
        return line.show((columns) =>
          fitted(columns, totals.share, [
            { text, keep: Infinity },
            { text: remaining, keep: 2 },
            { text: note, keep: 1 },
          ]),
        )
      if (text === said && performance.now() - saidAt < 1000 * SECONDS_BETWEEN_LINES) return
      said = text
      saidAt = performance.now()
      stream.write(`${[text, remaining, note].filter(Boolean).join('; ')}\n`)
    },
    end: (): void => line.end('remove'),
  }
}

/** Why a task has no result: what its process says, or the last line that it printed. */
export async function whyFailed(folder: string, task: number): Promise<string> {
  const found = await readStatus(folder, task)
  if (found?.state === 'failed' && found.error) return found.error
  const log = logFile(folder, task)
  const text = await readFile(log, 'utf8').catch(() => '')
  const last = text.trim().split('\n').at(-1)
  return last ? `${last} (the whole output: ${log})` : `its process has printed nothing: ${log}`
}
