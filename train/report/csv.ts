/** Lines of a run's files as a table by RFC 4180: a header, then a row a line, each ended by CR LF. */

/** A line of metrics.jsonl or of another file of a run; `parts` gives a column for each part of the loss. */
export type TableLine = object

/** The order of columns. Fields that are not named here follow in order of appearance. */
const ORDER = [
  'step',
  'steps',
  'epoch',
  'seconds',
  'loss',
  'parts',
  'lr',
  'lambda',
  'probeTop1',
  'lossScale',
  'skipped',
  'imagesPerSecond',
  'waitMs',
  'peakBytes',
]

/** The columns that some lines need: the union of their fields in a fixed order. Lists such as eigenvalues are left out. */
export function csvColumns(lines: Iterable<TableLine>): string[] {
  const seen = new Set<string>()
  for (const line of lines) for (const name of Object.keys(cells(line))) seen.add(name)
  const place = (name: string): number => {
    const at = ORDER.indexOf(name.replace(/^parts\..*/s, 'parts'))
    return at < 0 ? ORDER.length : at
  }
  return [...seen].sort((a, b) => place(a) - place(b))
}

/** Whether a table with these columns has a place for every field of a line; where it has none, write the table anew. */
export const csvFits = (columns: readonly string[], line: TableLine): boolean =>
  Object.keys(cells(line)).every((name) => columns.includes(name))

/** The first line of a table. */
export const csvHeader = (columns: readonly string[]): string => rowOf(columns)

/**
 * One row, to append to a table. A field that is absent is an empty cell.
 *
 * @throws where the line has a field that is not among the columns
 */
export function csvRow(columns: readonly string[], line: TableLine): string {
  const values = cells(line)
  const missing = Object.keys(values).find((name) => !columns.includes(name))
  if (missing !== undefined) throw new Error(`csv: a line has the field '${missing}', but the table has no such column`)
  return rowOf(columns.map((name) => values[name] ?? ''))
}

/** A whole table. */
export function csvTable(lines: readonly TableLine[]): string {
  const columns = csvColumns(lines)
  return csvHeader(columns) + lines.map((line) => csvRow(columns, line)).join('')
}

/** Reads a table back: rows of cells as text, the header first. A half-written last row is left out. */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n)/y
  for (let match = cell.exec(text); match; match = cell.exec(text)) {
    row.push(match[1]?.replaceAll('""', '"') ?? match[2])
    if (match[3] === ',') continue
    rows.push(row)
    row = []
  }
  return rows
}

function cells(line: TableLine): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [name, value] of Object.entries(line)) {
    if (name === 'parts')
      for (const [part, amount] of Object.entries(value ?? {})) found[`parts.${part}`] = String(amount)
    else if (value !== undefined && value !== null && typeof value !== 'object') found[name] = String(value)
  }
  return found
}

const rowOf = (values: readonly string[]): string => `${values.map(quoted).join(',')}\r\n`

const quoted = (value: string): string => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)
