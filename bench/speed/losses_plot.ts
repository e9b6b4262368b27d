/** Plots of the loss benchmark. */
import type { Origin } from '../report/origin.js'
import type { LossResult } from './losses.js'
import { originPlot, PLOT_WIDTH } from './plot.js'

/** Time of each objective's loss and gradient against views (at the middle width) or width (at the most views). */
export function lossesPlot(
  results: readonly LossResult[],
  against: 'views' | 'width',
  origin: Origin,
): Promise<string> {
  const widths = [...new Set(results.map(({ width }) => width))]
  const middle = widths[Math.floor(widths.length / 2)]
  const most = new Map(results.map(({ objective }) => [objective, 0]))
  for (const { objective, views } of results) most.set(objective, Math.max(most.get(objective)!, views))
  const values = results
    .filter((r) => (against === 'views' ? r.width === middle : r.views === most.get(r.objective)))
    .map(({ objective, views, width, seconds }) => ({
      objective: against === 'views' ? objective : `${objective}, ${views} views`,
      x: against === 'views' ? views : width,
      milliseconds: 1000 * seconds.median,
    }))
  const title = against === 'views' ? `views, at d = ${middle}` : 'projector width d'
  const log = { type: 'log', base: 2, nice: false }
  const ticks = [...new Set(values.map(({ x }) => x))]
  const spec = {
    width: PLOT_WIDTH,
    height: 300,
    data: { values },
    mark: { type: 'line', point: true },
    encoding: {
      x: { field: 'x', type: 'quantitative', scale: log, axis: { title, values: ticks } },
      y: { field: 'milliseconds', type: 'quantitative', scale: { type: 'log', nice: false } },
      color: {
        field: 'objective',
        type: 'nominal',
        sort: null,
        scale: { scheme: 'tableau10' },
        legend: { orient: 'right', labelLimit: 0 },
      },
    },
  }
  return originPlot(spec, `Loss and gradient against ${against}`, origin)
}
