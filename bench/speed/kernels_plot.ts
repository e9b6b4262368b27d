/** Plots of the kernel benchmark. */
import { COLORS } from '../report/charts.js'
import type { Origin } from '../report/origin.js'
import type { Ceilings } from './ceilings.js'
import type { KernelResult } from './kernels.js'
import { bars, originPlot, PLOT_WIDTH } from './plot.js'

/** Products below the roofline of the adapter: GFLOP/s against operations per byte, on logarithmic axes. */
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
  const x = { field: 'intensity', type: 'quantitative', scale: log, axis: { title: 'operations per byte' } }
  const y = { field: 'gflops', type: 'quantitative', scale: log, axis: { title: 'GFLOP/s (f32)' } }
  const color = {
    field: 'family',
    type: 'nominal',
    scale: { domain: families, range: COLORS },
    legend: { labelLimit: 0, columns: 2 },
  }
  const spec = {
    width: PLOT_WIDTH,
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
  return originPlot(spec, 'Kernels and the roofline of the adapter', origin)
}

/** The share of the nearer ceiling that each kernel reaches, in per cent. */
export function sharesPlot(results: readonly KernelResult[], origin: Origin): Promise<string> {
  const values = results.map(({ family, name, share, bound }) => ({
    kernel: `${family} ${name}`,
    share: 100 * share,
    bound,
  }))
  const fields = { category: 'kernel', value: 'share', color: 'bound', axis: 'share of the ceiling, %' }
  return originPlot(bars(values, fields), 'Share of the ceiling that each kernel reaches', origin)
}
