// @ts-check
/** The list of runs, in which a user chooses those that are shown. */
import { swatch } from './chart.js'
import { byId, element, setText } from './dom.js'
import { number, whole } from './format.js'
import { stateNames } from './tables.js'

/** @typedef {import('../../node/watch/run_reader.js').RunSummary} RunSummary */

/** From so many runs on there is a field to find one. */
const MANY = 8

/** @type {Map<string, HTMLElement>} */
const items = new Map()

/**
 * @param {RunSummary[]} runs @param {Map<string, string>} names @param {Set<string>} selected
 * @param {(id: string, on: boolean) => void} onToggle
 */
export function showRuns(runs, names, selected, onToggle) {
  const wanted = /** @type {HTMLInputElement} */ (byId('filter')).value.trim().toLowerCase()
  byId('filter-label').hidden = runs.length < MANY
  const list = byId('runs')
  const present = new Set(runs.map(({ id }) => id))
  for (const [id, item] of items)
    if (!present.has(id)) {
      item.remove()
      items.delete(id)
    }
  for (const run of runs) {
    let item = items.get(run.id)
    if (item?.dataset.slot !== String(run.slot)) {
      item?.remove()
      items.set(run.id, (item = itemOf(run, onToggle)))
      list.append(item)
    }
    item.hidden = wanted !== '' && !run.id.toLowerCase().includes(wanted)
    const find = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (item.querySelector(selector))
    const box = /** @type {HTMLInputElement} */ (find('input'))
    box.checked = selected.has(run.id)
    setText(find('.name'), names.get(run.id) ?? run.id)
    setText(find('.state'), stateNames[run.state])
    find('.state').className = `state ${run.state}`
    const { step, steps, latest } = run
    const loss = run.diverged
      ? 'loss not finite'
      : 'metrics.loss' in latest
        ? `loss ${number(latest['metrics.loss'])}`
        : ''
    setText(find('.numbers'), step ? ` · step ${whole(step)}${loss && ` · ${loss}`}` : '')
    setText(find('.warning'), run.warning ?? '')
    const bar = /** @type {HTMLProgressElement} */ (find('progress'))
    bar.value = steps ? step / steps : 0
  }
}

/** @param {RunSummary} run @param {(id: string, on: boolean) => void} onToggle */
function itemOf({ id, slot }, onToggle) {
  const box = element('input', {
    type: 'checkbox',
    onchange: (/** @type {Event} */ event) => onToggle(id, /** @type {HTMLInputElement} */ (event.target).checked),
  })
  return element(
    'li',
    { 'data-slot': slot, title: id },
    element('label', {}, box, swatch(slot), element('span', { class: 'name' })),
    element('progress', { max: 1, 'aria-label': `Progress of ${id}` }),
    element('p', { class: 'facts' }, element('span', { class: 'state' }), element('span', { class: 'numbers' })),
    element('p', { class: 'warning' }),
  )
}
