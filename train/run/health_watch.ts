/** Watches the weights and the gradients of a run: a reading every few steps, and one before each checkpoint. */
import type { Engine } from '../../engine/index.js'
import type { PretrainConfig } from '../config/config.js'
import { weightHealth, type WeightHealth, type WeightReading } from '../diagnostics/weight_health.js'
import { followingDicts, trainedDicts, type Network } from '../step/network.js'
import type { TrainingStep } from '../step/index.js'
import { DivergedError, grownWeights, refuseNotFinite } from './diverged.js'

/** Steps between readings. */
export const WATCH_EVERY = 20
/** Weights that have grown are reported again when they are this many times as large. */
const AGAIN = 100

/** What is read after a step. */
export interface HealthReading extends WeightReading {
  /** With `clipNorm` in f32: the norm of the step's gradients. */
  gradientNorm?: number
}

export interface HealthWatchOptions {
  engine: Engine
  network: Network
  trainingStep: TrainingStep
  config: PretrainConfig
  onMessage?(line: string): void
}

export class HealthWatch {
  private warnAbove = 0
  /** Whether the last reading was of a step that was skipped because of its gradients. */
  private skipped = false

  private constructor(
    private readonly options: HealthWatchOptions,
    private readonly weights: WeightHealth,
  ) {}

  static async open(options: HealthWatchOptions): Promise<HealthWatch> {
    const { engine, network, trainingStep } = options
    const dicts = trainedDicts(network)
    const parameters = dicts.flatMap((dict) => dict.parameters)
    const others = [...dicts, ...followingDicts(network)].flatMap((dict) => dict.variables)
    return new HealthWatch(options, await weightHealth(engine, parameters, [...others, ...trainingStep.state]))
  }

  /** Begins to read the state after the step that was submitted last. */
  async read(): Promise<HealthReading> {
    const { trainingStep } = this.options
    const [weights, norm] = await Promise.all([this.weights.read(), trainingStep.gradientNorm?.()])
    return { ...weights, ...(norm && { gradientNorm: norm[0] }) }
  }

  /**
   * @param finiteOnly every value that is not finite ends the run, and nothing else does
   * @throws DivergedError if the run cannot go on
   */
  judge(step: number, { gradientNorm, ...weights }: HealthReading, finiteOnly?: 'finiteOnly'): void {
    const { config, onMessage } = this.options
    const reading = { step, ...weights }
    refuseNotFinite(config, reading)
    const grown = grownWeights(config, reading)
    if (grown?.hopeless && !finiteOnly) throw new DivergedError(grown.line)
    if (grown && weights.largest.rms > this.warnAbove) {
      this.warnAbove = AGAIN * weights.largest.rms
      onMessage?.(grown.line)
    }
    const skipped = gradientNorm !== undefined && !Number.isFinite(gradientNorm)
    const line = `the gradients are not finite at step ${step}, so \`clipNorm\` skips the step`
    if (skipped && (this.skipped || finiteOnly))
      throw new DivergedError(
        `${line}${finiteOnly ? '' : `, as ${WATCH_EVERY} steps before`}: lower \`lr\` (now ${config.lr})`,
      )
    if (skipped) onMessage?.(line)
    this.skipped = skipped
  }

  /** Reads and judges the state after the step that was submitted last. */
  async check(step: number): Promise<void> {
    this.judge(step, await this.read())
  }

  release(): void {
    this.weights.release()
  }
}
