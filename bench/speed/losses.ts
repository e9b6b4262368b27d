/** Every objective's loss and gradient, against the number of views and the projector's width. */
import { gradients, variable, type Engine, type Variable } from '../../engine/index.js'
import { objectiveNames, objectives, resolveObjective, type ObjectiveName } from '../../train/objectives/index.js'
import { lossesPlot } from './plots.js'
import { figure, mebibytes, table, type MeasureOptions, type Report } from './report.js'
import { summarize, type Summary } from './statistics.js'

/** A round repeats a case for about this long, so that waiting for the device weighs little. */
const ROUND_SECONDS = 0.05
const MOST_REPEATS = 100
/** Images: the paper's batch where it varies the views. */
const BATCH = 128

/** A loss with its gradient in the projections [views · batch, width]. */
export interface LossCase {
  objective: ObjectiveName
  views: number
  width: number
}

export interface LossResult extends LossCase {
  batch: number
  /** Loss and gradient, seconds. */
  seconds: Summary
  dispatches: number
  /** Beside the projections. */
  peakBytes: number
}

const nameOf = ({ objective, views, width }: LossCase): string => `${objective}, ${views} views, d = ${width}`

/** What an adapter class computes in moments. */
export function lossCases(adapterClass: 'cpu' | 'gpu', quick: boolean): LossCase[] {
  const views = quick ? [2, 8] : [2, 4, 8]
  const widths = quick ? [64, 256] : [64, 256, 1024, ...(adapterClass === 'gpu' ? [4096, 8192] : [])]
  return objectiveNames.flatMap((objective) =>
    (objectives[objective].twoViews ? [2] : views).flatMap((m) =>
      widths.map((width) => ({ objective, views: m, width })),
    ),
  )
}

/** Measures every case; its program is freed before the next. */
export async function benchLosses({ engine, origin, rounds, quick, only, onMessage }: MeasureOptions): Promise<Report> {
  const results: LossResult[] = []
  for (const c of lossCases(engine.target.adapterClass, quick)) {
    if (only && !nameOf(c).includes(only)) continue
    const result = await measure(engine, c, rounds)
    results.push(result)
    onMessage(`${nameOf(c)}: ${figure(1000 * result.seconds.median)} ms`)
  }
  if (!results.length) throw new Error(`--only '${only}': no objective is called that`)
  return {
    kind: 'losses',
    origin,
    results: { losses: results },
    markdown: markdown(results),
    plots: { views: await lossesPlot(results, 'views', origin), width: await lossesPlot(results, 'width', origin) },
  }
}

/** Projections on which no loss is degenerate: rows of numbers in [−1, 1), the same ones at every call. */
const projections = (name: string, rows: number, width: number): Variable =>
  variable(name, [rows, width], () => {
    const data = new Float32Array(rows * width)
    // A full period of a linear congruence: quick to make.
    for (let i = 0, state = 1; i < data.length; i++)
      data[i] = (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31
    return data
  })

async function measure(engine: Engine, c: LossCase, rounds: number): Promise<LossResult> {
  const { objective, views, width } = c
  const [z, t] = ['projections', 'targets'].map((name) => projections(name, views * BATCH, width))
  const options = resolveObjective(objective, views)
  const loss = objectives[objective].build({ projection: z, prediction: z, target: t }, views, options)
  const [gradient] = gradients(loss, [z])
  const program = await engine.compile({ label: nameOf(c), outputs: { loss, gradient } })
  try {
    const seconds = async (times: number): Promise<number> => {
      const started = performance.now()
      for (let i = 0; i < times; i++) await program.run()
      await engine.idle()
      return (performance.now() - started) / 1000 / times
    }
    await seconds(1)
    const repeats = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(ROUND_SECONDS / (await seconds(1)))))
    const times: number[] = []
    for (let round = 0; round < rounds; round++) times.push(await seconds(repeats))
    const { dispatches, peakBytes } = program
    return { ...c, batch: BATCH, seconds: summarize(times), dispatches, peakBytes }
  } finally {
    program.destroy()
    for (const v of [z, t]) engine.release(v)
  }
}

/** One row an objective and number of views, one column a width. */
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
      const at = list.find((r) => r.width === width)
      return at ? figure(1000 * at.seconds.median) : ''
    })
    return [name, ...times, String(widest.dispatches), mebibytes(widest.peakBytes)]
  })
  return [
    '## Losses',
    `Milliseconds of the loss and its gradient in the projections, ${BATCH} images, by projector width d; dispatches and ` +
      'memory at the largest.',
    table(['objective', ...widths.map((d) => `d = ${d}`), 'dispatches', 'memory'], cells),
  ].join('\n\n')
}
