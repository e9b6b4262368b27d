/** Performs a sweep: every run of every point. A run that fails does not stop the others. */
import type { PretrainConfig } from '../../train/config/config.js'
import type { Reading } from '../runs/cached.js'
import type { RunMaker } from '../launch/launcher.js'
import type { RunRequest } from '../runs/cached_runs.js'
import { rowsOf, type Splits } from '../runs/runs.js'
import type { Sweep } from './file.js'

export interface SweepRun {
  /** The options of the grid with their values. */
  values: Record<string, unknown>
  seed: number
  /** Folder of the run; absent if the configuration of the point is invalid. */
  folder?: string
  /** Of the last checkpoint. */
  reading?: Reading
  error?: string
}

export interface SweepOptions {
  /** Makes the runs; it reports the progress within a run. */
  runs(onProgress: (what: string, done: number, total: number) => void): RunMaker
  splits(config: PretrainConfig): Promise<Splits>
  /** Called within a run. */
  onProgress?(label: string, what: string, done: number, total: number): void
  /** Called before each run, with the training rows that are done and those of all runs. */
  onRun?(label: string, rows: { done: number; total: number }): void
  onMessage?(line: string): void
}

export const valueText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** `views 4, lambda 0.02` */
export const labelOf = (values: Readonly<Record<string, unknown>>): string =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${valueText(value)}`)
    .join(', ') || 'base'

/** What a sweep makes: every run of every valid point. */
export const requestsOf = ({ points, readout }: Sweep): RunRequest[] =>
  points.flatMap(({ configs }) => ('error' in configs ? [] : configs.map((config) => ({ config, readout }))))

/**
 * Trains and reads out every run that is not finished.
 *
 * @throws Interrupted if the signal ended the sweep; finished runs are kept
 */
export async function performSweep(sweep: Sweep, options: SweepOptions): Promise<SweepRun[]> {
  const { splits, onProgress, onRun, onMessage } = options
  let label = ''
  const runs = options.runs((what, done, total) => onProgress?.(label, what, done, total))
  const work = new Map<PretrainConfig, number>()
  for (const { configs } of sweep.points)
    for (const config of 'error' in configs ? [] : configs)
      if (!(await runs.isDone({ config, readout: sweep.readout })))
        work.set(config, rowsOf(config, (await splits(config)).pretraining.count))
  const total = [...work.values()].reduce((a, b) => a + b, 0)
  let done = 0
  const results: SweepRun[] = []
  for (const { values, configs } of sweep.points)
    for (const [i, seed] of sweep.seeds.entries()) {
      if ('error' in configs) {
        results.push({ values, seed, error: configs.error })
        continue
      }
      const config = configs[i]
      label = `${labelOf(values)}, seed ${seed}`
      if (work.has(config)) onRun?.(label, { done, total })
      const result = await runs.run({ config, readout: sweep.readout })
      done += work.get(config) ?? 0
      const { folder } = result
      if ('error' in result) {
        onMessage?.(`${label}: ${result.error}`)
        results.push({ values, seed, folder, error: result.error })
      } else results.push({ values, seed, folder, reading: result.readings[result.readings.length - 1] })
    }
  return results
}

export const readingsOf = (runs: readonly SweepRun[]): Reading[] =>
  runs.flatMap(({ reading }) => (reading ? [reading] : []))
