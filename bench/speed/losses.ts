/** Speed of every objective's loss and gradient, by number of views and projector width. */
import { gradients, sliceRows, variable, type Engine } from '../../engine/index.js'
import { objectiveNames, objectives, resolveObjective, type ObjectiveName } from '../../train/objectives/index.js'
import { summarize, type Summary } from '../report/statistics.js'
import { markdownTable } from '../../train/report/text.js'
import { figure, mebibytes } from '../report/text.js'
import { lossesPlot } from './losses_plot.js'
import type { Measurement, MeasureOptions } from './measurement.js'
import { randomValues } from './random_data.js'

/** A round repeats a case for about this long, so that waiting for the device is a small part of the time. */
const ROUND_SECONDS = 0.05
const MOST_REPEATS = 100
/** Images in a batch: the paper's number where it varies the views. */
const BATCH = 128

/** A loss with its gradient in the projections [views · batch, width]. */
export interface LossCase {
  objective: ObjectiveName
  views: number
  /** Of the projector. */
  width: number
}

export interface LossResult extends LossCase {
  batch: number
  /** Of the loss and its gradient. */
  seconds: Summary
  dispatches: number
  /** Without the projections. */
  peakBytes: number
}

const nameOf = ({ objective, views, width }: LossCase): string => `${objective}, ${views} views, d = ${width}`

/** All cases for an adapter class. */
export function lossCases(adapterClass: 'cpu' | 'gpu', quick: boolean): LossCase[] {
  const views = quick ? [2, 8] : [2, 4, 8]
  const widths = quick ? [64, 256] : [64, 256, 1024, ...(adapterClass === 'gpu' ? [4096, 8192] : [])]
  return objectiveNames.flatMap((objective) =>
    (objectives[objective].twoViews ? [2] : views).flatMap((m) =>
      widths.map((width) => ({ objective, views: m, width })),
    ),
  )
}

/** Measures every case. */
export async function benchLosses(options: MeasureOptions): Promise<Measurement> {
  const { engine, origin, rounds, quick, only, onMessage } = options
  const results: LossResult[] = []
  for (const c of lossCases(engine.target.adapterClass, quick)) {
    if (only && !nameOf(c).includes(only)) continue
    const result = await measure(engine, c, rounds)
    results.push(result)
    onMessage(`${nameOf(c)}: ${figure(1000 * result.seconds.median)} ms`)
  }
  if (!results.length) throw new Error(`--only '${only}': no objective's case has this text in its name`)
  return {
    kind: 'losses',
    origin,
    results: { losses: results },
    markdown: markdown(results),
    plots: { views: await lossesPlot(results, 'views', origin), width: await lossesPlot(results, 'width', origin) },
  }
}

/** Compiles and times one case, and frees it. */
async function measure(engine: Engine, c: LossCase, rounds: number): Promise<LossResult> {
  const { objective, views, width } = c
  const rows = views * BATCH
  // No loss is degenerate on random projections.
  const [z, t] = ['projections', 'targets'].map((name) =>
    variable(name, [rows, width], () => randomValues(rows * width)),
  )
  const options = resolveObjective(objective, views)
  const clean = sliceRows(t, 0, BATCH)
  const loss = objectives[objective].build({ projection: z, clean, prediction: z, target: t }, views, options)
  const [gradient] = gradients(loss, [z])
  const program = await engine.compile({ label: nameOf(c), outputs: { loss, gradient } })
  try {
    const secondsPerRun = async (times: number): Promise<number> => {
      const started = performance.now()
      for (let i = 0; i < times; i++) await program.run()
      await engine.idle()
      return (performance.now() - started) / 1000 / times
    }
    await secondsPerRun(1)
    const repeats = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(ROUND_SECONDS / (await secondsPerRun(1)))))
    const seconds: number[] = []
    for (let round = 0; round < rounds; round++) seconds.push(await secondsPerRun(repeats))
    const { dispatches, peakBytes } = program
    return { ...c, batch: BATCH, seconds: summarize(seconds), dispatches, peakBytes }
  } finally {
    program.destroy()
    for (const v of [z, t]) engine.release(v)
  }
}

/** One row for each objective and number of views, one column for each width. */
function markdown(results: readonly LossResult[]): string {
  const widths = [...new Set(results.map(({ width }) => width))]
  const rows = new Map<string, LossResult[]>()
  for (const r of results) {
    const key = `${r.objective}, ${r.views} views`
    rows.set(key, [...(rows.get(key) ?? []), r])
  }
  const cells = [...rows].map(([name, list]) => {
    const widest = list[list.length - 1]
    const times = widths.map((width) => {
      const found = list.find((r) => r.width === width)
      return found ? figure(1000 * found.seconds.median) : ''
    })
    return [name, ...times, String(widest.dispatches), mebibytes(widest.peakBytes)]
  })
  return [
    '## Losses',
    `Milliseconds of the loss and its gradient in the projections of ${BATCH} images, by projector width d. Dispatches ` +
      'and memory are those of the largest width.',
    markdownTable(['objective', ...widths.map((d) => `d = ${d}`), 'dispatches', 'memory'], cells),
  ].join('\n\n')
}
