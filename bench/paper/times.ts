/** Times of runs that compare: steps are measured in turn, once for each seed, on one machine. */
import { cpus } from 'node:os'
import type { PretrainConfig } from '../../train/config/config.js'
import type { Reading } from '../runs/cached.js'
import { sameOutcome, outcomeOptions } from '../runs/kept.js'
import { stepSeconds } from '../runs/step_times.js'
import type { PerformOptions } from './perform.js'

/** Rounds and steps of a measurement: long enough that other work on the machine affects all configurations alike. */
const MEASURED = { rounds: 9, stepsPerRound: 4 }

/** The configuration without what a step's time does not depend on, so that arms share a measurement. */
export const stepConfig = (config: PretrainConfig): PretrainConfig => ({
  ...config,
  fraction: 1,
  epochs: 1,
  checkpointEvery: 1,
  ...(config.lambda !== undefined && { lambda: 1 }),
})

/** Readings whose seconds are their steps times the seconds of a step. */
export const clocked = <R extends { readings: Reading[] }>(result: R, secondsPerStep: number): R => ({
  ...result,
  readings: result.readings.map((reading) => ({ ...reading, seconds: reading.step * secondsPerStep })),
})

type Options = Pick<PerformOptions, 'engine' | 'kept' | 'splits' | 'signal' | 'onProgress' | 'onMessage'>

/** The seconds of a step by seed, measured or kept. */
export class StepTimes {
  constructor(private readonly options: Options) {}

  /** The seconds of a step of each configuration, all measured on one machine. */
  async of(seed: number, configs: readonly PretrainConfig[]): Promise<number[]> {
    const { engine, kept, splits, signal, onProgress } = this.options
    const known = kept?.stepSeconds(seed, configs)
    if (known) return known
    const distinct = configs.filter((config, i) => configs.findIndex((other) => same(other, config)) === i)
    const { pretraining: dataset } = await splits(configs[0])
    const label = `seconds of a step, seed ${seed}`
    const seconds = await stepSeconds(distinct, {
      ...{ engine, dataset, signal, ...MEASURED },
      onProgress: (done, total) => onProgress(label, '', done, total),
    })
    await kept?.addTimes({
      ...{ kind: 'times', seed, adapter: engine.description, cpu: cpuName() },
      steps: distinct.map((config, i) => ({ config: outcomeOptions(config), seconds: seconds[i] })),
    })
    return configs.map((config) => seconds[distinct.findIndex((other) => same(other, config))])
  }
}

const same = (a: PretrainConfig, b: PretrainConfig): boolean => sameOutcome(outcomeOptions(a), b)

const cpuName = (): string => `${cpus()[0]?.model.trim() ?? 'unknown'}, ${cpus().length} threads`
