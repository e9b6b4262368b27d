/** Measured values as text. */
import { deviation, finite, mean, type Summary } from './statistics.js'

/** Three significant digits; exponents only below 0.001 and from 10⁷; a dash for a value that is not finite. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size < 1e-3 || size >= 1e7) return value.toExponential(1)
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)))
  return value.toFixed(Math.min(digits, 4))
}

/** `12.3 [12.1–12.9]`: a median with its quartiles, each multiplied by `factor`. */
export const medianText = ({ median, low, high }: Summary, factor = 1): string =>
  `${figure(factor * median)} [${figure(factor * low)}–${figure(factor * high)}]`

/** `12.3 ms [12.1–12.9]`, from seconds. */
export const milliseconds = (seconds: Summary): string => medianText(seconds, 1000).replace(' ', ' ms ')

/** `22.1 MiB`, from bytes. */
export const mebibytes = (bytes: number): string => `${figure(bytes / 2 ** 20)} MiB`

/** `86.43 ± 0.72`: mean and standard deviation over the finite values; a dash if there are none. */
export function meanAndSpread(values: readonly number[], digits = 2): string {
  const list = finite(values)
  if (list.length === 0) return '–'
  const centre = mean(list).toFixed(digits)
  return list.length === 1 ? centre : `${centre} ± ${deviation(list).toFixed(digits)}`
}
