/** Numbers, times and tables as text, for the terminal and for reports. */

/** `1,200`. */
export const formatCount = (count: number): string => count.toLocaleString('en')

/** `1 step`, `1,200 steps`. */
export const counted = (count: number, what: string): string => `${formatCount(count)} ${what}${count === 1 ? '' : 's'}`

/** `37.5 %`. @param share in [0, 1] */
export const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`

/** `37.5 ± 1.1 %`. @param share and its standard error, both in [0, 1] */
export const percentWithError = (share: number, error: number, digits = 1): string =>
  `${(100 * share).toFixed(digits)} ± ${(100 * error).toFixed(digits)} %`

/** `8 s`, `2 min 58 s`, `3 h 5 min`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return parts(minutes, 'min', whole % 60, 's')
  const rounded = Math.round(whole / 60)
  return parts(Math.floor(rounded / 60), 'h', rounded % 60, 'min')
}

const parts = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
  `${large} ${largeUnit}${small === 0 ? '' : ` ${small} ${smallUnit}`}`

/** `1 clean view`, `1 clean and 15 random views`. */
export const describeViews = (views: number): string =>
  views === 1 ? '1 clean view' : `1 clean and ${counted(views - 1, 'random view')}`

/** Lines of a table for a terminal: the first column is flush left, the others are flush right. */
export function alignedTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('   ')
      .trimEnd(),
  )
}

/** A Markdown table: the first column is text, the others are numbers. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((c) => c.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), line(header.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}
