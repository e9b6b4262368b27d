// @ts-check
/** What a user chose, kept in the page's address, so that a reload and a shared link show the same. */

/** @typedef {import('../../node/watch/run_reader.js').Axis} Axis */

/**
 * @typedef {object} Choice
 * @property {string[] | undefined} runs those that are shown; undefined until somebody chooses
 * @property {Axis} axis
 * @property {[number, number] | undefined} range of x
 * @property {number} smooth in [0, 1)
 * @property {Set<string>} log charts with a logarithmic axis
 * @property {boolean} allFields show all fields of the configuration
 */

/** @returns {Choice} */
export function readChoice() {
  const search = new URLSearchParams(location.search)
  const axis = search.get('axis')
  const range = (search.get('range') ?? '').split('..').map(Number)
  const smooth = Number(search.get('smooth'))
  return {
    runs: search.has('run') ? search.getAll('run').filter((id) => id !== '') : undefined,
    axis: axis === 'epoch' || axis === 'hours' ? axis : 'step',
    range: range.length === 2 && range[0] < range[1] ? [range[0], range[1]] : undefined,
    smooth: smooth > 0 && smooth < 1 ? smooth : 0,
    log: new Set(search.getAll('log')),
    allFields: search.has('fields'),
  }
}

/** @param {Choice} choice */
export function writeChoice({ runs, axis, range, smooth, log, allFields }) {
  const search = new URLSearchParams()
  for (const id of runs?.length === 0 ? [''] : (runs ?? [])) search.append('run', id)
  if (axis !== 'step') search.set('axis', axis)
  if (range) search.set('range', range.join('..'))
  if (smooth) search.set('smooth', String(smooth))
  for (const id of log) search.append('log', id)
  if (allFields) search.set('fields', 'all')
  // Slashes in names of runs may stand in a query as they are.
  const text = search.toString().replaceAll('%2F', '/')
  history.replaceState(null, '', text ? `?${text}` : location.pathname)
}

const THEME = 'webgpu-ssl-theme'

/** `system`, `light` or `dark`. */
export function readTheme() {
  try {
    return localStorage.getItem(THEME) ?? 'system'
  } catch {
    return 'system'
  }
}

/** @param {string} theme */
export function writeTheme(theme) {
  try {
    localStorage.setItem(THEME, theme)
  } catch {
    // Storage may be switched off; the theme then lasts until the reload.
  }
}
