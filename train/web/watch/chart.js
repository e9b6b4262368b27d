// @ts-check
/** One chart: lines of several runs with a legend, a sentence and a table that say the same. */
import uPlot from 'uplot'
import { element, fillTable, setText } from './dom.js'
import { bytes } from './format.js'

/** @typedef {import('./format.js').Format} Format */

/**
 * @typedef {object} Line
 * @property {string} id of the run
 * @property {string} name
 * @property {number} slot of the run, for its colour
 * @property {string} [note] shown beside the name
 * @property {string} [value] shown while the cursor is elsewhere; by default the latest value
 * @property {boolean} [faint] an earlier state of a run: drawn faintly, and neither in the legend nor in the table
 * @property {number[]} x ascending
 * @property {number[]} y
 */

/**
 * @typedef {object} ChartOptions
 * @property {string} id
 * @property {string} title
 * @property {string} xTitle
 * @property {Format} formatX
 * @property {Format} formatY
 * @property {boolean} [logX]
 * @property {boolean} logY
 * @property {boolean} [zooms] dragging chooses a range of x
 * @property {string} [hint] a sentence below the chart
 */

/**
 * @typedef {object} ChartEvents
 * @property {(range: [number, number] | undefined) => void} onRange
 * @property {(id: string) => void} onLog the button for a logarithmic axis
 */

const COLORS = 8
const DASHES = [[], [9, 4], [2, 3], [9, 3, 2, 3]]
const HEIGHT = 220
const FAINT = 0.28
/** Pixels of the dot on a line at the cursor. */
const DOT = 6
const TABLE_ROWS = 12
/** Steps of an axis of bytes. */
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, i) => 2 ** i)
const FONT = '12px system-ui, sans-serif'

/** The names of the style's variables for a run's colour. @param {number} slot */
export const colorOf = (slot) => `--run-${(slot % COLORS) + 1}`

/** A colour of the style in the present theme, as a canvas wants it. @param {string} variable */
function colorIn(variable) {
  const probe = element('span', { hidden: true })
  probe.style.color = `var(${variable})`
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

/** A short piece of a run's line, as legends show it. @param {number} slot */
export function swatch(slot) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('class', 'swatch')
  svg.setAttribute('viewBox', '0 0 22 6')
  svg.setAttribute('aria-hidden', 'true')
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  line.setAttribute('d', 'M1 3h20')
  line.setAttribute('stroke-dasharray', dashOf(slot).join(' ') || 'none')
  line.style.stroke = `var(${colorOf(slot)})`
  svg.append(line)
  return svg
}

/** Not every browser has idle callbacks. @param {() => void} work */
const whenIdle = (work) => void ('requestIdleCallback' in window ? requestIdleCallback(work) : setTimeout(work, 200))

/** @param {number} slot */
const dashOf = (slot) => DASHES[Math.floor(slot / COLORS) % DASHES.length]

export class Chart {
  /** @type {uPlot | undefined} */
  #plot
  /** All lines that are drawn. @type {Line[]} */
  #drawn = []
  /** Those that are not faint. @type {Line[]} */
  #lines = []
  /** @type {ChartOptions} */
  #options
  #events
  #shape = ''
  #stale = true
  #visible = false
  #logButton
  #plotAt = element('div', { class: 'plot', role: 'img' })
  #legend = element('ul', { class: 'legend' })
  #hint = element('p', { class: 'faint' })
  #table = element('table')
  #details = element('details', { ontoggle: () => this.#fillTable() })
  #observers

  /** @param {ChartOptions} options @param {ChartEvents} events */
  constructor(options, events) {
    this.#options = options
    this.#events = events
    const { id, title } = options
    this.#logButton = element(
      'button',
      { type: 'button', class: 'log', 'aria-label': `${title}: logarithmic axis`, onclick: () => events.onLog(id) },
      'log',
    )
    this.#details.append(
      element('summary', {}, 'Table', element('span', { class: 'unseen' }, ` of ${title}`)),
      element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Table of ${title}` }, this.#table),
    )
    this.root = element(
      'section',
      { class: 'chart', 'aria-labelledby': `title-${id}`, 'data-chart': id },
      element('header', {}, element('h3', { id: `title-${id}` }, title), this.#logButton),
      this.#plotAt,
      this.#legend,
      this.#hint,
      this.#details,
    )
    const resized = new ResizeObserver(() => this.#plot?.setSize({ width: this.#plotAt.clientWidth, height: HEIGHT }))
    resized.observe(this.#plotAt)
    // Charts out of sight are drawn when the browser has time, or when somebody scrolls to them.
    const seen = new IntersectionObserver(
      (entries) => {
        this.#visible = entries[entries.length - 1].isIntersecting
        if (this.#visible && this.#stale) this.#draw()
      },
      { rootMargin: '200px' },
    )
    seen.observe(this.root)
    this.#observers = [resized, seen]
  }

  /** @param {Line[]} lines @param {ChartOptions} options */
  show(lines, options) {
    this.#options = options
    // The lines of the present come last, on top of the faint ones.
    this.#lines = lines.filter(({ faint }) => !faint)
    this.#drawn = [...lines.filter(({ faint }) => faint), ...this.#lines]
    setText(this.#hint, options.hint ?? '')
    this.#hint.hidden = !options.hint
    this.#logButton.setAttribute('aria-pressed', String(options.logY))
    this.#logButton.hidden = !options.zooms || !lines.some(({ y }) => y.some((value) => value > 0))
    this.#plotAt.setAttribute('aria-label', this.#sentence())
    this.#fillLegend()
    this.#fillTable()
    this.#drawSoon()
  }

  /** Draws again with the colours of the present theme. */
  recolor() {
    this.#shape = ''
    this.#drawSoon()
  }

  #drawSoon() {
    this.#stale = true
    if (this.#visible) this.#draw()
    else
      whenIdle(() => {
        if (this.#stale && this.root.isConnected) this.#draw()
      })
  }

  destroy() {
    for (const observer of this.#observers) observer.disconnect()
    this.#plot?.destroy()
    this.root.remove()
  }

  #draw() {
    this.#stale = false
    const { logX, logY, xTitle } = this.#options
    const data = joined(this.#drawn, logX, logY)
    const shape = JSON.stringify([logX, logY, xTitle, this.#drawn.map(({ id, slot, faint }) => [id, slot, faint])])
    if (shape === this.#shape && this.#plot) {
      this.#plot.setData(data)
      return
    }
    this.#shape = shape
    this.#plot?.destroy()
    this.#plot = new uPlot(this.#plotOptions(), data, this.#plotAt)
  }

  /** @returns {uPlot.Options} */
  #plotOptions() {
    const { formatX, formatY, logX, logY, xTitle, zooms } = this.#options
    const colors = { axis: colorIn('--faint'), grid: colorIn('--grid'), card: colorIn('--card') }
    /** @param {Format} format @returns {uPlot.Axis} */
    const axis = (format) => ({
      stroke: colors.axis,
      font: FONT,
      grid: { stroke: colors.grid, width: 1 },
      ticks: { show: false },
      values: (_, splits) => splits.map((value) => (value === null ? '' : format(value))),
    })
    const logTicks = { filter: sparseTicks, grid: { stroke: colors.grid, width: 1, filter: sparseTicks } }
    return {
      width: this.#plotAt.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      padding: [10, 26, 0, 0],
      scales: {
        x: { time: false, distr: logX ? 3 : 1 },
        y: { distr: logY ? 3 : 1 },
      },
      axes: [
        { ...axis(formatX), ...(logX && logTicks), label: xTitle, labelFont: FONT, labelSize: 18, size: 28 },
        { ...axis(formatY), ...(logY && logTicks), ...(formatY === bytes && { incrs: POWERS_OF_TWO }), size: axisSize },
      ],
      series: [
        {},
        ...this.#drawn.map(({ name, slot, faint }) => ({
          label: name,
          stroke: colorIn(colorOf(slot)),
          alpha: faint ? FAINT : 1,
          width: faint ? 1 : 1.6,
          dash: dashOf(slot),
          points: faint ? { show: false } : { fill: colors.card },
          spanGaps: true,
        })),
      ],
      cursor: {
        ...(zooms && { sync: { key: 'runs' } }),
        points: { size: (_, series) => (this.#drawn[series - 1]?.faint ? 0 : DOT) },
        drag: { x: Boolean(zooms), y: false, setScale: false },
        bind: {
          dblclick: () => () => {
            if (zooms) this.#events.onRange(undefined)
            return null
          },
        },
      },
      hooks: { setCursor: [() => this.#fillLegend()], setSelect: [(plot) => this.#zoom(plot)] },
    }
  }

  /** @param {uPlot} plot */
  #zoom(plot) {
    const { left, width } = plot.select
    if (width < 3) return
    const range = /** @type {[number, number]} */ ([plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')])
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
    this.#events.onRange(range)
  }

  /** Values at the cursor, or else the latest. */
  #fillLegend() {
    const { formatY } = this.#options
    const at = this.#plot?.cursor.idx
    const x = at === null || at === undefined ? Infinity : (this.#plot?.data[0][at] ?? Infinity)
    while (this.#legend.children.length > this.#lines.length) this.#legend.lastElementChild?.remove()
    this.#lines.forEach((line, i) => {
      const { id, name, slot, note } = line
      const key = JSON.stringify([id, slot, name])
      let item = /** @type {HTMLElement | undefined} */ (this.#legend.children[i])
      if (item?.dataset.key !== key) {
        const made = element(
          'li',
          { 'data-key': key },
          swatch(slot),
          element('span', { class: 'name', title: id }, name),
          element('span', { class: 'note' }),
          element('b', {}),
        )
        if (item) item.replaceWith(made)
        else this.#legend.append(made)
        item = made
      }
      setText(item.children[2], note ?? '')
      const value = x === Infinity ? line.value : undefined
      setText(item.children[3], value ?? (line.y.length ? formatY(line.y[indexAt(line.x, x)]) : '–'))
    })
  }

  /** What the picture shows, for those who do not see it. */
  #sentence() {
    const { title, xTitle, formatX, formatY } = this.#options
    const parts = this.#lines.map(({ name, x, y, note, value }) => {
      if (y.length === 0) return `${name}: no values yet`
      const range = `from ${formatY(least(y))} to ${formatY(-least(y.map((value) => -value)))}`
      const latest = `latest ${formatY(y[y.length - 1])} at ${formatX(x[x.length - 1])}`
      return `${name}${note ? ` (${note})` : ''}: ${value ?? latest}, ${range}`
    })
    return `${title} by ${xTitle}. ${parts.join('. ')}.`
  }

  /** Some values of each line, while the table is open. */
  #fillTable() {
    if (!(/** @type {HTMLDetailsElement} */ (this.#details).open)) return
    const { title, xTitle, formatX, formatY } = this.#options
    const lines = this.#lines.filter(({ x }) => x.length > 0)
    const low = least(lines.map(({ x }) => x[0]))
    const high = -least(lines.map(({ x }) => -x[x.length - 1]))
    const count = lines.length ? TABLE_ROWS : 0
    const rows = Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (TABLE_ROWS - 1)).map((x) => [
      formatX(x),
      ...lines.map((line) => (x < line.x[0] ? '–' : formatY(line.y[indexAt(line.x, x)]))),
    ])
    fillTable(this.#table, `${title}, the last value at each place`, [xTitle, ...lines.map(({ name }) => name)], rows)
  }
}

/** The index of the last of some ascending numbers that is at most `limit`, or 0. @param {number[]} x @param {number} limit */
function indexAt(x, limit) {
  let low = 0
  let high = x.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (x[middle] > limit) high = middle
    else low = middle + 1
  }
  return Math.max(0, low - 1)
}

/** @param {number[]} values */
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity)

/**
 * The lines over one list of x, as uPlot wants them. A logarithmic axis has no place for values up to 0.
 *
 * @param {Line[]} lines @param {boolean | undefined} logX @param {boolean} logY
 * @returns {uPlot.AlignedData}
 */
function joined(lines, logX, logY) {
  const tables = lines.map(({ x, y }) => {
    const kept = x.map((_, i) => i).filter((i) => (!logX || x[i] > 0) && (!logY || y[i] > 0))
    return /** @type {uPlot.AlignedData} */ ([kept.map((i) => x[i]), kept.map((i) => y[i])])
  })
  const filled = tables.filter(([x]) => x.length > 0)
  if (filled.length === 0) return /** @type {uPlot.AlignedData} */ ([[], ...lines.map(() => [])])
  return uPlot.join(tables)
}

/** Room for the longest label. @type {uPlot.Axis.Size} */
const axisSize = (_, values) => 16 + 6.6 * Math.max(3, ...(values ?? []).map((value) => value.length))

/** More powers of ten than these have no room for labels between them. */
const FEW_DECADES = 3

/** On a logarithmic axis labels at 1, 2 and 5 times powers of ten suffice, or at powers of ten. @type {uPlot.Axis.Filter} */
const sparseTicks = (_, splits) => {
  const decades = Math.log10(splits[splits.length - 1] / splits[0])
  const labelled = decades > FEW_DECADES ? /^1(\.0*)?e/ : /^[125](\.0*)?e/
  return splits.map((value) => (labelled.test(value.toExponential(6)) ? value : null))
}
