/** Charts of results over runs, as Vega-Lite specifications that a page or a file of its own may draw. */
import { chart } from '../../train/report/plots.js'

/** Colours that keep their distance for colour-blind readers, on light and dark pages. */
const COLORS = ['#3b7dd8', '#e08a1e', '#2a9d6f', '#b8569d', '#8a6d3b', '#7a7f87', '#c44e52', '#5aa9c9']
const WIDTH = 360
const HEIGHT = 230

export interface ChartPoint {
  x: number
  y: number
  /** Ends of a whisker. */
  low?: number
  high?: number
}

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

/** Above the plot, in columns. */
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

/** More digits than a plot shows only make its file heavy. */
const short = (value: number): number => Number(value.toPrecision(5))

/**
 * Lines through points with whiskers.
 *
 * @param markers false where points lie so close that a line says it all
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

/** Points in colours by series; `front` joins those that no other beats. */
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

/** Points by name from top to bottom with whiskers, against a dashed line. */
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

/** As a file of its own: with its namespace, a title, a background and ink that do not depend on a page. */
export async function standAlone(spec: object, title: string, subtitle: string): Promise<string> {
  const text = { color: 'currentColor', subtitleColor: 'currentColor', anchor: 'start', subtitleFontSize: 10 }
  const svg = await chart({ ...spec, padding: 10, title: { text: title, subtitle, ...text } }, title)
  return svg.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff;color:#1c2530"')
}
