/** Charts as Vega-Lite specifications, and a specification as an SVG file. */
import { chart } from '../../train/report/plots.js'
import { mean } from './statistics.js'

/** Colours that colour-blind readers can tell apart, on light and dark pages. */
export const COLORS = ['#3b7dd8', '#e08a1e', '#2a9d6f', '#b8569d', '#8a6d3b', '#7a7f87', '#c44e52', '#5aa9c9']
const WIDTH = 360
const HEIGHT = 230

export interface ChartPoint {
  x: number
  y: number
  /** Ends of the whisker; no whisker if absent. */
  low?: number
  high?: number
}

/** The mean of the values, with a whisker from the smallest to the largest. */
export const meanPoint = (x: number, values: readonly number[]): ChartPoint => ({
  x,
  y: mean(values),
  low: Math.min(...values),
  high: Math.max(...values),
})

export interface ChartSeries {
  name: string
  points: readonly ChartPoint[]
  dashed?: boolean
}

export interface Axis {
  title: string
  log?: boolean
}

const quantity = (field: string, { title, log }: Axis) => ({
  field,
  type: 'quantitative',
  title,
  scale: log ? { type: 'log', nice: false } : { type: 'linear', zero: false, nice: true },
  axis: { tickCount: 6 },
})

/** The legend stands above the plot, in columns. */
const legendOf = (series: readonly ChartSeries[]) => ({ columns: series.length > 4 ? 3 : 2, labelLimit: 0 })

const colorOf = (series: readonly ChartSeries[]) => ({
  field: 'name',
  type: 'nominal',
  scale: { domain: series.map(({ name }) => name), range: series.map((_, i) => COLORS[i % COLORS.length]) },
  legend: legendOf(series),
})

const dashOf = (series: readonly ChartSeries[]) => ({
  field: 'name',
  type: 'nominal',
  scale: { domain: series.map(({ name }) => name), range: series.map(({ dashed }) => (dashed ? [5, 4] : [1, 0])) },
  legend: legendOf(series),
})

/** More digits than a plot can show only make its file larger. */
const short = (value: number): number => Number(value.toPrecision(5))

/**
 * Lines through points, with whiskers.
 *
 * @param options.markers false if the points lie so close together that the line is enough
 * @param options.level y of a dashed horizontal line
 */
export function lines(
  series: readonly ChartSeries[],
  { x, y, markers = true, level }: { x: Axis; y: Axis; markers?: boolean; level?: number },
): object {
  const values = series.flatMap(({ name, points }) =>
    points.map(({ x: at, y: value, low = value, high = value }) => ({
      name,
      x: short(at),
      y: short(value),
      ...(low !== high && { low: short(low), high: short(high) }),
    })),
  )
  const color = colorOf(series)
  const whiskers = values.some(({ low }) => low !== undefined)
  const across = quantity('x', x)
  return {
    width: WIDTH,
    height: HEIGHT,
    data: { values },
    layer: [
      {
        mark: { type: 'line', strokeWidth: 2 },
        encoding: { x: across, y: quantity('y', y), color, strokeDash: dashOf(series) },
      },
      ...(whiskers
        ? [{ mark: { type: 'rule' }, encoding: { x: across, y: quantity('low', y), y2: { field: 'high' }, color } }]
        : []),
      ...(markers
        ? [
            {
              mark: { type: 'point', filled: true, size: 45, opacity: 1 },
              encoding: { x: across, y: quantity('y', y), color },
            },
          ]
        : []),
      ...(level === undefined
        ? []
        : [
            {
              mark: { type: 'rule', strokeDash: [4, 4], color: 'currentColor', opacity: 0.6 },
              encoding: { y: { datum: level } },
            },
          ]),
    ],
  }
}

/** Points coloured by series; a dashed staircase joins the points of `front`. */
export function scatter(
  series: readonly ChartSeries[],
  { x, y, front = [] }: { x: Axis; y: Axis; front?: readonly ChartPoint[] },
): object {
  const values = series.flatMap(({ name, points }) => points.map((p) => ({ name, x: p.x, y: p.y })))
  const staircase = {
    data: { values: [...front].sort((a, b) => a.x - b.x) },
    mark: { type: 'line', interpolate: 'step-after', strokeDash: [4, 3], color: 'currentColor', opacity: 0.7 },
    encoding: { x: quantity('x', x), y: quantity('y', y) },
  }
  const points = {
    data: { values },
    mark: { type: 'point', filled: true, size: 55, opacity: 0.9 },
    encoding: { x: quantity('x', x), y: quantity('y', y), color: colorOf(series) },
  }
  return { width: WIDTH, height: HEIGHT, layer: front.length ? [staircase, points] : [points] }
}

/** One point with its interval for each row, from top to bottom; a dashed vertical line at `level`. */
export function intervals(
  rows: readonly { name: string; mean: number; low: number; high: number }[],
  x: Axis,
  level?: number,
): object {
  const y = { field: 'name', type: 'nominal', sort: rows.map(({ name }) => name), axis: { title: null, labelLimit: 0 } }
  return {
    width: WIDTH,
    height: { step: 26 },
    data: { values: rows.filter((r) => [r.mean, r.low, r.high].every((v) => Number.isFinite(v))) },
    layer: [
      {
        mark: { type: 'rule', strokeWidth: 2, color: COLORS[0] },
        encoding: { y, x: quantity('low', x), x2: { field: 'high' } },
      },
      {
        mark: { type: 'point', filled: true, size: 60, opacity: 1, color: COLORS[0] },
        encoding: { y, x: quantity('mean', x) },
      },
      ...(level === undefined
        ? []
        : [
            {
              mark: { type: 'rule', strokeDash: [4, 4], color: 'currentColor', opacity: 0.6 },
              encoding: { x: { datum: level } },
            },
          ]),
    ],
  }
}

/**
 * Draws a specification as an SVG file that can be viewed without a page: with namespace, title, background and text
 * colour.
 *
 * @param subtitle one line, or several
 */
export async function svgFile(spec: object, title: string, subtitle: string | string[]): Promise<string> {
  const text = { color: 'currentColor', subtitleColor: 'currentColor', anchor: 'start', subtitleFontSize: 10 }
  const svg = await chart({ ...spec, padding: 10, title: { text: title, subtitle, ...text } }, title)
  return svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff;color:#1c2530"')
}
