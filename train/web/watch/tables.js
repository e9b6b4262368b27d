// @ts-check
/** The tables of latest values and of the configuration, and the latest views. */
import { swatch } from './chart.js'
import { byId, element, fillTable, setText } from './dom.js'
import { bytes, duration, number, percent, whole } from './format.js'

/** @typedef {import('../../node/watch/run_reader.js').RunSummary} RunSummary */
/** @typedef {{ run: RunSummary, name: string }} Shown */

export const stateNames = { waiting: 'no step yet', running: 'running', stopped: 'stopped', ended: 'ended' }

/** Seconds that a running run will still take, by its mean so far. @param {RunSummary} run */
function secondsLeft({ state, step, steps, latest }) {
  const seconds = latest['metrics.seconds']
  return state === 'running' && steps && step && seconds ? ((steps - step) * seconds) / step : undefined
}

/** @param {number | undefined} value @param {import('./format.js').Format} format */
const shownAs = (value, format) => (value === undefined ? '–' : format(value))

/** Columns of the latest values; those that no run has are left out. @type {[title: string, text: (run: RunSummary) => string][]} */
const columns = [
  ['State', ({ state }) => stateNames[state]],
  ['Step', ({ step, steps }) => (steps ? `${whole(step)} of ${whole(steps)}` : whole(step))],
  ['Time left', (run) => shownAs(secondsLeft(run), duration)],
  ['Loss', ({ latest, diverged }) => (diverged ? 'not finite' : shownAs(latest['metrics.loss'], number))],
  ['kNN top-1', ({ latest }) => shownAs(latest['online.top1'], percent)],
  ['Probe top-1', ({ latest }) => shownAs(latest['metrics.probeTop1'], percent)],
  ['α', ({ latest }) => shownAs(latest['diagnostics.alpha'], number)],
  ['Effective rank', ({ latest }) => shownAs(latest['diagnostics.effectiveRank'], number)],
  ['Images/s', ({ latest }) => shownAs(latest['metrics.imagesPerSecond'], number)],
  ['Memory', ({ latest }) => shownAs(latest['metrics.peakBytes'], bytes)],
  ['Trained', ({ latest }) => shownAs(latest['metrics.seconds'], duration)],
]

/** @param {Shown[]} shown */
export function showLatest(shown) {
  const used = columns.filter(([, text]) => shown.some(({ run }) => text(run) !== '–'))
  const rows = shown.map(({ run, name }) => [
    named(run, name),
    ...used.map(([title, text]) =>
      title === 'State' ? element('span', { class: `state ${run.state}` }, text(run)) : text(run),
    ),
  ])
  fillTable(byId('latest'), 'Latest values of each run', ['Run', ...used.map(([title]) => title)], rows)
  byId('latest-title').parentElement?.toggleAttribute('hidden', shown.length === 0)
}

/** @param {RunSummary} run @param {string} name */
const named = (run, name) => element('span', { class: 'named', title: run.id }, swatch(run.slot), name)

/** @param {Shown[]} shown @param {boolean} allFields */
export function showConfiguration(shown, allFields) {
  const fields = [...new Set(shown.flatMap(({ run }) => Object.keys(run.config)))]
  const differing = fields.filter((field) => new Set(shown.map(({ run }) => run.config[field])).size > 1)
  const listed = allFields ? fields : differing
  const note =
    shown.length === 0
      ? ''
      : shown.length === 1
        ? 'Choose a second run to see what differs.'
        : differing.length === 0
          ? 'These runs have the same configuration.'
          : `${differing.length} of ${fields.length} fields differ.`
  setText(byId('config-note'), note)
  const rows = listed.map((field) => [
    field,
    ...shown.map(({ run }) =>
      differing.includes(field) && allFields
        ? element('mark', {}, run.config[field] ?? '–')
        : (run.config[field] ?? '–'),
    ),
  ])
  const header = rows.length ? ['Field', ...shown.map(({ name }) => name)] : []
  fillTable(byId('config'), allFields ? 'All fields' : 'Fields that differ', header, rows)
  byId('config-section').hidden = shown.length === 0
}

/** @param {Shown[]} shown */
export function showViews(shown) {
  const having = shown.filter(({ run }) => run.views !== undefined)
  byId('views-section').hidden = having.length === 0
  const at = byId('views')
  const key = JSON.stringify(having.map(({ run, name }) => [run.id, name, run.views]))
  if (at.dataset.key === key) return
  at.dataset.key = key
  at.replaceChildren(
    ...having.map(({ run, name }) => {
      const url = `/api/views?${new URLSearchParams({ run: run.id, version: String(run.views) })}`
      return element(
        'figure',
        {},
        element('a', { href: url, target: '_blank' }, element('img', { src: url, alt: `Latest views of ${name}` })),
        element('figcaption', {}, named(run, name)),
      )
    }),
  )
}
