/** Charts as SVG text, drawn by Vega without a browser. Lines and labels take the colour of the surrounding text. */
import type { TopLevelSpec } from 'vega-lite'

/** A line of a chart. */
export interface Series {
  name: string
  color: string
  points: readonly { x: number; y: number }[]
}

/** Pixels; narrow enough for a phone. */
const WIDTH = 360
const HEIGHT = 220
/** More points than pixels would only enlarge the page. */
const MOST_POINTS = 300
/** Window of the running mean, as a share of the curve. */
const SMOOTHING = 0.05
/** Points on each side of a running mean in short curves, if there are eight times as many. */
const LEAST_REACH = 5

const soft = { gridColor: 'currentColor', gridOpacity: 0.12, domainColor: 'currentColor', domainOpacity: 0.4 }
const config = {
  background: 'transparent',
  font: 'system-ui, sans-serif',
  view: { stroke: null },
  axis: {
    ...soft,
    labelColor: 'currentColor',
    titleColor: 'currentColor',
    tickColor: 'currentColor',
    tickOpacity: 0.4,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
  },
  legend: {
    labelColor: 'currentColor',
    labelFontSize: 13,
    orient: 'top',
    title: null,
    symbolOpacity: 1,
    symbolStrokeWidth: 3,
  },
  text: { color: 'currentColor', fontSize: 12 },
} as const

/**
 * Draws a Vega-Lite specification.
 *
 * @param description text for readers who cannot see the chart
 * @returns an `<svg>` element for use inside a page
 */
export async function chart(spec: object, description: string): Promise<string> {
  // Loaded when there is something to draw: Vega has hundreds of modules, and most commands draw nothing or at their end.
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')])
  const { spec: compiled } = compile({ ...spec, description, config } as unknown as TopLevelSpec)
  const view = new vega.View(vega.parse(compiled), { renderer: 'none', logLevel: vega.Error })
  try {
    const svg = await view.toSVG()
    // HTML does not need the namespaces. Without them the page contains no URL.
    return svg.replace(/ xmlns(:xlink)?="[^"]*"/g, '')
  } finally {
    view.finalize()
  }
}

/** How many consecutive points become one, so that at most `most` remain. */
const groupOf = (count: number, most = MOST_POINTS): number => Math.max(1, Math.ceil(count / most))

/** Says what the lines of a chart of steps show. @param steps the number of steps of the longest curve */
export function describeLines(steps: number): string {
  const group = groupOf(steps)
  return `Faint lines show ${group === 1 ? 'each step' : `means of ${group} steps`}, strong lines the running mean.`
}

/** Means of consecutive points, so that at most `most` remain. */
export function thin(points: readonly { x: number; y: number }[], most = MOST_POINTS): { x: number; y: number }[] {
  const group = groupOf(points.length, most)
  return Array.from({ length: Math.ceil(points.length / group) }, (_, i) => {
    const members = points.slice(i * group, (i + 1) * group)
    return { x: mean(members.map(({ x }) => x)), y: mean(members.map(({ y }) => y)) }
  })
}

/** Centred running means. */
export function smooth(points: readonly { x: number; y: number }[]): { x: number; y: number }[] {
  const reach = Math.max(
    Math.floor((SMOOTHING * points.length) / 2),
    Math.min(LEAST_REACH, Math.floor(points.length / 8)),
  )
  const window = 2 * reach + 1
  return points.map(({ x }, i) => {
    const first = Math.min(Math.max(0, i - reach), points.length - window)
    const near = points.slice(first, first + window)
    // The line through the neighbours by least squares: at the ends they lie on one side only.
    const [centre, level] = [mean(near.map((p) => p.x)), mean(near.map((p) => p.y))]
    const spread = mean(near.map((p) => (p.x - centre) ** 2))
    const slope = spread > 0 ? mean(near.map((p) => (p.x - centre) * (p.y - level))) / spread : 0
    return { x, y: level + slope * (x - centre) }
  })
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

const colorOf = (series: readonly { name: string; color: string }[], legend: object | null = {}) => ({
  field: 'name',
  type: 'nominal',
  scale: { domain: series.map(({ name }) => name), range: series.map(({ color }) => color) },
  legend,
})

/**
 * Curves: every value, or the mean of a few, as a faint line, and the running mean as a strong one.
 *
 * @param options.logarithmic both axes are; all values must be above 0
 * @param options.plain few exact values: one line without a running mean
 */
export async function lineChart(options: {
  series: readonly Series[]
  x: string
  y: string
  description: string
  logarithmic?: boolean
  plain?: boolean
}): Promise<string> {
  const { series, x, y, description, logarithmic = false, plain = false } = options
  const rows = series.flatMap(({ name, points }) => {
    const thinned = thin(points)
    const smoothed = smooth(thinned)
    return thinned.map((point, i) => ({ name, x: point.x, y: point.y, smooth: smoothed[i].y }))
  })
  const axis = { title: x, grid: false, tickCount: 6 }
  const scale = logarithmic ? { type: 'log' } : { zero: false, nice: true }
  const line = (field: string, mark: object) => ({
    mark: { type: 'line', ...mark },
    encoding: {
      x: { field: 'x', type: 'quantitative', axis, ...(logarithmic && { scale }) },
      y: { field, type: 'quantitative', title: y, scale, axis: { tickCount: 6 } },
      color: colorOf(series, series.length > 1 ? {} : null),
    },
  })
  const layer = plain
    ? [line('y', { strokeWidth: 2, point: !logarithmic })]
    : [line('y', { opacity: 0.3, strokeWidth: 1 }), line('smooth', { strokeWidth: 2.2 })]
  return chart({ width: WIDTH, height: HEIGHT, data: { values: rows }, layer }, description)
}

/** An accuracy and its standard error, both in [0, 1]. */
export interface Bar {
  group: string
  name: string
  value: number
  error?: number
}

/** Groups of bars: accuracies in per cent, with whiskers of one standard error. */
export async function barChart(options: {
  bars: readonly Bar[]
  names: readonly { name: string; color: string }[]
  y: string
  /** Accuracy of guessing in [0, 1], drawn as a dashed line. */
  chance?: number
  description: string
}): Promise<string> {
  const { bars, names, y, chance, description } = options
  const values = bars.map(({ group, name, value, error = 0 }) => ({
    group,
    name,
    value: 100 * value,
    low: 100 * (value - error),
    high: 100 * (value + error),
    label: (100 * value).toFixed(1),
  }))
  const groups = [...new Set(bars.map(({ group }) => group))]
  const order = names.map(({ name }) => name)
  const quantity = (field: string) => ({ field, type: 'quantitative', title: y, axis: { tickCount: 5 } })
  const encoding = {
    x: {
      field: 'group',
      type: 'nominal',
      sort: groups,
      axis: { title: null, labelAngle: 0, ticks: false, labelFontSize: 13 },
    },
    xOffset: { field: 'name', type: 'nominal', sort: order, scale: { domain: order, paddingInner: 0.15 } },
  }
  const rule = { type: 'rule', color: 'currentColor' }
  const layer = [
    { mark: { type: 'bar' }, encoding: { ...encoding, y: quantity('value'), color: colorOf(names) } },
    { mark: rule, encoding: { ...encoding, y: quantity('low'), y2: { field: 'high' } } },
    { mark: { type: 'text', dy: -8 }, encoding: { ...encoding, y: quantity('high'), text: { field: 'label' } } },
    ...(chance === undefined
      ? []
      : [{ mark: { ...rule, strokeDash: [4, 4], opacity: 0.5 }, encoding: { y: { datum: 100 * chance } } }]),
  ]
  return chart({ width: WIDTH, height: HEIGHT, data: { values }, layer }, description)
}
