// @ts-check
/** The series of the runs that are shown, as far as the server has sent them. */

/** @typedef {import('../../node/watch/run_reader.js').SeriesAnswer} SeriesAnswer */
/** @typedef {import('../../node/watch/run_reader.js').SpectrumLine} SpectrumLine */
/** @typedef {import('../../node/watch/run_reader.js').RunSummary} RunSummary */
/** @typedef {import('../../node/watch/thin.js').Points} Points */
/** @typedef {Pick<import('./url_state.js').Choice, 'axis' | 'range'>} Window */

/**
 * @typedef {object} Held
 * @property {Record<string, Points>} series
 * @property {SpectrumLine[]} spectra
 * @property {string} [cursor] for what comes after
 * @property {string} [key] the revision and window that these belong to
 * @property {string} [spectraKey]
 * @property {Promise<void>} [loading]
 */

/** The server thins to 2,000 points. A series that has grown beyond this is asked for anew, thinned as a whole. */
const MOST_POINTS = 6000

export class SeriesStore {
  /** @type {Map<string, Held>} */
  #held = new Map()
  #onChange

  /** @param {() => void} onChange called after series arrived */
  constructor(onChange) {
    this.#onChange = onChange
  }

  /** @param {string} id @returns {Record<string, Points>} */
  series = (id) => this.#held.get(id)?.series ?? {}

  /** @param {string} id @returns {SpectrumLine[]} */
  spectra = (id) => this.#held.get(id)?.spectra ?? []

  /** Whether the first series of a run are on their way. @param {string} id */
  loads = (id) => {
    const held = this.#held.get(id)
    return !held || (held.loading !== undefined && Object.keys(held.series).length === 0)
  }

  /** @param {string} id */
  forget = (id) => void this.#held.delete(id)

  /** Asks for everything again at the next update: the server may be another one. */
  expire() {
    for (const held of this.#held.values()) held.cursor = held.key = held.spectraKey = undefined
  }

  /** Asks the server for what is missing. One request a run at a time. @param {RunSummary} run @param {Window} window */
  update(run, window) {
    let held = this.#held.get(run.id)
    if (!held) this.#held.set(run.id, (held = { series: {}, spectra: [] }))
    const key = JSON.stringify([run.revision, window.axis, window.range])
    if (held.loading || held.key === key) return
    const entry = held
    entry.loading = this.#load(entry, run, window)
      .catch(() => {
        // The next change asks again; the state of the connection is shown elsewhere.
        entry.cursor = entry.spectraKey = undefined
      })
      .finally(() => {
        entry.key = key
        entry.loading = undefined
        this.#onChange()
      })
  }

  /** @param {Held} held @param {RunSummary} run @param {Window} window */
  async #load(held, run, { axis, range }) {
    const query = new URLSearchParams({ run: run.id, axis })
    if (range) {
      query.set('from', String(range[0]))
      query.set('to', String(range[1]))
    } else if (held.cursor) query.set('since', held.cursor)
    const answer = /** @type {SeriesAnswer} */ (await ask(`/api/series?${query}`))
    if (answer.appends) append(held.series, answer.series)
    else held.series = answer.series
    const tooMany = Object.values(held.series).some(({ x }) => x.length > MOST_POINTS)
    held.cursor = range || tooMany ? undefined : answer.cursor
    const diagnosed = Object.entries(run.latest).filter(([name]) => name.startsWith('diagnostics.'))
    const spectraKey = JSON.stringify(diagnosed)
    if (held.spectraKey === spectraKey) return
    held.spectra = diagnosed.length ? await ask(`/api/spectra?${new URLSearchParams({ run: run.id })}`) : []
    held.spectraKey = spectraKey
  }
}

/** @param {string} url */
async function ask(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${response.status}`)
  return response.json()
}

/** @param {Record<string, Points>} all @param {Record<string, Points>} added */
function append(all, added) {
  for (const [name, { x, y }] of Object.entries(added)) {
    const points = (all[name] ??= { x: [], y: [] })
    points.x.push(...x)
    points.y.push(...y)
  }
}
