// @ts-check
/** The page: follows the server's events, keeps what the user chose, and draws. */
import { Charts } from './charts.js'
import { byId, setText } from './dom.js'
import { number, shortNames, whole } from './format.js'
import { showRuns } from './run_list.js'
import { SeriesStore } from './series_store.js'
import { showConfiguration, showLatest, showViews, stateNames } from './tables.js'
import { readChoice, readTheme, writeChoice, writeTheme } from './url_state.js'

/** @typedef {import('../../node/watch/run_reader.js').RunSummary} RunSummary */
/** @typedef {import('../../node/watch/server.js').RunsEvent} RunsEvent */

/** So many runs are shown before a user chooses: each has a colour of its own. */
const SHOWN_AT_FIRST = 8
/** A screen reader is told of new values this often. */
const NEWS_MS = 30_000
/** The page is drawn this often at most. */
const DRAW_MS = 200

const choice = readChoice()
/** @type {Map<string, RunSummary>} */
const runs = new Map()
const store = new SeriesStore(() => drawSoon())
const charts = new Charts({
  onRange(range) {
    choice.range = range && [Number(range[0].toPrecision(6)), Number(range[1].toPrecision(6))]
    changed()
  },
  onLog(id) {
    if (!choice.log.delete(id)) choice.log.add(id)
    changed()
  },
})

/** Whether the server has told which runs there are. */
let told = false

/** Runs in the order in which the server found them. */
const sorted = () => [...runs.values()].sort((a, b) => a.slot - b.slot)

/** The runs that are shown: those chosen, or at first the ones that changed last. @returns {Set<string>} */
function selection() {
  if (choice.runs) return new Set(choice.runs)
  const newest = [...runs.values()].sort((a, b) => b.changedAt - a.changedAt || a.slot - b.slot)
  return new Set(newest.slice(0, SHOWN_AT_FIRST).map(({ id }) => id))
}

function changed() {
  writeChoice(choice)
  showControls()
  draw()
}

let drawing = 0
function drawSoon() {
  drawing ||= window.setTimeout(draw, DRAW_MS)
}

function draw() {
  window.clearTimeout(drawing)
  drawing = 0
  const all = sorted()
  const names = shortNames(all.map(({ id }) => id))
  const selected = selection()
  const shown = all.filter(({ id }) => selected.has(id)).map((run) => ({ run, name: names.get(run.id) ?? run.id }))
  for (const { run } of shown) store.update(run, choice)
  showRuns(all, names, selected, toggle)
  showLatest(shown)
  charts.show(shown, store, choice)
  showViews(shown)
  showConfiguration(shown, choice.allFields)
  const running = all.filter(({ state }) => state === 'running').length
  document.title = `${running ? `${running} running` : 'Runs'} · webgpu-ssl`
  const note = noteFor(all, shown)
  setText(byId('empty'), note)
  byId('empty').hidden = note === ''
  tellNews(shown)
}

/** What stands in the place of charts. @param {RunSummary[]} all @param {{ run: RunSummary }[]} shown */
function noteFor(all, shown) {
  if (!told) return 'Loading runs …'
  if (all.length === 0) return 'There is no run in these folders yet. A new one appears here by itself.'
  if (shown.length === 0) return 'No run is chosen. Choose some in the list.'
  return shown.every(({ run }) => store.loads(run.id)) ? 'Loading charts …' : ''
}

/** @param {string} id @param {boolean} on */
function toggle(id, on) {
  const selected = selection()
  if (on) selected.add(id)
  else selected.delete(id)
  choice.runs = sorted()
    .map((run) => run.id)
    .filter((one) => selected.has(one))
  changed()
}

let toldAt = 0
/** @param {{ run: RunSummary, name: string }[]} shown */
function tellNews(shown) {
  const now = performance.now()
  if (shown.length === 0 || (toldAt && now - toldAt < NEWS_MS)) return
  toldAt = now
  const parts = shown.map(({ run: { state, step, latest, diverged }, name }) => {
    const loss = diverged
      ? ', loss not finite'
      : 'metrics.loss' in latest
        ? `, loss ${number(latest['metrics.loss'])}`
        : ''
    return `${name}: ${stateNames[state]}, step ${whole(step)}${loss}`
  })
  setText(byId('news'), parts.join('. '))
}

function showControls() {
  const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id))
  for (const radio of Array.from(document.querySelectorAll('input[name=axis]'))) {
    const { value } = /** @type {HTMLInputElement} */ (radio)
    ;/** @type {HTMLInputElement} */ (radio).checked = value === choice.axis
  }
  input('from').value = choice.range ? String(choice.range[0]) : ''
  input('to').value = choice.range && choice.range[1] < Number.MAX_VALUE ? String(choice.range[1]) : ''
  ;/** @type {HTMLButtonElement} */ (byId('reset')).disabled = !choice.range
  input('smooth').value = String(choice.smooth)
  input('smooth').setAttribute('aria-valuetext', choice.smooth ? `${Math.round(100 * choice.smooth)} %` : 'none')
  input('all-fields').checked = choice.allFields
}

function listenToControls() {
  const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id))
  byId('controls').addEventListener('submit', (event) => event.preventDefault())
  for (const radio of Array.from(document.querySelectorAll('input[name=axis]')))
    radio.addEventListener('change', () => {
      choice.axis = /** @type {import('./url_state.js').Axis} */ (/** @type {HTMLInputElement} */ (radio).value)
      choice.range = undefined
      changed()
    })
  for (const id of ['from', 'to'])
    byId(id).addEventListener('change', () => {
      const from = Number(input('from').value)
      const to = input('to').value === '' ? Number.MAX_VALUE : Number(input('to').value)
      choice.range = (from > 0 || to < Number.MAX_VALUE) && from < to ? [from, to] : undefined
      changed()
    })
  byId('reset').addEventListener('click', () => {
    choice.range = undefined
    changed()
  })
  byId('smooth').addEventListener('input', () => {
    choice.smooth = Number(input('smooth').value)
    changed()
  })
  byId('all-fields').addEventListener('change', () => {
    choice.allFields = input('all-fields').checked
    changed()
  })
  byId('filter').addEventListener('input', draw)
  byId('select-all').addEventListener('click', () => {
    choice.runs = sorted().map(({ id }) => id)
    changed()
  })
  byId('select-none').addEventListener('click', () => {
    choice.runs = []
    changed()
  })
}

function listenToTheme() {
  const select = /** @type {HTMLSelectElement} */ (byId('theme'))
  const apply = () => {
    document.documentElement.dataset.theme = select.value
    charts.recolor()
  }
  select.value = readTheme()
  select.addEventListener('change', () => {
    writeTheme(select.value)
    apply()
  })
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.recolor())
  apply()
}

/** @type {EventSource | undefined} */
let source

/** Follows the server while the page is visible: a browser has few connections, and tabs share them. */
function follow() {
  if (document.hidden) {
    source?.close()
    source = undefined
    connection('Paused', false)
    return
  }
  if (source) return
  source = new EventSource('/api/events')
  source.addEventListener('open', () => connection('Live', true))
  source.addEventListener('error', () => {
    connection('Not connected. Trying again …', false)
    // A browser gives up where the server refused.
    if (source?.readyState !== EventSource.CLOSED) return
    source = undefined
    window.setTimeout(follow, 3000)
  })
  source.addEventListener('runs', (event) => {
    const { all, runs: some, gone } = /** @type {RunsEvent} */ (JSON.parse(event.data))
    told = true
    if (all) {
      runs.clear()
      store.expire()
    }
    for (const id of gone) {
      runs.delete(id)
      store.forget(id)
    }
    for (const run of some) runs.set(run.id, run)
    drawSoon()
  })
}

/** @param {string} text @param {boolean} live */
function connection(text, live) {
  setText(byId('connection'), text)
  byId('connection').classList.toggle('live', live)
}

showControls()
listenToControls()
listenToTheme()
document.addEventListener('visibilitychange', follow)
follow()
