/** What is known of each mutant, kept between runs, and the table of it. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { FAMILIES, familyOf } from './files.js'
import type { Mutant } from './mutant.js'

export interface Reading {
  readonly key: string
  readonly file: string
  readonly line: number
  readonly kind: string
  readonly before: string
  readonly after: string
  /** The test that failed first; undefined for a survivor. */
  readonly noticedBy?: string
  readonly message?: string
  /** Of a survivor: version of the tests that it has survived. Otherwise of the file of the test that failed. */
  readonly tests?: string
  readonly seconds: number
}

/** Readings in a file of JSON lines. A later line replaces an earlier one, and a half-written last line is left out. */
export class Readings {
  private readonly readings = new Map<string, Reading>()

  constructor(private readonly path: string) {
    if (!existsSync(path)) return
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      try {
        const reading = JSON.parse(line) as Reading
        this.readings.set(`${reading.file} ${reading.key}`, reading)
      } catch {
        continue
      }
    }
  }

  of = ({ file, key }: Pick<Mutant, 'file' | 'key'>): Reading | undefined => this.readings.get(`${file} ${key}`)

  add(reading: Reading): void {
    this.readings.set(`${reading.file} ${reading.key}`, reading)
    appendFileSync(this.path, `${JSON.stringify(reading)}\n`)
  }
}

/** A survivor that no test can notice, with the reason. Lines are given without indentation. */
export interface Equivalent {
  readonly file: string
  readonly before: string
  readonly after: string
  readonly reason: string
}

export const reasonOf = (
  { file, before, after }: Pick<Reading, 'file' | 'before' | 'after'>,
  known: readonly Equivalent[],
): string | undefined => known.find((e) => e.file === file && e.before === before && e.after === after)?.reason

const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
const percent = (part: number, whole: number): string => (whole ? `${((100 * part) / whole).toFixed(1)} %` : '–')

/** A Markdown table of the families, and the survivors below. */
export function summary(readings: readonly Reading[], known: readonly Equivalent[]): string {
  const lines = [
    row(['family', 'files', 'mutants', 'noticed', 'explained', 'survive', 'noticed of those that can be']),
    row(['---', '--:', '--:', '--:', '--:', '--:', '--:']),
  ]
  const families = FAMILIES.map(([name]) => [name, readings.filter(({ file }) => familyOf(file) === name)] as const)
  for (const [name, own] of [...families, ['all', readings] as const]) {
    const noticed = own.filter(({ noticedBy }) => noticedBy).length
    const explained = own.filter((reading) => !reading.noticedBy && reasonOf(reading, known)).length
    const files = new Set(own.map(({ file }) => file)).size
    const left = own.length - noticed - explained
    lines.push(row([name, files, own.length, noticed, explained, left, percent(noticed, own.length - explained)]))
  }
  const survivors = readings.filter(({ noticedBy }) => !noticedBy)
  for (const [title, isListed] of [
    ['Survivors', (reading: Reading) => !reasonOf(reading, known)],
    ['Explained', (reading: Reading) => reasonOf(reading, known) !== undefined],
  ] as const) {
    const listed = survivors.filter(isListed)
    if (listed.length === 0) continue
    lines.push('', `${title}:`, '')
    for (const reading of listed) {
      const reason = reasonOf(reading, known)
      lines.push(
        `- ${reading.file}, ${reading.kind}: \`${reading.before}\` → \`${reading.after}\`${reason ? `: ${reason}` : ''}`,
      )
    }
  }
  return lines.join('\n')
}
