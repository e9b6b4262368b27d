/** Performs experiments over one cache of runs: experiments that need the same run share it. */
import { join } from 'node:path'
import type { Engine } from '../../engine/index.js'
import { resolveConfig, type PretrainConfig } from '../../train/config/config.js'
import { counted } from '../../train/report/text.js'
import type { RunMaker } from '../launch/launcher.js'
import { adaptersOf, keyOf, type RunRequest, type RunResult } from '../runs/cached_runs.js'
import { KeptReadings } from '../runs/kept.js'
import { rowsOf, Runs, type Splits } from '../runs/runs.js'
import { judge, seedList, seedsWithout, verdictOfAll } from './claims.js'
import type { Analysis, Arm, ArmResult, Context, Experiment, JudgedClaim, Result, Setup } from './experiment.js'
import { protocolOf } from './scales.js'
import { clocked, stepConfig, StepTimes } from './times.js'

export interface PerformOptions extends Setup {
  engine: Engine
  /** Folder of the cached runs. */
  cache: string
  /** Readings of runs that were made elsewhere; those made here are added. Without it figures are kept in `cache`. */
  kept?: KeptReadings
  /** The results of runs that a launcher has made; without it the runs are made here. */
  launched?: RunMaker
  /** Makes no runs: only experiments whose runs are all there have a result. */
  soFar?: boolean
  splits(config: PretrainConfig): Promise<Splits>
  signal: AbortSignal
  /** Called within a run or a simulation. */
  onProgress(label: string, what: string, done: number, total: number): void
  /** Called before each run, with the training rows that are done and those of all runs. */
  onRun(label: string, rows: { done: number; total: number }): void
  onMessage(line: string): void
}

/** The names of the data sets in a configuration. */
const dataOf = { cifar10: 'cifar10', stl10: 'stl10', imagenet100: 'folder' } as const

const requestOf = (arm: Arm, seed: number): RunRequest => ({
  config: resolveConfig({ ...arm.config, seed }),
  readout: arm.readout,
  curve: arm.curve,
})

/** The seeds of an experiment. Two experiments of one scale have the same first seeds, so that they share runs. */
export function seedsOf(experiment: Experiment, setup: Pick<Setup, 'scale' | 'dataset'>): number[] {
  const { firstSeed = protocolOf(setup).firstSeed } = experiment
  return Array.from({ length: experiment.seeds[setup.scale] }, (_, i) => firstSeed + i)
}

/** What experiments make: each arm with each seed. */
export const requestsOf = (experiments: readonly Experiment[], setup: Setup): RunRequest[] =>
  experiments.flatMap((experiment) => {
    const seeds = seedsOf(experiment, setup)
    return experiment.arms(setup).flatMap((arm) => seeds.map((seed) => requestOf(arm, seed)))
  })

/** Performs the experiments, and passes on each result when it is complete. */
export async function perform(
  experiments: readonly Experiment[],
  options: PerformOptions,
  onResult: (result: Result) => Promise<void>,
): Promise<void> {
  const shared = new SharedRuns(options)
  const figures = options.kept ?? (await KeptReadings.open(join(options.cache, 'figures.jsonl')))
  await shared.plan(experiments)
  for (const experiment of experiments) {
    const missing = options.soFar ? await shared.missing(experiment) : 0
    if (missing) {
      options.onMessage(`${experiment.name}: ${counted(missing, 'run')} missing, no result yet`)
      continue
    }
    const result = await performOne(experiment, shared, { ...options, figures }).catch((error: unknown) => {
      if (!(error instanceof MissingFigures)) throw error
      options.onMessage(`${experiment.name}: figures missing, no result yet`)
    })
    if (result) await onResult(result)
  }
}

/** With `soFar`: an experiment needs figures that are not kept. */
class MissingFigures extends Error {
  override name = 'MissingFigures'
}

async function performOne(
  experiment: Experiment,
  shared: SharedRuns,
  options: PerformOptions & { figures: KeptReadings },
): Promise<Result> {
  const { engine, scale, dataset, dataDir, signal } = options
  const seeds = seedsOf(experiment, options)
  const used = new Map<string, ArmResult>()
  const gather = async (arms: readonly Arm[], chosen: readonly number[] = seeds): Promise<ArmResult[]> => {
    const results = await shared.gather(experiment.name, arms, chosen)
    // The result keeps the readings of its own seeds.
    if (chosen === seeds) for (const result of results) used.set(result.arm.name, result)
    return results
  }
  const context: Context = {
    engine,
    scale,
    dataset,
    dataDir,
    seeds,
    runs: gather,
    timedRuns: async (arms) => {
      const timed = await shared.withTimes(await gather(arms), seeds)
      for (const result of timed) used.set(result.arm.name, result)
      return timed
    },
    figures: async (of, compute) => {
      const kept = options.figures.figures(of)
      if (kept) return kept
      if (options.soFar) throw new MissingFigures()
      const figures = await compute()
      await options.figures.addFigures(of, figures)
      return figures
    },
    images: async (split = 'train') => (await options.splits(resolveConfig({ data: dataOf[dataset], dataDir })))[split],
    onProgress: (what, done, total) => options.onProgress(`${experiment.name}: ${what}`, '', done, total),
    signal,
  }
  const analysis = await experiment.run(context)
  return resultOf(experiment, context, analysis, [...used.values()])
}

function resultOf(
  { name, title, claim, protocol }: Experiment,
  { engine, scale, dataset, seeds }: Context,
  { claims, notes, ...rest }: Analysis,
  results: readonly ArmResult[],
): Result {
  const judged = claims.map(judge)
  const bySeed = results.flatMap(({ arm, seeds: list }) => list.map((one) => ({ arm: arm.name, ...one })))
  const readings = bySeed.flatMap((one) => one.readings)
  // Cached runs may come from other adapters. Experiments without runs use this engine directly.
  const adapters = readings.length ? adaptersOf(readings) : [engine.description]
  return {
    experiment: name,
    title,
    claim,
    protocol,
    scale,
    dataset,
    seeds,
    verdict: verdictOfAll(judged),
    claims: judged,
    ...rest,
    notes: [...notes, ...judged.flatMap((c) => missingSeeds(c, seeds)), ...severalAdapters(adapters)],
    adapter: adapters.join('; '),
    date: new Date().toISOString(),
    failures: bySeed.flatMap(({ arm, seed, error }) => (error ? [`${arm}, seed ${seed}: ${error}`] : [])),
    runs: bySeed.flatMap(({ arm, seed, readings }) => (readings.length ? [{ arm, seed, readings }] : [])),
  }
}

/** A note for a statistic that has no value for some seeds. */
function missingSeeds(claim: JudgedClaim, seeds: readonly number[]): string[] {
  const without = seedsWithout(claim, seeds)
  if (without.length === 0) return []
  const left = seeds.length - without.length
  const consequence =
    left < 2
      ? 'Fewer than two seeds remain, so there is no verdict.'
      : `The interval is over the remaining ${left} seeds, which may be a favourable selection.`
  return [`${claim.statement}: no value for ${seedList(without)}. ${consequence}`]
}

const severalAdapters = (adapters: readonly string[]): string[] =>
  adapters.length > 1
    ? [`The runs used more than one adapter (${adapters.join('; ')}): their minutes cannot be compared.`]
    : []

/** The cached runs of several experiments, with the progress over all of them. */
class SharedRuns {
  private readonly runs: RunMaker
  /** Training rows of each run that is not done, by the key of its configuration. */
  private readonly work = new Map<string, number>()
  private total = 0
  private done = 0
  private label = ''
  private readonly stepTimes: StepTimes

  constructor(private readonly options: PerformOptions) {
    const { engine, cache, kept, splits, signal } = options
    this.stepTimes = new StepTimes(options)
    this.runs =
      options.launched ??
      new Runs({
        ...{ engine, root: cache, kept, splits, signal },
        onProgress: (what, done, total) => options.onProgress(this.label, what, done, total),
        onMessage: (line) => options.onMessage(line),
      })
  }

  /** Counts the runs that are not done. */
  async plan(experiments: readonly Experiment[]): Promise<void> {
    const { splits, ...setup } = this.options
    // A launched run without a result has failed.
    if (setup.launched) return
    for (const request of requestsOf(experiments, setup)) {
      if (await this.runs.isDone(request)) continue
      const { pretraining } = await splits(request.config)
      this.work.set(keyOf(request.config), rowsOf(request.config, pretraining.count))
    }
    this.total = [...this.work.values()].reduce((a, b) => a + b, 0)
    const { size } = this.work
    if (size && !setup.soFar)
      setup.onMessage(`${counted(size, 'run')} to make, ${this.total.toLocaleString('en')} rows to train on`)
  }

  /** The number of an experiment's runs that are not done. */
  async missing(experiment: Experiment): Promise<number> {
    let count = 0
    for (const request of requestsOf([experiment], this.options)) if (!(await this.runs.isDone(request))) count++
    return count
  }

  /** The same results; where the scale measures steps in turn, their seconds are steps times seconds of a step. */
  async withTimes(results: readonly ArmResult[], seeds: readonly number[]): Promise<ArmResult[]> {
    if (!protocolOf(this.options).timedInTurn) return [...results]
    const timed: ArmResult[] = results.map(({ arm }) => ({ arm, seeds: [] }))
    for (const [i, seed] of seeds.entries()) {
      const configs = results.map(({ arm }) => stepConfig(resolveConfig({ ...arm.config, seed })))
      const seconds = await this.stepTimes.of(seed, configs)
      results.forEach(({ seeds: list }, j) => timed[j].seeds.push(clocked(list[i], seconds[j])))
    }
    return timed
  }

  async gather(title: string, arms: readonly Arm[], seeds: readonly number[]): Promise<ArmResult[]> {
    const results: ArmResult[] = arms.map((arm) => ({ arm, seeds: [] }))
    // Seed by seed, so that an interrupted experiment leaves complete seeds.
    for (const seed of seeds)
      for (const { arm, seeds: list } of results) {
        this.label = `${title}: ${arm.name}, seed ${seed}`
        const found = await this.resultOf(requestOf(arm, seed))
        if ('error' in found) {
          list.push({ seed, readings: [], error: found.error })
          this.options.onMessage(`${this.label}: ${found.error}`)
        } else list.push({ seed, readings: found.readings })
      }
    return results
  }

  private async resultOf(request: RunRequest): Promise<RunResult> {
    const key = keyOf(request.config)
    const { done, total } = this
    if (!this.options.launched && !(await this.runs.isDone(request))) this.options.onRun(this.label, { done, total })
    const found = await this.runs.run(request)
    this.done += this.work.get(key) ?? 0
    this.work.delete(key)
    return found
  }
}
