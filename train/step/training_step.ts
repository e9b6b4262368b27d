/** The interface of a training step. */
import type { Assignment, Collective, Value, Variable } from '../../engine/index.js'
import type { ObjectiveConfig, PretrainConfig } from '../config/config.js'
import type { OnlineProbe } from '../readout/online.js'

/** The options that a step depends on. */
export type StepConfig = ObjectiveConfig &
  Pick<
    PretrainConfig,
    | 'views'
    | 'viewChunk'
    | 'batch'
    | 'accumulate'
    | 'bn'
    | 'bnStatistics'
    | 'lossStatistics'
    | 'precision'
    | 'augmentation'
    | 'optimizer'
    | 'momentum'
    | 'weightDecay'
    | 'clipNorm'
    | 'secondGradient'
    | 'radius'
    | 'gateBudget'
    | 'emaRate'
  >

export interface Loss {
  /** A scalar [1]. */
  loss: Value
  /** The parts of the loss: their names, and one vector [parts]. */
  parts?: { names: readonly string[]; values: Value }
}

/** What a step does with gradients; `optimizer.ts` makes it. */
export interface StepOptimizer {
  readonly parameters: readonly Variable[]
  /** With f16: the loss scale, the seed for the gradients of the loss. */
  readonly seed?: Value
  /** The moments, the counters and the loss scale. */
  readonly state: readonly Variable[]
  /** The gradients of a loss, at the parameters or at a second point. */
  gradientsOf(loss: Value, rate: Value, seed?: Value): Value[]
  /**
   * Applies gradients. With f16 there is an output `lossScale` [3], else with clipping an output `gradientNorm` [1], the
   * norm before clipping.
   */
  apply(gradients: readonly Value[], rate: Value): { updates: Assignment[]; outputs: Record<string, Value> }
}

/** What a step has in addition to the network and the optimiser. */
export interface StepExtras {
  /** λ [1], if it changes during training. */
  readonly lambda?: Variable
  /** A probe that the step trains; it does not influence the network. */
  readonly probe?: OnlineProbe
  /** The ranks that share the step, where there are several. `batch` is then the number of this rank's images. */
  readonly collective?: Collective
  /** The optimiser, if two recorded steps share it; by default each step has its own. */
  readonly optimizer?: StepOptimizer
}

/** The inputs of a step: one micro-batch after another, each view-major. */
export interface StepInputs {
  /** [accumulate · rowViews · batch, ROW_FLOATS] as `viewRows` makes them. */
  readonly rows: Float32Array
  /** The learning rate [1]. */
  readonly rate: Float32Array
  /** BYOL: the rate [1] of the target's moving average. */
  readonly targetRate?: Float32Array
  /** With a probe: the label of each row's image [accumulate · rowViews · batch]. */
  readonly labels?: Uint32Array
}

/** A recorded step. */
export interface TrainingStep {
  /** What a checkpoint keeps in addition to the network: moments and counters of the optimiser, λ, the probe. */
  readonly state: readonly Variable[]
  /** Dispatches per step. */
  readonly dispatches: number
  /** The variants chosen for its products, as `Engine.variants` takes them. */
  readonly variants: ReadonlyMap<string, string>
  /** Bytes in addition to the network, the optimiser's state and the data set. */
  readonly peakBytes: number
  /** Takes a step. Resolves when the step is submitted. */
  run(inputs: StepInputs): Promise<void>
  /** The loss [1] of the step that was submitted last: the mean over its micro-batches. */
  loss(): Promise<Float32Array>
  /** The parts of that loss, where the objective has parts: their names and values, which add up to the loss. */
  readonly parts?: { readonly names: readonly string[]; read(): Promise<Float32Array> }
  /**
   * With f16 [3]: the loss scale after that step, the steps without overflow since it changed, the steps skipped so
   * far.
   */
  lossScale?(): Promise<Float32Array>
  /** With `clipNorm` in f32 [1]: the norm of that step's gradients before clipping. */
  gradientNorm?(): Promise<Float32Array>
  /** With a probe: its logits [rows, classes] for the last rows of that step, those of the last program run. */
  logits?(): Promise<Float32Array>
  /** Frees everything except the network and `state`. */
  destroy(): void
}
