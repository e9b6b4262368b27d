/** Plot of the comparison with the peers. */
import { COLORS } from '../report/charts.js'
import type { Origin } from '../report/origin.js'
import type { CaseResult } from './peers/contest.js'
import { PEERS } from './peers/cases.js'
import { originPlot, PLOT_WIDTH } from './plot.js'

/** The ratio of each peer's time to ours, by case, on a logarithmic axis with a line at 1. */
export function ratioPlot(results: readonly CaseResult[], origin: Origin): Promise<string> {
  const values = results.flatMap(({ name, entries }) =>
    entries.flatMap(({ peer, ratio }) =>
      ratio ? [{ case: name, peer, ratio: ratio.median, low: ratio.low, high: ratio.high }] : [],
    ),
  )
  const names = results.map(({ name }) => name)
  const y = { field: 'case', type: 'nominal', sort: names, axis: { title: null, labelLimit: 0 } }
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    scale: { type: 'log', nice: false },
    axis: { title: "peer's time / ours", grid: true },
  })
  const color = { field: 'peer', type: 'nominal', scale: { domain: PEERS, range: COLORS.slice(0, PEERS.length) } }
  const spec = {
    width: PLOT_WIDTH,
    height: { step: 20 },
    data: { values },
    layer: [
      { mark: { type: 'rule', strokeDash: [4, 4], color: 'currentColor' }, encoding: { x: { datum: 1 } } },
      { mark: { type: 'rule', strokeWidth: 2 }, encoding: { y, x: x('low'), x2: { field: 'high' }, color } },
      { mark: { type: 'point', filled: true, size: 70, opacity: 1 }, encoding: { y, x: x('ratio'), color } },
    ],
  }
  return originPlot(spec, 'How many times longer the peers take', origin)
}
