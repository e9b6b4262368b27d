// @ts-check
/** Numbers as text. */

/** @typedef {(value: number) => string} Format */

/** About four digits. @type {Format} */
export function number(value) {
  const size = Math.abs(value)
  if (size === 0) return '0'
  if (size >= 1e6 || size < 1e-3)
    return value
      .toExponential(2)
      .replace(/\.?0+e/, 'e')
      .replace('e+', 'e')
  if (size >= 1000) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(4)))
}

/** @type {Format} */
export const whole = (value) => Math.round(value).toLocaleString('en')

/** A share in [0, 1]. @type {Format} */
export const percent = (value) => `${(100 * value).toFixed(1)} %`

/** @type {Format} */
export function bytes(value) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB']
  const unit = value > 0 ? Math.min(3, Math.floor(Math.log2(value) / 10)) : 0
  return `${Number((value / 1024 ** unit).toPrecision(3))} ${units[unit]}`
}

/** Seconds as the two largest units. @type {Format} */
export function duration(seconds) {
  const minutes = Math.round(seconds / 60)
  if (seconds < 59.5) return `${Math.round(seconds)} s`
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/**
 * Short names for runs: the paths without the folders that all share.
 *
 * @param {string[]} ids @returns {Map<string, string>}
 */
export function shortNames(ids) {
  const paths = ids.map((id) => id.split('/'))
  let shared = 0
  while (paths.length && paths.every((path) => path.length > shared + 1 && path[shared] === paths[0][shared])) shared++
  return new Map(ids.map((id, i) => [id, paths[i].slice(shared).join('/')]))
}
