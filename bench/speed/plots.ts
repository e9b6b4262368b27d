/** The benchmark's plots as SVG files that stand alone. */
import { chart } from '../../train/report/plots.js'
import type { Ceilings } from './ceilings.js'
import type { KernelResult } from './kernels.js'
import type { LossResult } from './losses.js'
import type { CaseResult } from './peers.js'
import { describeOrigin, type Origin } from './report.js'
import type { StepResult } from './step.js'

const WIDTH = 460
const KERNELS_SHOWN = 9
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
  const y = { field: 'case', type: 'nominal', sort: names, axis: { title: null, labelLimit: 0 } }
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

/** Products under the two roofs of the adapter: bytes copied and multiply-adds, on logarithmic axes. */
export async function rooflinePlot(
  results: readonly KernelResult[],
  ceilings: Ceilings,
  origin: Origin,
): Promise<string> {
  const points = results.filter((r) => r.gflops !== undefined && r.intensity !== undefined)
  const intensities = [...points.map((r) => r.intensity!), ceilings.f32 / ceilings.copy, 1]
  const [low, high] = [Math.min(...intensities) / 2, Math.max(...intensities) * 2]
  const roof = [low, ceilings.f32 / ceilings.copy, high].map((intensity) => ({
    intensity,
    gflops: Math.min(ceilings.f32, intensity * ceilings.copy),
  }))
  const families = [...new Set(points.map(({ family }) => family))]
  const log = { type: 'log', nice: false }
  const x = { field: 'intensity', type: 'quantitative', scale: log, axis: { title: 'operations a byte' } }
  const y = { field: 'gflops', type: 'quantitative', scale: log, axis: { title: 'GFLOP/s (f32)' } }
  const color = {
    field: 'family',
    type: 'nominal',
    scale: { domain: families, range: COLORS },
    legend: { labelLimit: 0, columns: 2 },
  }
  const spec = {
    width: WIDTH,
    height: 300,
    layer: [
      { data: { values: roof }, mark: { type: 'line', color: 'currentColor' }, encoding: { x, y } },
      {
        data: { values: points },
        mark: { type: 'point', filled: true, size: 50, opacity: 0.85 },
        encoding: { x, y, color },
      },
    ],
  }
  return standAlone(spec, 'Kernels under the roofs of the adapter', origin)
}

/** What share of the nearer ceiling each kernel reaches, in per cent. */
export async function sharesPlot(results: readonly KernelResult[], origin: Origin): Promise<string> {
  const values = results.map(({ family, name, share, bound }) => ({
    kernel: `${family} ${name}`,
    share: 100 * share,
    bound,
  }))
  return bars(
    values,
    { category: 'kernel', value: 'share', color: 'bound', title: 'share of the ceiling, %' },
    origin,
    {
      description: 'Share of the ceiling that each kernel reaches',
    },
  )
}

/** Where a step's time goes, by kernel. */
export async function stepPlot(results: readonly StepResult[], origin: Origin): Promise<string> {
  const values = results.flatMap(({ name, kernels }) =>
    largest(kernels).map(({ kernel, milliseconds }) => ({ step: name, kernel, milliseconds })),
  )
  return bars(
    values,
    { category: 'step', value: 'milliseconds', color: 'kernel', title: 'milliseconds a step, by kernel' },
    origin,
    { description: 'Where the time of a training step goes', legend: { orient: 'right', labelLimit: 0 } },
  )
}

/** Time of each objective's loss and gradient against views (at the middle width) or width (at the most views). */
export async function lossesPlot(
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
    width: WIDTH,
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
  return standAlone(spec, `Loss and gradient against ${against}`, origin)
}

/** The kernels that take most of the time, as many as colours can tell apart, and the others as one. */
function largest(kernels: StepResult['kernels']): { kernel: string; milliseconds: number }[] {
  const others = kernels.slice(KERNELS_SHOWN).reduce((sum, { milliseconds }) => sum + milliseconds, 0)
  return [...kernels.slice(0, KERNELS_SHOWN), ...(others ? [{ kernel: 'others', milliseconds: others }] : [])]
}

/** Horizontal bars in the order given, stacked by colour. */
function bars(
  values: readonly object[],
  fields: { category: string; value: string; color: string; title: string },
  origin: Origin,
  { description, legend }: { description: string; legend?: object },
): Promise<string> {
  const spec = {
    width: WIDTH,
    height: { step: 18 },
    data: { values },
    mark: { type: 'bar' },
    encoding: {
      y: { field: fields.category, type: 'nominal', sort: null, axis: { title: null, labelLimit: 0 } },
      x: { field: fields.value, type: 'quantitative', axis: { title: fields.title } },
      color: { field: fields.color, type: 'nominal', scale: { scheme: 'tableau20' }, ...(legend && { legend }) },
    },
  }
  return standAlone(spec, description, origin)
}
