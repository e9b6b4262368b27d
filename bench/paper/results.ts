/** Results of experiments as files: JSON and SVG. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { validated } from '../../train/run/validated.js'
import { svgFile } from '../report/charts.js'
import { datasets, scales, type Result, type Table } from './experiment.js'

/** JSON has no infinities and no NaN: they come back as null. */
const orNull = (otherwise: number) =>
  z
    .number()
    .nullable()
    .transform((value) => value ?? otherwise)

const text = z.string()
const tableSchema = z.object({ header: z.array(text), rows: z.array(z.array(text)) })
const claimSchema = z.object({
  statement: text,
  unit: text,
  perSeed: z.array(orNull(NaN)),
  bound: z.union([z.object({ above: z.number() }), z.object({ below: z.number() }), z.object({ within: z.number() })]),
  interval: z.looseObject({ mean: orNull(NaN), low: orNull(-Infinity), high: orNull(Infinity) }),
  verdict: z.enum(['agrees', 'contradicts', 'inconclusive']),
})

/** What the page shows of a result. */
const resultSchema = z.looseObject({
  ...{ experiment: text, title: text, claim: text, protocol: text, adapter: text, date: text },
  scale: z.enum(scales),
  // Older files do not name their data set.
  dataset: z.enum(datasets).default('cifar10'),
  seeds: z.array(z.int()),
  claims: z.array(claimSchema),
  verdict: claimSchema.shape.verdict,
  table: tableSchema,
  figures: z.array(z.looseObject({ what: text, paper: text, ours: text, differs: z.array(text).optional() })),
  plots: z.array(z.object({ name: text, title: text, spec: z.looseObject({}) })),
  notes: z.array(text),
  failures: z.array(text),
})

/**
 * Every whole result in the folder, in the order of `names`.
 *
 * @param onMessage told in one line about each damaged file, which is left out
 */
export async function readResults(
  folder: string,
  names: readonly string[],
  onMessage: (line: string) => void = console.error,
): Promise<Result[]> {
  const present = new Set(await readdir(folder))
  const results: Result[] = []
  for (const file of names.map((name) => `${name}.json`).filter((name) => present.has(name))) {
    const path = join(folder, file)
    try {
      results.push(validated(resultSchema, await readJson(path), path) as unknown as Result)
    } catch (error) {
      onMessage(`${(error as Error).message}: it is left out of the page; run the experiment again`)
    }
  }
  return results
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
