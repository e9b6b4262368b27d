/** What an experiment of the paper is: stated beforehand, run, and held against the paper. */
import type { Engine } from '../../engine/index.js'
import type { PartialConfig } from '../../train/config/config.js'
import type { Reading, ReadoutSpec } from '../runs/runs.js'
import {
  deviation,
  interval,
  mean,
  together,
  verdictOf,
  type Bound,
  type Interval,
  type Verdict,
} from '../runs/intervals.js'

export const scales = ['tiny', 'small', 'full'] as const
export type Scale = (typeof scales)[number]

/** Data sets that the paper has runs on; all but the first at full scale alone. */
export const datasets = ['cifar10', 'stl10', 'imagenet100'] as const
export type Dataset = (typeof datasets)[number]

/** At which scale, and on what. */
export interface Setup {
  scale: Scale
  dataset: Dataset
  /** Folder of the data set in its official format; ImageNet-100 has no other place. */
  dataDir?: string
}

/** Runs that differ in their seed alone. */
export interface Arm {
  name: string
  /** All but the seed. */
  config: PartialConfig
  readout: ReadoutSpec
  /** Read at every checkpoint, not at the end alone. */
  curve?: boolean
}

/** What came of one arm's runs, seed by seed; a seed whose run failed, or is not at hand, has no readings. */
export interface ArmResult {
  arm: Arm
  seeds: { seed: number; readings: Reading[]; error?: string }[]
}

/** A statement of the paper as a statistic with a value for each seed. */
export interface Claim {
  statement: string
  unit: string
  /** NaN where a run of that seed failed. */
  perSeed: number[]
  bound: Bound
}

export interface JudgedClaim extends Claim {
  interval: Interval
  verdict: Verdict
}

/** A Vega-Lite specification with what it shows. */
export interface Plot {
  /** Of its file. */
  name: string
  title: string
  spec: object
}

export interface Table {
  header: string[]
  rows: string[][]
}

/** A figure of the paper beside ours. */
export interface PaperFigure {
  what: string
  paper: string
  ours: string
  /** Views that each image was read with, where known. */
  paperViews?: number
  ourViews?: number
  /** Why the two do not compare; empty where they do, absent where that is no question. */
  differs?: string[]
}

export interface Analysis {
  claims: Claim[]
  table: Table
  figures: PaperFigure[]
  plots: Plot[]
  /** What a reader must know to take the figures rightly. */
  notes: string[]
}

export interface Context extends Setup {
  engine: Engine
  seeds: number[]
  /** Runs and reads out, or finds in the cache. */
  runs(arms: readonly Arm[]): Promise<ArmResult[]>
  /** What the cache has of these, without running anything. */
  atHand(arms: readonly Arm[]): Promise<ArmResult[]>
  onProgress(what: string, done: number, total: number): void
  signal: AbortSignal
}

export interface Experiment {
  name: string
  title: string
  /** What the paper says, in a sentence. */
  claim: string
  /** What is held equal between the arms, and how the statistic is taken. */
  protocol: string
  seeds: Record<Scale, number>
  /** The runs that it makes; none where the paper has none. */
  arms(setup: Setup): Arm[]
  run(context: Context): Promise<Analysis>
}

/** As it is written to its JSON file. */
export interface Result extends Omit<Analysis, 'claims'> {
  experiment: string
  title: string
  claim: string
  protocol: string
  scale: Scale
  dataset: Dataset
  seeds: number[]
  claims: JudgedClaim[]
  verdict: Verdict
  adapter: string
  date: string
  /** Runs that failed, each with its line. */
  failures: string[]
  /** The numbers behind the table, seed by seed. */
  runs: { arm: string; seed: number; readings: Reading[] }[]
}

/** The claim with its interval over the seeds that have a value. */
export function judge(claim: Claim): JudgedClaim {
  const values = claim.perSeed.filter((v) => Number.isFinite(v))
  const over = values.length ? interval(values) : { mean: NaN, low: -Infinity, high: Infinity }
  return { ...claim, interval: over, verdict: verdictOf(over, claim.bound) }
}

export const verdictOfAll = (claims: readonly JudgedClaim[]): Verdict => together(claims.map(({ verdict }) => verdict))

/** The results of these arms, in their order. */
export const resultsOf = (results: readonly ArmResult[], arms: readonly Arm[]): ArmResult[] =>
  arms.map(({ name }) => results.find(({ arm }) => arm.name === name)!)

/** `16 views`: what each image was read with. Figures of different numbers do not compare. */
export function viewsRead(results: readonly { arm: Arm }[]): string {
  const counts = [...new Set(results.map(({ arm }) => arm.readout.views))].sort((a, b) => a - b)
  return `${counts.join(' or ')} view${counts.length === 1 && counts[0] === 1 ? '' : 's'}`
}

/** Seeds that a statistic has no value for. */
export const seedsWithout = ({ perSeed }: Pick<Claim, 'perSeed'>, seeds: readonly number[]): number[] =>
  seeds.filter((_, i) => !Number.isFinite(perSeed[i]))

/** `seeds 1 and 3`, `seed 2`. */
export const seedList = (seeds: readonly number[]): string =>
  `seed${seeds.length > 1 ? 's' : ''} ${seeds.join(', ').replace(/, (\d+)$/, ' and $1')}`

/** Final linear accuracy of each seed in %, NaN where there is none. */
export const finals = ({ seeds }: ArmResult): number[] =>
  seeds.map(({ readings }) => 100 * (readings.at(-1)?.top1 ?? NaN))

/** a − b seed by seed. */
export const differences = (a: readonly number[], b: readonly number[]): number[] => a.map((v, i) => v - b[i])

export const known = (values: readonly number[]): number[] => values.filter((v) => Number.isFinite(v))

/** `86.43 ± 0.72`: mean and standard deviation over the seeds that have a value; a dash where none has. */
export function meanAndSpread(values: readonly number[], digits = 2): string {
  const list = known(values)
  if (list.length === 0) return '–'
  const centre = mean(list).toFixed(digits)
  return list.length === 1 ? centre : `${centre} ± ${deviation(list).toFixed(digits)}`
}
