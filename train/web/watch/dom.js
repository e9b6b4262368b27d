// @ts-check
/** Small helpers for the document. */

/**
 * Makes an element.
 *
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] attributes; functions whose name begins with `on` listen
 * @param {...(Node | string | undefined)} children
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties))
    if (typeof value === 'function') made.addEventListener(name.slice(2), /** @type {EventListener} */ (value))
    else if (value === true) made.setAttribute(name, '')
    else if (value !== undefined && value !== false) made.setAttribute(name, String(value))
  made.append(...children.filter((child) => child !== undefined))
  return made
}

/**
 * The element of an id, which index.html has.
 *
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export const byId = (id) => /** @type {T} */ (document.getElementById(id))

/** Sets a text only where it differs, so that a selection in it survives. @param {Element} at @param {string} text */
export function setText(at, text) {
  if (at.textContent !== text) at.textContent = text
}

/**
 * Fills a table: a header row, then rows whose first cell is their header. Nothing is touched where nothing changed.
 *
 * @param {HTMLElement} table
 * @param {string} caption for screen readers
 * @param {string[]} header
 * @param {(string | Node)[][]} rows
 */
export function fillTable(table, caption, header, rows) {
  const key = JSON.stringify([
    caption,
    header,
    rows.map((row) => row.map((cell) => (typeof cell === 'string' ? cell : cell.textContent))),
  ])
  if (table.dataset.key === key) return
  table.dataset.key = key
  const body = rows.map((row) =>
    element(
      'tr',
      {},
      ...row.map((cell, i) => (i === 0 ? element('th', { scope: 'row' }, cell) : element('td', {}, cell))),
    ),
  )
  table.replaceChildren(
    element('caption', { class: 'unseen' }, caption),
    element('thead', {}, element('tr', {}, ...header.map((text) => element('th', { scope: 'col' }, text)))),
    element('tbody', {}, ...body),
  )
}
