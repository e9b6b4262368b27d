/** Performs experiments over one cache of runs: what is the same run is made once. */
import type { Engine } from '../../engine/index.js'
import { resolveConfig, type PretrainConfig } from '../../train/config/config.js'
import { counted } from '../../train/report/text.js'
import { adaptersOf, keyOf, rowsOf, Runs, type RunRequest, type Splits } from '../runs/runs.js'
import {
  judge,
  seedList,
  seedsWithout,
  verdictOfAll,
  type Arm,
  type ArmResult,
  type Context,
  type Experiment,
  type JudgedClaim,
  type Result,
  type Scale,
  type Setup,
} from './experiment.js'

export interface PerformOptions extends Setup {
  engine: Engine
  /** Folder of the cached runs. */
  cache: string
  splits(config: PretrainConfig): Promise<Splits>
  signal: AbortSignal
  /** Called within a run or a simulation. */
  onProgress(label: string, what: string, done: number, total: number): void
  /** Called before each run that is to be made, with how many rows are trained so far of all that are needed. */
  onRun(label: string, rows: { done: number; total: number }): void
  onMessage(line: string): void
}

const requestOf = (arm: Arm, seed: number): RunRequest => ({
  config: resolveConfig({ ...arm.config, seed }),
  readout: arm.readout,
  curve: arm.curve,
})

const seedsOf = (experiment: Experiment, scale: Scale): number[] =>
  Array.from({ length: experiment.seeds[scale] }, (_, i) => i + 1)

/** Performs each experiment, and hands over its result as soon as it is there. */
export async function perform(
  list: readonly Experiment[],
  options: PerformOptions,
  onResult: (result: Result) => Promise<void>,
): Promise<void> {
  const { engine, scale, dataset, dataDir, cache, splits, signal } = options
  let label = ''
  const runs = new Runs({
    engine,
    root: cache,
    splits,
    signal,
    onProgress: (what, done, total) => options.onProgress(label, what, done, total),
  })
  const work = await workLeft(list, options, runs)
  const total = [...work.values()].reduce((a, b) => a + b, 0)
  if (work.size)
    options.onMessage(`${counted(work.size, 'run')} to make, ${total.toLocaleString('en')} rows to train on`)
  let done = 0

  for (const experiment of list) {
    const seeds = seedsOf(experiment, scale)
    const made = new Map<string, ArmResult>()
    const gather = async (arms: readonly Arm[], make: boolean): Promise<ArmResult[]> => {
      const results: ArmResult[] = arms.map((arm) => ({ arm, seeds: [] }))
      // Seed by seed: when it is stopped midway, whole seeds are at hand.
      for (const seed of seeds)
        for (const result of results) {
          const request = requestOf(result.arm, seed)
          label = `${experiment.name}: ${result.arm.name}, seed ${seed}`
          const key = keyOf(request.config)
          if (make && !(await runs.isDone(request))) options.onRun(label, { done, total })
          const found = make ? await runs.run(request) : await runs.found(request)
          done += work.get(key) ?? 0
          work.delete(key)
          if (found && 'error' in found) {
            result.seeds.push({ seed, readings: [], error: found.error })
            if (make) options.onMessage(`${label}: ${found.error}`)
          } else result.seeds.push({ seed, readings: found?.readings ?? [] })
        }
      for (const result of results) made.set(result.arm.name, result)
      return results
    }
    const context: Context = {
      engine,
      scale,
      dataset,
      dataDir,
      seeds,
      runs: (arms) => gather(arms, true),
      atHand: (arms) => gather(arms, false),
      onProgress: (what, at, of) => options.onProgress(`${experiment.name}: ${what}`, '', at, of),
      signal,
    }
    const { claims, notes, ...rest } = await experiment.run(context)
    const judged = claims.map(judge)
    const { name, title, claim, protocol } = experiment
    const readings = [...made.values()].flatMap((result) => result.seeds.flatMap((own) => own.readings))
    // Those of the runs, which the cache may have from before; what makes no runs is of this engine.
    const adapters = readings.length ? adaptersOf(readings) : [engine.description]
    await onResult({
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
      notes: [...notes, ...judged.flatMap((c) => survivors(c, seeds)), ...mixed(adapters)],
      adapter: adapters.join('; '),
      date: new Date().toISOString(),
      failures: [...made.values()].flatMap(({ arm, seeds: of }) =>
        of.flatMap(({ seed, error }) => (error ? [`${arm.name}, seed ${seed}: ${error}`] : [])),
      ),
      runs: [...made.values()].flatMap(({ arm, seeds: of }) =>
        of.flatMap(({ seed, readings }) => (readings.length ? [{ arm: arm.name, seed, readings }] : [])),
      ),
    })
  }
}

/** Says of a statistic that not every seed has a value for whose it is; nothing where all have. */
function survivors(claim: JudgedClaim, seeds: readonly number[]): string[] {
  const without = seedsWithout(claim, seeds)
  if (without.length === 0) return []
  const left = seeds.length - without.length
  const follows =
    left < 2
      ? 'fewer than two seeds are left, and nothing follows'
      : `it is over the ${left} seeds that are left, which may be the luckier ones`
  return [`${claim.statement}: there is no value of ${seedList(without)}, and ${follows}.`]
}

const mixed = (adapters: readonly string[]): string[] =>
  adapters.length > 1
    ? [`The runs were made on more than one adapter (${adapters.join('; ')}): their minutes do not compare.`]
    : []

/** Rows to train on, by run that is not done. */
async function workLeft(
  list: readonly Experiment[],
  { splits, ...setup }: PerformOptions,
  runs: Runs,
): Promise<Map<string, number>> {
  const work = new Map<string, number>()
  for (const experiment of list)
    for (const arm of experiment.arms(setup))
      for (const seed of seedsOf(experiment, setup.scale)) {
        const request = requestOf(arm, seed)
        if (!(await runs.isDone(request)))
          work.set(keyOf(request.config), rowsOf(request.config, (await splits(request.config)).pretraining.count))
      }
  return work
}
