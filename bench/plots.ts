/** The benchmark's plots as SVG files that stand alone. */
import { chart } from '../train/report/plots.js'
import type { CaseResult } from './peers.js'
import { describeOrigin, type Origin } from './report.js'

const WIDTH = 460
/** Colours that keep their distance for colour-blind readers, on light and dark pages. */
const COLORS = ['#3b7dd8', '#e08a1e', '#2a9d6f', '#b8569d', '#8a6d3b', '#7a7f87']

/** As a file of its own: with its namespace, a background and ink that do not depend on the page. */
async function standAlone(spec: object, description: string, origin: Origin): Promise<string> {
  const subtitle = describeOrigin(origin).split('; ')
  const lines = [subtitle.slice(0, 2).join('; '), subtitle.slice(2).join('; ')]
  const text = { color: 'currentColor', subtitleColor: 'currentColor', anchor: 'start', subtitleFontSize: 10 }
  const svg = await chart({ ...spec, title: { text: description, subtitle: lines, ...text } }, description)
  return svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff;color:#1c2530"')
}

/** How many times longer each peer takes, by case, on a logarithmic axis with a line at 1. */
export async function ratioPlot(results: readonly CaseResult[], origin: Origin): Promise<string> {
  const values = results.flatMap(({ name, entries }) =>
    entries.flatMap(({ peer, ratio }) =>
      ratio ? [{ case: name, peer, ratio: ratio.median, low: ratio.low, high: ratio.high }] : [],
    ),
  )
  const names = results.map(({ name }) => name)
  const peers = ['tfjs', 'jax-js', 'torch']
  const y = { field: 'case', type: 'nominal', sort: names, axis: { title: null, labelLimit: 340 } }
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    scale: { type: 'log', nice: false },
    axis: { title: "peer's time / ours", grid: true },
  })
  const color = {
    field: 'peer',
    type: 'nominal',
    scale: { domain: peers, range: COLORS.slice(0, peers.length) },
  }
  const spec = {
    width: WIDTH,
    height: { step: 20 },
    data: { values },
    layer: [
      { mark: { type: 'rule', strokeDash: [4, 4], color: 'currentColor' }, encoding: { x: { datum: 1 } } },
      { mark: { type: 'rule', strokeWidth: 2 }, encoding: { y, x: x('low'), x2: { field: 'high' }, color } },
      { mark: { type: 'point', filled: true, size: 70, opacity: 1 }, encoding: { y, x: x('ratio'), color } },
    ],
  }
  return standAlone(spec, 'How many times longer the peers take', origin)
}
