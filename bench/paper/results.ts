/** Results of experiments as files: JSON and SVG. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { svgFile } from '../report/charts.js'
import type { Result, Table } from './experiment.js'

/** Every result in the folder, in the order of `names`. */
export async function readResults(folder: string, names: readonly string[]): Promise<Result[]> {
  const present = new Set(await readdir(folder))
  const results: Result[] = []
  for (const name of names)
    if (present.has(`${name}.json`)) results.push(restored((await readJson(join(folder, `${name}.json`))) as Result))
  return results
}

/** JSON has no infinities: they come back as null. Older files do not name their data set. */
function restored(result: Result): Result {
  const or = (value: number | null, otherwise: number): number => value ?? otherwise
  return {
    ...result,
    dataset: result.dataset ?? 'cifar10',
    claims: result.claims.map((claim) => {
      const { mean, low, high } = claim.interval
      return {
        ...claim,
        perSeed: claim.perSeed.map((v) => or(v, NaN)),
        interval: { mean: or(mean, NaN), low: or(low, -Infinity), high: or(high, Infinity) },
      }
    }),
  }
}

/** Writes a result as JSON and its plots as SVG files, and returns the paths. */
export async function writeResult(folder: string, result: Result): Promise<string[]> {
  const json = join(folder, `${result.experiment}.json`)
  await writeAtomically(json, `${JSON.stringify(result, null, 1)}\n`)
  const written = [json]
  for (const { name, title, spec } of result.plots) {
    const path = join(folder, `${result.experiment}-${name}.svg`)
    await writeAtomically(path, await svgFile(spec, title, resultOrigin(result)))
    written.push(path)
  }
  return written
}

/** Scale, data set, seeds, adapter and date in one line. */
export const resultOrigin = ({ scale, dataset, seeds, adapter, date }: Result): string =>
  `scale ${scale}${dataset === 'cifar10' ? '' : ` on ${dataset}`}, ${seeds.length} seed${seeds.length > 1 ? 's' : ''}; ${adapter}; ${date.slice(0, 10)}`

/** The figures of the paper beside ours, with the views of each readout and the reasons why they cannot be compared. */
export function figuresTable({ figures }: Pick<Result, 'figures'>): Table {
  const comparable = (differs: string[] | undefined): string =>
    differs === undefined ? '–' : differs.length ? `no: ${differs.join('; ')}` : 'yes'
  return {
    header: ['figure', 'paper', 'views read', 'here', 'views read', 'comparable'],
    rows: figures.map(({ what, paper, paperViews = '–', ours, ourViews = '–', differs }) => [
      what,
      paper,
      String(paperViews),
      ours,
      String(ourViews),
      comparable(differs),
    ]),
  }
}
