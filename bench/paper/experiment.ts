/** What an experiment of the paper is: stated beforehand, run, and held against the paper. */
import type { Engine } from '../../engine/index.js'
import type { PartialConfig } from '../../train/config.js'
import type { Reading, ReadoutSpec } from '../runs.js'
import {
  deviation,
  interval,
  mean,
  together,
  verdictOf,
  type Bound,
  type Interval,
  type Verdict,
} from './statistics.js'

export const scales = ['tiny', 'small', 'full'] as const
export type Scale = (typeof scales)[number]

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
}

export interface Analysis {
  claims: Claim[]
  table: Table
  figures: PaperFigure[]
  plots: Plot[]
  /** What a reader must know to take the figures rightly. */
  notes: string[]
}

export interface Context {
  engine: Engine
  scale: Scale
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
  /** The runs that it makes. */
  arms(scale: Scale): Arm[]
  run(context: Context): Promise<Analysis>
}

/** As it is written to its JSON file. */
export interface Result extends Omit<Analysis, 'claims'> {
  experiment: string
  title: string
  claim: string
  protocol: string
  scale: Scale
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
