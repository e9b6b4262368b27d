/** What every benchmark takes and returns, and how its result is written: Markdown, JSON and SVG files. */
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Engine } from '../../engine/index.js'
import { writeAtomically } from '../../train/node/files.js'
import { describeOrigin, type Origin } from '../report/origin.js'

/** Options of every benchmark that runs in this process. */
export interface MeasureOptions {
  engine: Engine
  origin: Origin
  /** Rounds that medians are taken over. */
  rounds: number
  /** Fewer cases, or smaller ones. */
  quick: boolean
  /** Only cases whose names contain this text. */
  only?: string
  /** Called with one line of text for each finished case. */
  onMessage(line: string): void
  /** Called after each case with everything measured so far, so that a benchmark that is ended keeps it. */
  save?(results: object): Promise<void>
}

/** The result of a benchmark. */
export interface Measurement {
  kind: 'kernels' | 'step' | 'peers' | 'losses' | 'readout' | 'precision' | 'isa' | 'smoke' | 'scale'
  origin: Origin
  /** Everything measured, as the JSON file holds it beside `kind` and `origin`. */
  results: object
  markdown: string
  /** SVG files by name, without the extension. */
  plots: Record<string, string>
}

/** The measurement as Markdown, with its origin below. */
export const render = ({ markdown, origin }: Measurement): string => `${markdown}\n\n_${describeOrigin(origin)}_\n`

/**
 * Writes the files of a measurement.
 *
 * @param files.json file for everything measured
 * @param files.plots folder for the plots; the folder of the JSON file by default
 * @returns the paths written
 */
export async function writeMeasurement(
  { kind, origin, results, plots }: Measurement,
  files: { json?: string; plots?: string },
): Promise<string[]> {
  const { json } = files
  const written: string[] = []
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(path), { recursive: true })
    await writeAtomically(path, text)
    written.push(path)
  }
  if (json) {
    await writeResults(json, { kind, origin, ...results })
    written.push(json)
  }
  const folder = files.plots ?? (json && dirname(json))
  if (folder)
    for (const [name, svg] of Object.entries(plots))
      await write(join(folder, `${json ? basename(json, '.json') : kind}-${name}.svg`), svg)
  return written
}

/** Writes the JSON file of a benchmark. It replaces an earlier file as a whole. */
export async function writeResults(path: string, results: object): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeAtomically(path, `${JSON.stringify(results, null, 1)}\n`)
}
