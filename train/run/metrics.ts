/** What a run records: one line per step in metrics.jsonl, one line per checkpoint in the other files. */
import { z } from 'zod'
import type { Diagnostics } from '../diagnostics/diagnose.js'
import type { OnlineKnn } from '../readout/online.js'
import { parseJson, type RunStore } from './store.js'
import { validated } from './validated.js'

/** One line of metrics.jsonl. */
export interface StepMetrics {
  /** Steps done, of `steps` in the whole run. */
  step: number
  steps: number
  /** Epochs done before this step. */
  epoch: number
  loss: number
  /** The parts of the loss by name, where the objective has parts. They add up to the loss. */
  parts?: Record<string, number>
  /** The learning rate of this step. */
  lr: number
  /** With `adaptiveLambda`: the weight of the orthogonality constraint. */
  lambda?: number
  /**
   * With a probe: top-1 accuracy, from 0 to 1, on the last rows of this step, in training mode, before the probe learns
   * from them.
   */
  probeTop1?: number
  /** With f16: the loss scale after this step, and the steps skipped so far because gradients overflowed. */
  lossScale?: number
  skipped?: number
  /** With streaming: milliseconds that this step waited for its images, including their upload. */
  waitMs?: number
  /** Images (not views) per second over the last steps. */
  imagesPerSecond: number
  /** Training time of the whole run so far, in seconds, without checkpoints and readouts. */
  seconds: number
  /** Bytes on the device in addition to the network, the optimiser's state and the data set; earlier versions wrote none. */
  peakBytes?: number
}

/** One line of online.jsonl. */
export interface OnlineReadout extends OnlineKnn {
  step: number
  epoch: number
}

/** One line of diagnostics.jsonl; it has only the largest eigenvalues. */
export interface DiagnosticsLine extends Diagnostics {
  step: number
  epoch: number
}

interface Lines {
  'metrics.jsonl': StepMetrics
  'online.jsonl': OnlineReadout
  'diagnostics.jsonl': DiagnosticsLine
}

/** The files of a run that have lines. */
export const lineFiles: readonly (keyof Lines)[] = ['metrics.jsonl', 'online.jsonl', 'diagnostics.jsonl']

/** Adds a line. */
export const appendLine = <F extends keyof Lines>(store: RunStore, file: F, line: Lines[F]): Promise<void> =>
  store.append(file, `${JSON.stringify(line)}\n`)

/** The lines of a file; none if there is no such file. A line that is written only in part is left out. */
export async function readLines<F extends keyof Lines>(store: RunStore, file: F): Promise<Lines[F][]> {
  const text = (await store.readText(file)) ?? ''
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as Lines[F]]
    } catch {
      return []
    }
  })
}

const moment = { step: z.int().min(1), epoch: z.int().min(0) }

/** What every line must have. */
const lineSchemas: Record<keyof Lines, z.ZodType<{ step: number }>> = {
  'metrics.jsonl': z.looseObject({ ...moment, loss: z.number(), lr: z.number(), seconds: z.number() }),
  'online.jsonl': z.looseObject(moment),
  'diagnostics.jsonl': z.looseObject(moment),
}

/**
 * Removes the lines of steps after the checkpoint that a run resumes from: these steps run again. Damaged lines are
 * removed too.
 *
 * @param onMessage told in one line about each damaged line
 */
export async function truncateLines(
  store: RunStore,
  file: keyof Lines,
  step: number,
  onMessage?: (line: string) => void,
): Promise<void> {
  const text = await store.readText(file)
  if (text === undefined) return
  const lines = text.split('\n')
  // After the last line end is nothing, or half a line from a process that was killed while it wrote.
  lines.pop()
  const kept = lines.filter((line, i) => {
    const where = `${store.nameOf(file)}: line ${i + 1}`
    try {
      return validated(lineSchemas[file], parseJson(line, where), where).step <= step
    } catch (error) {
      onMessage?.(`${(error as Error).message.split('\n')[0]}; the line is removed`)
      return false
    }
  })
  const truncated = kept.map((line) => `${line}\n`).join('')
  if (truncated !== text) await store.write(file, truncated)
}

/** Most ranges of missing steps that a message names. */
const NAMED_RANGES = 3

/**
 * What is missing in metrics.jsonl, which has a line for every step up to the checkpoint.
 *
 * @returns one line; undefined if nothing is missing
 */
export async function missingMetrics(store: RunStore, step: number): Promise<string | undefined> {
  const found = new Set((await readLines(store, 'metrics.jsonl')).map((line) => line.step))
  const ranges: [first: number, last: number][] = []
  let count = 0
  for (let i = 1; i <= step; i++) {
    if (found.has(i)) continue
    count++
    const range = ranges.at(-1)
    if (range?.[1] === i - 1) range[1] = i
    else ranges.push([i, i])
  }
  if (count === 0) return undefined
  const named = ranges.slice(0, NAMED_RANGES).map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`))
  if (ranges.length > NAMED_RANGES) named.push('…')
  return (
    `${store.nameOf('metrics.jsonl')}: lines are missing for ${count.toLocaleString('en')} of the ` +
    `${step.toLocaleString('en')} steps before the checkpoint (${named.join(', ')}): the run goes on with the same ` +
    'weights, but curves and reports lack these steps'
  )
}
