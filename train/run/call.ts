/** What a call of `pretrain` takes and gives. */
import type { BuildProgress, Collective, Engine } from '../../engine/index.js'
import type { Backbone, Projector, SafetensorsTensor } from '../../models/index.js'
import type { PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import type { Network } from '../step/network.js'
import type { StepMetrics } from './metrics.js'
import type { RunStore } from './store.js'

/** Initial weights of a backbone. */
export interface InitialWeights {
  /** With torchvision's names. Other tensors than those of the backbone are ignored. */
  tensors: Readonly<Record<string, SafetensorsTensor>>
  /** Names the file in error messages. */
  source: string
}

export interface PretrainOptions {
  engine: Engine
  dataset: ImageDataset
  config: PretrainConfig
  /** The weights that the option `init` of `config` names. A resumed run does not need them. */
  initial?: InitialWeights
  /** With `onlineProbe`: labelled test images, which nearest neighbours classify at every checkpoint. */
  test?: ImageDataset
  /**
   * With `onlineProbe`, if `dataset` has no labels: labelled images to search for neighbours. No probe is trained in
   * this case.
   */
  labelled?: ImageDataset
  /**
   * With `out`: the share of the training time that diagnosing the features at checkpoints may take, 0.04 by default. A
   * checkpoint whose diagnosis would take more has no line in diagnostics.jsonl. 0: no checkpoint has one; Infinity:
   * all have one.
   */
  diagnosisShare?: number
  /** Where checkpoints, metrics and the summary are written; without it nothing is written. Only rank 0 needs it. */
  out?: RunStore
  /** The ranks that share the run, each with its own engine and the same options. Each takes a share of every batch. */
  collective?: Collective
  /** Continues from the newest whole checkpoint in `out`. */
  resume?: boolean
  /** With `out`: the number of last checkpoints that keep what resuming needs, 2 by default. */
  keep?: number
  /**
   * With `out`: epochs between the checkpoints whose weights stay for good; the others are removed when they are no
   * longer among the last. 0: none stay. By default the weights of all checkpoints stay.
   */
  keepWeights?: number
  /** Saves and stops after this many minutes of wall-clock time, counted from the call. */
  maxMinutes?: number
  /**
   * Finds the op with which a divergence begins: the `detail` of the DivergedError names it, with its shapes and the
   * ranges of its operands. Every step waits for its result, so a run takes longer.
   */
  debugNan?: boolean
  /** Saves and stops after the current step. */
  signal?: AbortSignal
  /** Called when the first step is about to run, with the steps done before this call and those of the whole run. */
  onBegin?(done: number, steps: number): void
  /** Called for every step, in order, soon after it has run. */
  onStep?(metrics: StepMetrics): void
  /** Called after each checkpoint that ends an epoch or the run. The time of the call does not count as training. */
  onCheckpoint?(where: { step: number; epoch: number }): Promise<void>
  /**
   * Called after each step is submitted. If it returns a function, the run waits until the step is done and then for the
   * function, which may read the network and run programs with it. Its time does not count.
   */
  inspect?(where: { step: number; epoch: number }, network: Network): (() => Promise<void>) | undefined
  onMessage?(line: string): void
  /** Called before the first step: for each distinct pipeline that is ready, and while initial weights are drawn. */
  onCompile?: BuildProgress
}

export interface PretrainResult {
  backbone: Backbone
  projector: Projector
  /** The moving average of the backbone. Only runs with `emaRate` have it. */
  average?: Backbone
  /** Steps and whole epochs done by the run, with those before it was resumed. */
  steps: number
  epochs: number
  /** The loss at each step of this call. */
  losses: number[]
  /** Training time of the whole run, in seconds, without checkpoints and readouts. */
  seconds: number
  /** Seconds from the call to the end of its first step, with compilation. */
  secondsToFirstStep: number
  /** Images per second over the steps of this call. */
  imagesPerSecond: number
  /** Bytes on the device in addition to the network, the optimiser's state and the data set. */
  peakBytes: number
  /** With streaming: seconds that steps of this call waited for their images. */
  waitSeconds?: number
  /** With streaming: the share of this call's training time that its steps waited. */
  waitShare?: number
  /** With f16: steps that the whole run skipped because gradients overflowed. */
  skipped?: number
  /** Why the call ended: the run reached its last step, `signal` was aborted, or `maxMinutes` had passed. */
  stopped: 'done' | 'signal' | 'time'
}
