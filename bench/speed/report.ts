/** What a benchmark hands back: where and when it was measured, tables, plots; as Markdown, JSON and SVG files. */
import { mkdir } from 'node:fs/promises'
import { cpus } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Engine } from '../../engine/index.js'
import { writeAtomically } from '../../train/node/files.js'
import type { Summary } from './statistics.js'

/** What every figure must say of its origin. */
export interface Origin {
  adapter: string
  driver: string
  /** ISO 8601, UTC. */
  date: string
  rounds: number
  node: string
  /** The host's CPU and how many threads it offers. */
  cpu: string
}

export function originOf(engine: Engine, rounds: number): Origin {
  const { info, description } = engine
  const list = cpus()
  return {
    adapter: description,
    driver: [info.vendor, info.architecture, info.device].filter(Boolean).join(' ') || 'not told',
    date: new Date().toISOString(),
    rounds,
    node: process.versions.node,
    cpu: `${list[0]?.model.trim() ?? 'unknown CPU'}, ${list.length} threads`,
  }
}

/** One line, for below a table and under a plot. */
export const describeOrigin = ({ adapter, driver, date, rounds, node, cpu }: Origin): string =>
  `${adapter} (${driver}); ${date.slice(0, 16).replace('T', ' ')} UTC; median of ${rounds} rounds; Node ${node}; ${cpu}`

/** What every measurement in this process takes; each prints a line a case through `onMessage`. */
export interface MeasureOptions {
  engine: Engine
  origin: Origin
  rounds: number
  /** Fewer cases, or smaller ones. */
  quick: boolean
  /** Only cases whose names contain this. */
  only?: string
  onMessage(line: string): void
}

/** A report of `npm run bench`. */
export interface Report {
  kind: 'kernels' | 'step' | 'peers' | 'losses' | 'readout'
  origin: Origin
  /** Everything measured, as it goes into the JSON file. */
  results: object
  markdown: string
  /** SVG by file name. */
  plots: Record<string, string>
}

/** A Markdown table; the first column is text, the others numbers. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((c) => c.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), line(header.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

/** Three significant digits, without exponents in the range of everyday figures. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size < 1e-3 || size >= 1e7) return value.toExponential(1)
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)))
  return value.toFixed(Math.min(digits, 4))
}

/** `12.3 ms [12.1–12.9]`, from seconds. */
export const milliseconds = ({ median, low, high }: Summary): string =>
  `${figure(1000 * median)} ms [${figure(1000 * low)}–${figure(1000 * high)}]`

export const mebibytes = (bytes: number): string => `${figure(bytes / 2 ** 20)} MiB`

/** The whole report as Markdown. */
export const render = (report: Report): string => `${report.markdown}\n\n_${describeOrigin(report.origin)}_\n`

/**
 * Writes the report.
 *
 * @param json file for everything measured; its plots lie beside it
 * @param plots folder for the plots, in place of the JSON file's
 * @returns the paths written
 */
export async function writeReport(
  report: Report,
  { json, plots }: { json?: string; plots?: string },
): Promise<string[]> {
  const written: string[] = []
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(path), { recursive: true })
    await writeAtomically(path, text)
    written.push(path)
  }
  if (json) {
    const { kind, origin, results } = report
    await write(json, `${JSON.stringify({ kind, origin, ...results }, null, 1)}\n`)
  }
  const folder = plots ?? (json && dirname(json))
  if (folder)
    for (const [name, svg] of Object.entries(report.plots))
      await write(join(folder, json ? `${basename(json, '.json')}-${name}.svg` : `${report.kind}-${name}.svg`), svg)
  return written
}
