/** Line charts that follow the theme and the width of the page. */
import uPlot from 'uplot'
import { colorOf, find } from './dom.js'

export interface Line {
  label: string
  /** A variable of the style. */
  color: string
  y: (number | null)[]
  width?: number
  dash?: number[]
}

export interface ChartOptions {
  height: number
  xTitle: string
  yTitle: string
  /** Both axes are logarithmic. */
  logarithmic?: boolean
  formatX?(value: number): string
  formatY?(value: number): string
}

const FONT = '12px system-ui, sans-serif'
const LOGARITHMIC = 3

export class Chart {
  private plot: uPlot | undefined
  private x: number[] = []
  private lines: Line[] = []
  private readonly at: HTMLElement
  private due = false

  constructor(
    id: string,
    private readonly options: ChartOptions,
  ) {
    this.at = find(id)
    new ResizeObserver(() => {
      if (this.plot && this.at.clientWidth > 0) this.plot.setSize(this.size())
      else this.draw()
    }).observe(this.at)
  }

  /** @param sentence says the same as the chart */
  show(x: number[], lines: Line[], sentence: string): void {
    // Another number of lines needs another plot.
    if (lines.length !== this.lines.length) this.recolor()
    this.x = x
    this.lines = lines
    this.at.setAttribute('aria-label', sentence)
    this.draw()
  }

  /** Draws again with the colours of the present theme. */
  recolor(): void {
    this.plot?.destroy()
    this.plot = undefined
    this.draw()
  }

  /** At most once per frame. */
  private draw(): void {
    if (this.due) return
    this.due = true
    requestAnimationFrame(() => {
      this.due = false
      this.drawNow()
    })
  }

  private drawNow(): void {
    if (this.x.length < 2 || this.at.clientWidth === 0) {
      this.plot?.destroy()
      this.plot = undefined
      return
    }
    const data = [this.x, ...this.lines.map(({ y }) => y)] as uPlot.AlignedData
    if (this.plot) this.plot.setData(data)
    else this.plot = new uPlot(this.describe(), data, this.at)
  }

  private describe(): uPlot.Options {
    const { xTitle, yTitle, logarithmic, formatX = shortNumber, formatY = shortNumber } = this.options
    const [text, grid] = ['--soft', '--grid'].map(colorOf)
    const axis = {
      ...{ stroke: text, font: FONT, labelFont: FONT, labelSize: 22, labelGap: 2 },
      ...{ grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } },
    }
    const scale = logarithmic ? { distr: LOGARITHMIC as uPlot.Scale.Distr } : {}
    const values = (format: (value: number) => string) => (_: uPlot, splits: (number | null)[]) =>
      splits.map((value) => (value === null ? '' : format(value)))
    return {
      ...this.size(),
      ...{ legend: { show: false }, cursor: { show: false }, padding: [12, 12, 0, 0] },
      scales: { x: { time: false, ...scale }, y: scale },
      axes: [
        { ...axis, label: xTitle, size: 30, values: values(formatX) },
        { ...axis, label: yTitle, size: 58, values: values(formatY) },
      ],
      series: [
        {},
        ...this.lines.map(({ label, color, width = 2, dash }) => ({
          ...{ label, width, dash, stroke: colorOf(color), points: { show: false }, spanGaps: true },
        })),
      ],
    }
  }

  private size(): { width: number; height: number } {
    return { width: this.at.clientWidth, height: this.options.height }
  }
}

export const shortNumber = (value: number): string =>
  value === 0 || Math.abs(value) >= 1e-3 ? Number(value.toPrecision(3)).toLocaleString('en') : value.toExponential(0)
