/** The file of a sweep: a base configuration, a grid of options, the seeds and the readout. */
import { z } from 'zod'
import {
  ConfigError,
  overlay,
  resolveConfig,
  UnknownOptionError,
  type PartialConfig,
  type PretrainConfig,
} from '../../train/config/config.js'
import { parseYaml } from '../../train/config/parse_yaml.js'
import { readYaml } from '../../train/node/read_yaml.js'
import type { ReadoutSpec } from '../runs/cached_runs.js'

const whole = z.number().int().min(1)

const readout = z.strictObject({
  views: whole.default(1),
  seeds: whole.default(1),
  epochs: whole.default(200),
  knn: z.boolean().default(true),
  average: z.boolean().default(false),
  batch: whole.optional(),
  trainPerClass: whole.optional(),
  testPerClass: whole.optional(),
})

const schema = z.strictObject({
  /** Configuration of `npm run pretrain` that all runs share. */
  base: z.record(z.string(), z.unknown()).default({}),
  /** The values of each option. A dot leads into a nested option, as in `augmentation.size`. */
  grid: z.record(z.string(), z.array(z.unknown()).min(1)).default({}),
  seeds: z.array(z.number().int().min(0)).min(1).default([1]),
  readout: readout.prefault({}),
})

/** One point of the grid. Its runs differ only in their seed. */
export interface Point {
  /** The options of the grid with their values. */
  values: Record<string, unknown>
  /** A configuration for each seed, or the reason why the point is invalid. */
  configs: PretrainConfig[] | { error: string }
}

export interface Sweep {
  /** Names of the options of the grid. */
  options: string[]
  seeds: number[]
  readout: ReadoutSpec
  points: Point[]
}

/** More runs than this are a mistake: they would take months. */
const MOST_RUNS = 10_000

/** All combinations; the last option varies fastest. */
export function combinations(grid: Readonly<Record<string, readonly unknown[]>>): Record<string, unknown>[] {
  return Object.entries(grid).reduce<Record<string, unknown>[]>(
    (list, [name, values]) => list.flatMap((point) => values.map((value) => ({ ...point, [name]: value }))),
    [{}],
  )
}

/**
 * `{ 'a.b': 1 }` as `{ a: { b: 1 } }`. All keys are own keys of plain objects.
 *
 * @throws ConfigError if a name leads into an option that has a value of its own
 */
export function nested(flat: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const root: Record<string, unknown> = {}
  for (const [path, value] of Object.entries(flat)) {
    const names = path.split('.')
    if (names.includes('__proto__')) throw new UnknownOptionError(`unknown option '${path}'`)
    let at = root
    for (const name of names.slice(0, -1)) {
      const inside = Object.hasOwn(at, name) ? at[name] : (at[name] = {})
      if (typeof inside !== 'object' || inside === null || Array.isArray(inside))
        throw new UnknownOptionError(`grid: '${path}' and '${name}' exclude each other`)
      at = inside as Record<string, unknown>
    }
    at[names[names.length - 1]] = value
  }
  return root
}

/**
 * The configuration of a point, without its seed. If the grid names an augmentation recipe, the changes of the base to
 * the augmentation apply to that recipe too. (On a command line a recipe replaces the whole augmentation of a file.)
 */
function pointOf(base: PartialConfig, values: Readonly<Record<string, unknown>>): PartialConfig {
  const own = nested(values) as PartialConfig
  if (own.augmentation?.recipe === undefined) return overlay(base, own)
  const { recipe, ...augmentation } = own.augmentation
  return overlay({ ...base, augmentation: { ...base.augmentation, recipe } }, { ...own, augmentation })
}

/**
 * Parses the text of a sweep's file.
 *
 * @param text YAML
 * @param file name of the file, for errors
 * @throws ConfigError in one line if the text is not valid YAML, if it has an unknown field or option, or if no point of
 *   the grid is valid
 */
export const parseSweep = (text: string, file: string): Sweep => sweepOf(parseYaml(text, file), file)

function sweepOf(content: unknown, file: string): Sweep {
  const result = schema.safeParse(content ?? {})
  if (!result.success) {
    const [issue] = result.error.issues
    const where = issue.path.length ? `${issue.path.join('.')}: ` : ''
    const fields = issue.path.length
      ? `it takes ${Object.keys(readout.shape).join(', ')}`
      : 'a sweep has base, grid, seeds and readout'
    throw new ConfigError(
      issue.code === 'unrecognized_keys'
        ? `${file}: ${where}unknown field '${issue.keys[0]}'; ${fields}`
        : `${file}: ${where}${issue.message}`,
    )
  }
  const { base, grid, seeds, readout: spec } = result.data
  if ('seed' in base || 'seed' in grid) throw new ConfigError(`${file}: seed: list the seeds under 'seeds'`)
  const runs = Object.values(grid).reduce((product, values) => product * values.length, seeds.length)
  if (runs > MOST_RUNS)
    throw new ConfigError(
      `${file}: the grid and the seeds make ${runs.toLocaleString('en')} runs, at most ${MOST_RUNS.toLocaleString('en')} are allowed: use fewer values`,
    )
  const points = combinations(grid).map((values): Point => {
    try {
      const config = pointOf(base as PartialConfig, values)
      const configs = seeds.map((seed) => resolveConfig({ ...config, seed }))
      if (spec.average && configs[0].emaRate === undefined)
        throw new ConfigError('readout.average: the runs keep no moving average; set emaRate in base or grid')
      return { values, configs }
    } catch (error) {
      // An unknown option makes the whole file invalid, not only this point.
      if (!(error instanceof ConfigError) || error instanceof UnknownOptionError)
        throw new ConfigError(`${file}: ${(error as Error).message}`)
      return { values, configs: { error: error.message } }
    }
  })
  const errors = points.flatMap(({ configs }) => ('error' in configs ? [configs.error] : []))
  if (errors.length === points.length) throw new ConfigError(`${file}: ${errors[0]}`)
  return { options: Object.keys(grid), seeds, readout: spec, points }
}

/** @throws ConfigError in one line if the file cannot be read or is not a valid sweep */
export const readSweep = async (file: string): Promise<Sweep> => sweepOf(await readYaml(file), file)
