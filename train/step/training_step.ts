/** A training step, however it is recorded: as one program, in chunks of views, or over several micro-batches. */
import type { Variable } from '../../engine/index.js'
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
    | 'precision'
    | 'augmentation'
    | 'optimizer'
    | 'momentum'
    | 'weightDecay'
    | 'clipNorm'
    | 'emaRate'
  >

/** What a step has beside the network and the optimiser. */
export interface StepExtras {
  /** [1]: λ, where it changes during training. */
  readonly lambda?: Variable
  /** Trained within the step, without influence on it. */
  readonly probe?: OnlineProbe
}

/** Of `accumulate` micro-batches, one after the other; within each, view-major. */
export interface StepInputs {
  /** [accumulate · views · batch, ROW_FLOATS] as `drawViews` makes them. */
  readonly rows: Float32Array
  /** [1], the learning rate. */
  readonly rate: Float32Array
  /** [1], BYOL: the rate of the target's moving average. */
  readonly targetRate?: Float32Array
  /** With a probe: the label of each row's image. */
  readonly labels?: Uint32Array
}

/** A step that has been recorded. */
export interface TrainingStep {
  /** What a checkpoint keeps beside the network: moments and counters of the optimiser, λ, the probe. */
  readonly state: readonly Variable[]
  /** Dispatches in one step. */
  readonly dispatches: number
  /** The kernels chosen for its products, as `Engine.variants` takes them. */
  readonly variants: ReadonlyMap<string, string>
  /** Bytes beside the network, the optimiser's state and the data set. */
  readonly peakBytes: number
  /** Takes a step; returns once it is submitted. */
  run(inputs: StepInputs): Promise<void>
  /** The loss [1] of the latest step that was submitted: the mean over its micro-batches. */
  loss(): Promise<Float32Array>
  /** With f16: [3], the loss scale after that step, clean steps since it changed, and steps skipped so far. */
  lossScale?(): Promise<Float32Array>
  /** With a probe: its logits for the last rows of that step, as many as its last program had. */
  logits?(): Promise<Float32Array>
  /** Frees all but the network and `state`. */
  destroy(): void
}
