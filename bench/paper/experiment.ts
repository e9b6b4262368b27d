/** What an experiment of the paper is: stated in advance, run, and compared with the paper. */
import type { Engine } from '../../engine/index.js'
import type { PartialConfig } from '../../train/config/config.js'
import type { ImageDataset } from '../../train/data/dataset.js'
import type { Bound, Interval, Verdict } from '../report/intervals.js'
import type { Reading } from '../runs/cached.js'
import type { ReadoutSpec } from '../runs/cached_runs.js'

export const scales = ['tiny', 'small', 'full'] as const
export type Scale = (typeof scales)[number]

/** Data sets that the paper pretrains on. All but the first are for full scale only. */
export const datasets = ['cifar10', 'stl10', 'imagenet100'] as const
export type Dataset = (typeof datasets)[number]

/** Scale and data set of an experiment. */
export interface Setup {
  scale: Scale
  dataset: Dataset
  /** Folder of the data set in its official format; required for ImageNet-100. */
  dataDir?: string
}

/** Runs that differ only in their seed. */
export interface Arm {
  name: string
  /** Everything but the seed. */
  config: PartialConfig
  readout: ReadoutSpec
  /** Read every checkpoint, not only the last. */
  curve?: boolean
}

/** The readings of an arm by seed. A seed has no readings if its run failed or is not in the cache. */
export interface ArmResult {
  arm: Arm
  seeds: { seed: number; readings: Reading[]; error?: string }[]
}

/** A statement of the paper as a statistic with one value for each seed. */
export interface Claim {
  statement: string
  unit: string
  /** NaN if a run of the seed failed. */
  perSeed: number[]
  /** Where the paper expects the statistic. */
  bound: Bound
}

export interface JudgedClaim extends Claim {
  interval: Interval
  verdict: Verdict
}

/** A Vega-Lite specification. */
export interface Plot {
  /** Part of the file's name. */
  name: string
  title: string
  spec: object
}

export interface Table {
  header: string[]
  rows: string[][]
}

/** A figure of the paper, or of another source, beside ours. */
export interface PaperFigure {
  what: string
  paper: string
  ours: string
  /** Views averaged for each image in the readout, if known. */
  paperViews?: number
  ourViews?: number
  /** Why the two cannot be compared. Empty if they can; absent if the question does not arise. */
  differs?: string[]
}

export interface Analysis {
  claims: Claim[]
  table: Table
  figures: PaperFigure[]
  plots: Plot[]
  /** What a reader must know to interpret the figures. */
  notes: string[]
}

/** What `Experiment.run` works with. */
export interface Context extends Setup {
  engine: Engine
  seeds: number[]
  /**
   * Trains and reads out, or takes the readings from the cache.
   *
   * @param seeds by default those of the experiment
   */
  runs(arms: readonly Arm[], seeds?: readonly number[]): Promise<ArmResult[]>
  /**
   * As `runs`, with seconds that compare. Where the scale says so, the seconds of a checkpoint are its steps times the
   * seconds of a step, which are measured for all arms of a seed in turn on one machine.
   */
  timedRuns(arms: readonly Arm[]): Promise<ArmResult[]>
  /** Figures that are no readings of a run: computed, or taken from the kept readings. */
  figures(of: Record<string, unknown>, compute: () => Promise<number[]>): Promise<number[]>
  /** The images of a split of the data set, the training split by default. */
  images(split?: 'train' | 'test'): Promise<ImageDataset>
  onProgress(what: string, done: number, total: number): void
  signal: AbortSignal
}

export interface Experiment {
  name: string
  title: string
  /** What the paper says, in one sentence. */
  claim: string
  /** What is equal for all arms, and how the statistic is computed. */
  protocol: string
  /** Number of seeds. */
  seeds: Record<Scale, number>
  /** The first seed; by default that of the scale. */
  firstSeed?: number
  /** Whether it is so long that `all` leaves it out. */
  apart?: boolean
  /** The runs that the experiment makes; empty if the paper has none for the setup. */
  arms(setup: Setup): Arm[]
  run(context: Context): Promise<Analysis>
}

/** The content of an experiment's JSON file. */
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
  /** One line for each run that failed. */
  failures: string[]
  /** The readings behind the table, by seed. */
  runs: { arm: string; seed: number; readings: Reading[] }[]
}
