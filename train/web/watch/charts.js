// @ts-check
/** Which charts there are, and the lines of each. */
import { Chart } from './chart.js'
import { byId, element } from './dom.js'
import { bytes, number, percent, whole } from './format.js'

/** @typedef {import('./chart.js').Line} Line */
/** @typedef {import('./chart.js').ChartEvents} ChartEvents */
/** @typedef {import('./format.js').Format} Format */
/** @typedef {import('./series_store.js').SeriesStore} SeriesStore */
/** @typedef {import('./url_state.js').Choice} Choice */
/** @typedef {import('../../node/watch/run_reader.js').RunSummary} RunSummary */
/** @typedef {{ id: string, title: string, group: string, format: Format }} Known */

const GROUPS = ['Loss', 'Readouts', 'Features', 'Training', 'Other']

/** Charts in their order, by the series that they show. @type {Record<string, [title: string, group: string, format?: Format]>} */
const known = {
  'metrics.loss': ['Loss', 'Loss'],
  'metrics.probeTop1': ['Online linear probe, top-1', 'Readouts', percent],
  'online.top1': ['Nearest neighbours, top-1', 'Readouts', percent],
  'diagnostics.alpha': ['Spectrum exponent α', 'Features'],
  'diagnostics.effectiveRank': ['Effective rank', 'Features'],
  'diagnostics.alignment': ['Alignment', 'Features'],
  'diagnostics.uniformity': ['Uniformity', 'Features'],
  'metrics.lr': ['Learning rate', 'Training'],
  'metrics.lambda': ['λ', 'Training'],
  'metrics.imagesPerSecond': ['Images per second', 'Training'],
  'metrics.waitMs': ['Wait for images, ms', 'Training'],
  'metrics.peakBytes': ['Peak memory', 'Training', bytes],
  'metrics.lossScale': ['Loss scale', 'Training'],
  'metrics.skipped': ['Skipped steps', 'Training', whole],
}

/** Series that say nothing as a chart. */
const hidden = new Set(['metrics.epoch', 'metrics.seconds', 'online.epoch', 'diagnostics.epoch', 'diagnostics.images'])
for (const name of ['k', 'bank', 'queries']) hidden.add(`online.${name}`)

/** Series that vary from step to step, which smoothing is for. */
const noisy = /^metrics\.(loss|parts\..*|probeTop1|imagesPerSecond|waitMs)$/s

const SPECTRUM = 'spectrum'
/** Earlier spectra that are drawn faintly: of one run, and of all runs together. */
const MOST_EARLIER = 4
const MOST_EARLIER_OF_ALL = 6
const axisTitles = { step: 'steps', epoch: 'epochs', hours: 'hours' }

/** The chart of a series. @param {string} series @returns {Known | undefined} */
function chartOf(series) {
  if (hidden.has(series)) return undefined
  const part = /^metrics\.parts\.(.*)$/s.exec(series)
  const [title, group, format = number] =
    series in known ? known[series] : part ? [`Loss: ${part[1]}`, 'Loss'] : [series.replace('.', ': '), 'Other']
  return { id: series.replace(/^metrics\./, ''), title, group, format }
}

/** Exponential moving average without bias towards its start. @param {number[]} values @param {number} rate in [0, 1) */
function smoothed(values, rate) {
  if (rate === 0) return values
  let average = 0
  let weight = 0
  return values.map((value) => {
    average = rate * average + (1 - rate) * value
    weight = rate * weight + (1 - rate)
    return average / weight
  })
}

/**
 * At most `most` of the items, evenly spread, the first among them.
 *
 * @template T @param {T[]} items @param {number} most
 */
const spread = (items, most) =>
  items.length <= most ? items : Array.from({ length: most }, (_, i) => items[Math.floor((i * items.length) / most)])

export class Charts {
  /** @type {Map<string, Chart>} */
  #charts = new Map()
  #events

  /** @param {ChartEvents} events */
  constructor(events) {
    this.#events = events
  }

  /**
   * Shows the charts for which some run has values.
   *
   * @param {{ run: RunSummary, name: string }[]} shown @param {SeriesStore} store @param {Choice} choice
   */
  show(shown, store, choice) {
    const names = new Set(shown.flatMap(({ run }) => Object.keys(store.series(run.id))))
    const order = [...Object.keys(known), ...[...names].filter((name) => !(name in known)).sort()]
    const present = new Set()
    for (const series of order.filter((name) => names.has(name))) {
      const chart = chartOf(series)
      if (!chart) continue
      present.add(chart.id)
      const rate = noisy.test(series) ? choice.smooth : 0
      const lines = shown.flatMap(({ run, name }) => {
        const { [series]: points } = store.series(run.id)
        return points ? [{ id: run.id, name, slot: run.slot, x: points.x, y: smoothed(points.y, rate) }] : []
      })
      this.#place(chart, lines, {
        xTitle: axisTitles[choice.axis],
        formatX: number,
        logY: choice.log.has(chart.id),
        zooms: true,
      })
    }
    if (this.#showSpectrum(shown, store)) present.add(SPECTRUM)
    for (const [id, chart] of this.#charts)
      if (!present.has(id)) {
        chart.destroy()
        this.#charts.delete(id)
      }
    for (const group of Array.from(byId('groups').children))
      /** @type {HTMLElement} */ (group).hidden = !group.querySelector('.chart')
  }

  recolor() {
    for (const chart of this.#charts.values()) chart.recolor()
  }

  /** @param {{ run: RunSummary, name: string }[]} shown @param {SeriesStore} store */
  #showSpectrum(shown, store) {
    const having = shown.filter(({ run }) => store.spectra(run.id).length > 0)
    if (having.length === 0) return false
    const most = Math.min(MOST_EARLIER, Math.floor(MOST_EARLIER_OF_ALL / having.length))
    /** @type {string[]} */
    const earlierSteps = []
    const lines = having.flatMap(({ run, name }) => {
      const spectra = store.spectra(run.id)
      const newest = spectra[spectra.length - 1]
      const earlier = spread(spectra.slice(0, -1), most)
      if (earlier.length)
        earlierSteps.push(`${having.length > 1 ? `${name} ` : ''}${earlier.map(({ step }) => whole(step)).join(', ')}`)
      const value = newest.alpha === undefined ? '' : `α ${number(newest.alpha)}`
      return [...earlier, newest].map((spectrum) => ({
        id: run.id,
        name,
        slot: run.slot,
        note: `step ${whole(spectrum.step)}`,
        value,
        x: spectrum.eigenvalues.map((_, i) => i + 1),
        y: spectrum.eigenvalues,
        faint: spectrum !== newest,
      }))
    })
    const hint = earlierSteps.length ? `Faint lines are earlier steps: ${earlierSteps.join('; ')}.` : undefined
    const chart = { id: SPECTRUM, title: 'Eigenvalues of the features', group: 'Features', format: number }
    this.#place(chart, lines, { xTitle: 'rank', formatX: whole, logX: true, logY: true, hint })
    return true
  }

  /** @param {Known} known @param {Line[]} lines @param {Omit<import('./chart.js').ChartOptions, 'id' | 'title' | 'formatY'>} rest */
  #place({ id, title, group, format }, lines, rest) {
    const options = { id, title, formatY: format, ...rest }
    let chart = this.#charts.get(id)
    if (!chart) {
      this.#charts.set(id, (chart = new Chart(options, this.#events)))
      groupAt(group).append(chart.root)
    }
    chart.show(lines, options)
  }
}

/** The grid of a group; groups stand in their order. @param {string} name */
function groupAt(name) {
  const groups = byId('groups')
  if (groups.children.length === 0)
    for (const title of GROUPS) {
      const id = `group-${title.toLowerCase()}`
      const grid = element('div', { class: 'grid' })
      groups.append(element('section', { 'aria-labelledby': id, hidden: true }, element('h2', { id }, title), grid))
    }
  const section = groups.children[GROUPS.indexOf(name)]
  return /** @type {HTMLElement} */ (section.lastElementChild)
}
