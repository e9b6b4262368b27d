/** What the plots of all benchmarks share. */
import { svgFile } from '../report/charts.js'
import { originParts, type Origin } from '../report/origin.js'

export const PLOT_WIDTH = 460

/** Draws a Vega-Lite specification as an SVG file, with the origin below its title. */
export function originPlot(spec: object, title: string, origin: Origin): Promise<string> {
  const parts = originParts(origin)
  return svgFile(spec, title, [parts.slice(0, 2).join('; '), parts.slice(2).join('; ')])
}

/**
 * Horizontal bars in the order given, stacked by colour.
 *
 * @param fields the fields of `values` and the title of the axis
 */
export function bars(
  values: readonly object[],
  fields: { category: string; value: string; color: string; axis: string },
  legend?: object,
): object {
  return {
    width: PLOT_WIDTH,
    height: { step: 18 },
    data: { values },
    mark: { type: 'bar' },
    encoding: {
      y: { field: fields.category, type: 'nominal', sort: null, axis: { title: null, labelLimit: 0 } },
      x: { field: fields.value, type: 'quantitative', axis: { title: fields.axis } },
      color: { field: fields.color, type: 'nominal', scale: { scheme: 'tableau20' }, ...(legend && { legend }) },
    },
  }
}
