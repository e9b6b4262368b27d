/** What a run writes down as it goes: a line a step in metrics.jsonl, a line a checkpoint in the other files. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { writeAtomically } from '../node/files.js'
import type { Diagnostics } from '../diagnostics/diagnose.js'
import type { OnlineKnn } from '../readout/online.js'

/** One line of metrics.jsonl. */
export interface StepMetrics {
  /** Steps done, of `steps` in all. */
  step: number
  steps: number
  epoch: number
  loss: number
  /** The learning rate of this step. */
  lr: number
  /** Where it changes during training: the weight of the orthogonality constraint. */
  lambda?: number
  /** With a probe: share of the last rows of this step that it got right before it learnt from them, in training mode. */
  probeTop1?: number
  /** With f16: the loss scale after this step, and the steps skipped so far because gradients overflowed. */
  lossScale?: number
  skipped?: number
  /** Where images stream to the device: milliseconds that this step waited for its own, their upload included. */
  waitMs?: number
  /** Images (not views) a second over the last steps. */
  imagesPerSecond: number
  /** Wall-clock spent training so far, over all sittings: without checkpoints and what is read at them. */
  seconds: number
}

/** One line of online.jsonl. */
export interface OnlineReadout extends OnlineKnn {
  step: number
  epoch: number
}

/** One line of diagnostics.jsonl; of the eigenvalues the largest. */
export interface DiagnosticsLine extends Diagnostics {
  step: number
  epoch: number
}

/** The files of a run's folder that have lines. */
export const lineFiles = ['metrics.jsonl', 'online.jsonl', 'diagnostics.jsonl'] as const

/** Adds a line. */
export const appendLine = (file: string, line: StepMetrics | OnlineReadout | DiagnosticsLine): void =>
  appendFileSync(file, `${JSON.stringify(line)}\n`)

/** Drops the lines of steps beyond a checkpoint that a run goes on from: they will be done again. */
export async function truncateLines(file: string, step: number): Promise<void> {
  if (!existsSync(file)) return
  const kept = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => {
      try {
        return (JSON.parse(line) as { step: number }).step <= step
      } catch {
        // Half a line, from a process that was killed while it wrote.
        return false
      }
    })
  await writeAtomically(file, kept.map((line) => `${line}\n`).join(''))
}
