/** Table and plots of a sweep. */
import { describeViews, markdownTable } from '../../train/report/text.js'
import { lines, meanPoint, scatter, svgFile, type ChartSeries } from '../report/charts.js'
import { meanAndSpread } from '../report/text.js'
import type { Reading } from '../runs/cached.js'
import { adaptersOf } from '../runs/cached_runs.js'
import type { Sweep } from './file.js'
import { labelOf, readingsOf, valueText, type SweepRun } from './perform.js'

/** The runs of each point of the grid, in the order of the grid. */
function byPoint(runs: readonly SweepRun[]): SweepRun[][] {
  const points = new Map<string, SweepRun[]>()
  for (const run of runs) {
    const label = labelOf(run.values)
    points.set(label, [...(points.get(label) ?? []), run])
  }
  return [...points.values()]
}

/** One row for each point, in Markdown. The last column has the errors of failed runs. */
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
      ...(options.length ? options.map((name) => valueText(point[0].values[name])) : ['base']),
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
    markdownTable(header, rows),
    `Read ${weights}with ${describeViews(readout.views)} an image. ± is one standard deviation over the seeds. Minutes are training only.`,
    ...(adapters.length > 1
      ? [`The runs used more than one adapter (${adapters.join('; ')}): their minutes cannot be compared.`]
      : []),
  ].join('\n\n')
}

/**
 * Plots as SVG files by name: accuracy against runtime, and against the first option of the grid whose values are
 * numbers. Subtitles name the adapters of the runs and the date.
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
  const numeric = options.find((name) => runs.every(({ values }) => typeof values[name] === 'number'))
  return {
    runtime: await runtimePlot(
      done,
      adapters.length > 1 ? `${subtitle}; minutes on different adapters cannot be compared` : subtitle,
    ),
    ...(numeric !== undefined && { accuracy: await accuracyPlot(done, numeric, subtitle) }),
  }
}

const ACCURACY = { title: 'linear top-1, %' }

/** One series for each name that `nameOf` gives a run. */
const seriesBy = (
  runs: readonly SweepRun[],
  nameOf: (run: SweepRun) => string,
  pointsOf: (own: SweepRun[]) => ChartSeries['points'],
): ChartSeries[] =>
  [...new Set(runs.map(nameOf))].map((name) => ({ name, points: pointsOf(runs.filter((r) => nameOf(r) === name)) }))

function runtimePlot(runs: readonly SweepRun[], subtitle: string): Promise<string> {
  const series = seriesBy(
    runs,
    ({ values }) => labelOf(values),
    (own) => readingsOf(own).map((r) => ({ x: r.seconds / 60, y: 100 * r.top1 })),
  )
  const spec = scatter(series, { x: { title: 'minutes of training' }, y: ACCURACY })
  return svgFile(spec, 'Accuracy against runtime', subtitle)
}

/** @param option an option of the grid whose values are numbers */
function accuracyPlot(runs: readonly SweepRun[], option: string, subtitle: string): Promise<string> {
  const series = seriesBy(
    runs,
    ({ values: { [option]: _, ...others } }) => labelOf(others),
    (own) =>
      byPoint(own)
        .map((point) =>
          meanPoint(
            point[0].values[option] as number,
            readingsOf(point).map(({ top1 }) => 100 * top1),
          ),
        )
        .sort((a, b) => a.x - b.x),
  )
  const numbers = runs.map(({ values }) => values[option] as number)
  const log = Math.min(...numbers) > 0 && Math.max(...numbers) >= 8 * Math.min(...numbers)
  return svgFile(lines(series, { x: { title: option, log }, y: ACCURACY }), `Accuracy against ${option}`, subtitle)
}
