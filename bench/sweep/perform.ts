/** Performs a sweep: every run of every point, the failing ones kept beside the rest. */
import type { Engine } from '../../engine/index.js'
import type { PretrainConfig } from '../../train/config/config.js'
import { describeViews } from '../../train/report/text.js'
import { lines, scatter, standAlone, type ChartSeries } from '../runs/charts.js'
import { meanAndSpread } from '../paper/experiment.js'
import { mean } from '../runs/intervals.js'
import { table } from '../speed/report.js'
import { adaptersOf, rowsOf, Runs, type Reading, type Splits } from '../runs/runs.js'
import type { Sweep } from './file.js'

export interface SweepRun {
  values: Record<string, unknown>
  seed: number
  /** Folder of the run, where the point can be run at all. */
  folder?: string
  reading?: Reading
  error?: string
}

export interface SweepOptions {
  engine: Engine
  /** Folder of the runs. */
  root: string
  splits(config: PretrainConfig): Promise<Splits>
  signal?: AbortSignal
  onProgress?(label: string, what: string, done: number, total: number): void
  onRun?(label: string, rows: { done: number; total: number }): void
  onMessage?(line: string): void
}

const show = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** `views 4, lambda 0.02` */
export const labelOf = (values: Readonly<Record<string, unknown>>): string =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${show(value)}`)
    .join(', ') || 'base'

/** @throws Interrupted where the signal ended it; what is done stays done */
export async function performSweep(sweep: Sweep, options: SweepOptions): Promise<SweepRun[]> {
  const { engine, root, splits, signal, onProgress, onRun, onMessage } = options
  let label = ''
  const tick = (what: string, done: number, total: number): void => onProgress?.(label, what, done, total)
  const runs = new Runs({ engine, root, splits, signal, onProgress: tick })
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

const sameValues = (a: SweepRun, b: SweepRun): boolean => labelOf(a.values) === labelOf(b.values)

/** Runs by point of the grid, in its order. */
function byPoint(runs: readonly SweepRun[]): SweepRun[][] {
  const points: SweepRun[][] = []
  for (const run of runs) {
    const own = points.find(([first]) => sameValues(first, run))
    if (own) own.push(run)
    else points.push([run])
  }
  return points
}

export const readingsOf = (runs: readonly SweepRun[]): Reading[] =>
  runs.flatMap(({ reading }) => (reading ? [reading] : []))

/** The table at the end of a sweep, in Markdown; what failed stands in it with its line. */
export function sweepTable(
  { options, readout }: Pick<Sweep, 'options' | 'readout'>,
  runs: readonly SweepRun[],
): string {
  const percent = (list: readonly Reading[], pick: (r: Reading) => number | undefined): string =>
    meanAndSpread(list.map((r) => 100 * (pick(r) ?? NaN)))
  const rows = byPoint(runs).map((point) => {
    const list = readingsOf(point)
    const errors = [...new Set(point.flatMap(({ error }) => error ?? []))]
    return [
      ...(options.length ? options.map((name) => show(point[0].values[name])) : ['base']),
      percent(list, ({ top1 }) => top1),
      percent(list, ({ top5 }) => top5),
      ...(readout.knn ? [percent(list, ({ knn20 }) => knn20)] : []),
      meanAndSpread(list.map(({ seconds }) => seconds / 60)),
      `${list.length} of ${point.length}`,
      errors.join('; '),
    ]
  })
  const header = [
    ...(options.length ? options : ['run']),
    'linear top-1, %',
    'linear top-5, %',
    ...(readout.knn ? ['kNN-20, %'] : []),
    'minutes',
    'seeds',
    'failed',
  ]
  const adapters = adaptersOf(readingsOf(runs))
  const weights = readout.average ? 'from the moving average of the weights ' : ''
  return [
    table(header, rows),
    `Read ${weights}with ${describeViews(readout.views)} an image; ± is one standard deviation over the seeds; minutes are those of training.`,
    ...(adapters.length > 1
      ? [`The runs were made on more than one adapter (${adapters.join('; ')}): their minutes do not compare.`]
      : []),
  ].join('\n\n')
}

/**
 * Plots by name, as SVG files: accuracy against the grid's first option of numbers, and against runtime. Below their
 * titles stand the adapters that the runs were trained on, and the date.
 */
export async function sweepPlots(
  { options }: Pick<Sweep, 'options'>,
  runs: readonly SweepRun[],
  date: string,
): Promise<Record<string, string>> {
  const done = runs.filter(({ reading }) => reading)
  if (done.length === 0) return {}
  const adapters = adaptersOf(readingsOf(done))
  const subtitle = [...adapters, date].join('; ')
  const y = { title: 'linear top-1, %' }
  const along = options.find((name) => runs.every(({ values }) => typeof values[name] === 'number'))
  const seriesBy = (nameOf: (run: SweepRun) => string, pointsOf: (own: SweepRun[]) => ChartSeries['points']) =>
    [...new Set(done.map(nameOf))].map((name) => ({ name, points: pointsOf(done.filter((r) => nameOf(r) === name)) }))
  const plots: Record<string, string> = {
    runtime: await standAlone(
      scatter(
        seriesBy(
          ({ values }) => labelOf(values),
          (own) => readingsOf(own).map((r) => ({ x: r.seconds / 60, y: 100 * r.top1 })),
        ),
        { x: { title: 'minutes of training' }, y },
      ),
      'Accuracy against runtime',
      adapters.length > 1 ? `${subtitle}; minutes on different adapters do not compare` : subtitle,
    ),
  }
  if (along !== undefined) {
    const others = ({ values: { [along]: _, ...rest } }: SweepRun): string => labelOf(rest)
    const pointsOf = (own: SweepRun[]) =>
      byPoint(own)
        .map((point) => {
          const values = readingsOf(point).map(({ top1 }) => 100 * top1)
          const x = point[0].values[along] as number
          return { x, y: mean(values), low: Math.min(...values), high: Math.max(...values) }
        })
        .sort((a, b) => a.x - b.x)
    const numbers = done.map(({ values }) => values[along] as number)
    const log = Math.min(...numbers) > 0 && Math.max(...numbers) >= 8 * Math.min(...numbers)
    plots.accuracy = await standAlone(
      lines(seriesBy(others, pointsOf), { x: { title: along, log }, y }),
      `Accuracy against ${along}`,
      subtitle,
    )
  }
  return plots
}
