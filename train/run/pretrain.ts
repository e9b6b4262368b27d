/** Pretraining: one recorded step, replayed over shuffled batches; resumable bit for bit. */
import { variable, type Engine } from '../../engine/index.js'
import {
  importStateDict,
  type Backbone,
  type Projector,
  type SafetensorsTensor,
  type StateDict,
} from '../../models/index.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import { imageFeed, type ImageFeed } from '../feed/image_feed.js'
import { refuseLargeBatch, trainingImages } from '../feed/batches.js'
import { onlineProbe } from '../readout/online.js'
import { compileTrainingStep, type StepExtras, type TrainingStep } from '../step/index.js'
import { backbonesOf, buildNetwork, followingDicts, trainedDicts, type Network } from '../step/network.js'
import { refuseUnfit } from '../step/fit.js'
import { refuseOversized } from '../step/network_size.js'
import { KEEP, openRun, restoreState, saveCheckpoint, type Saved } from './checkpoint.js'
import type { Checkpoint, Progress } from './checkpoint_record.js'
import { checkpointReadings } from './checkpoint_readings.js'
import { TrainingClock } from './clock.js'
import { createRun, refuseChanges, refuseExistingRun, writeConfig, writeSummary } from './folder.js'
import { trainingLoop } from './loop.js'
import { lineFiles, truncateLines, type StepMetrics } from './metrics.js'
import { runLength, type RunLength } from './schedule.js'
import { StepRecorder } from './step_recorder.js'
import type { RunStore } from './store.js'
import { sameVariants, useVariants, variantsFor } from './variants.js'

export { DivergedError } from './diverged.js'
export type { StepMetrics } from './metrics.js'

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
  /** With the option `init` in `config`, unless the run is resumed: the weights that it names. */
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
  /** Where checkpoints, metrics and the summary are written; without it nothing is written. */
  out?: RunStore
  /** Continues from the newest whole checkpoint in `out`. */
  resume?: boolean
  /** With `out`: the number of last checkpoints that keep what resuming needs, 2 by default. */
  keep?: number
  /** Saves and stops after this many minutes of wall-clock time, counted from the call. */
  maxMinutes?: number
  /** Saves and stops after the current step. */
  signal?: AbortSignal
  /** Called when the first step is about to run, with the steps done before this call and those of the whole run. */
  onBegin?(done: number, steps: number): void
  /** Called for every step, in order, soon after it has run. */
  onStep?(metrics: StepMetrics): void
  /** Called after each checkpoint, unless it was saved by time or because the run was stopped. Its time does not count. */
  onCheckpoint?(where: { step: number; epoch: number }): Promise<void>
  /**
   * Called after each step is submitted. If it returns a function, the run waits until the step is done and then for the
   * function, which may read the network and run programs with it. Its time does not count.
   */
  inspect?(where: { step: number; epoch: number }, network: Network): (() => Promise<void>) | undefined
  onMessage?(line: string): void
  /** Called before the first step, for each distinct pipeline that is ready. */
  onCompile?(done: number, total: number): void
}

export interface PretrainResult {
  backbone: Backbone
  projector: Projector
  /** With `emaRate`: the moving average of the backbone. */
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

const DIAGNOSIS_SHARE = 0.04

/**
 * Pretrains a network on a data set.
 *
 * The order of images and every view are functions of (seed, epoch, image, view). A run that is stopped and resumed
 * therefore continues exactly as if it had not been stopped. Epochs drop the last partial batch. Networks that the
 * result does not return are freed, and all of them if the run fails.
 *
 * @throws ConfigError if the configuration does not fit the data; DivergedError, which names the step, if the loss is
 *   not finite
 */
export async function pretrain(options: PretrainOptions): Promise<PretrainResult> {
  const { out, resume = false, keep = KEEP } = options
  if (!Number.isSafeInteger(keep) || keep < 1)
    throw new ConfigError(`\`keep\` ${keep}: must be a whole number of at least 1`)
  const indices = imagesOf(options)
  if (out && !resume) await refuseExistingRun(out)
  const unlock = await out?.lock?.()
  try {
    const found = resume ? await checkpointToResume(options) : undefined
    if (out && !resume) await refuseExistingRun(out)
    return await pretrainFrom(found, options, indices)
  } finally {
    await unlock?.()
  }
}

/** Pretrains from a checkpoint, or from the beginning. */
async function pretrainFrom(
  found: Found | undefined,
  options: PretrainOptions,
  indices: Uint32Array,
): Promise<PretrainResult> {
  const { engine, config } = options
  const initial = initialOf(options, found?.latest)
  const network = buildNetwork(config)
  refuseOversized(network, config, engine.target)
  const { backbone, projector, average } = network
  const release = (parts: readonly ({ dict: StateDict } | undefined)[]): void => {
    for (const v of parts.flatMap((part) => part?.dict.variables ?? [])) engine.release(v)
  }
  const restoreVariants = useVariants(engine, variantsFor(engine, found?.latest))
  try {
    if (initial)
      for (const { dict } of backbonesOf(network)) importStateDict(engine, dict, initial.tensors, initial.source)
    const ended = await train(options, network, indices, found)
    return { backbone, projector, ...(average && { average }), ...ended }
  } catch (error) {
    release([backbone, projector, average])
    throw error
  } finally {
    restoreVariants()
    release([network.predictor, network.target?.backbone, network.target?.projector])
  }
}

/** The initial weights of a new run that begins from given ones. */
function initialOf({ config: { init }, initial }: PretrainOptions, latest?: Checkpoint): InitialWeights | undefined {
  // A checkpoint has all weights.
  if (latest) return undefined
  if (init !== undefined && !initial) throw new ConfigError(`\`init\` ${init}: pass its weights as \`initial\``)
  if (init === undefined && initial)
    throw new ConfigError('`initial`: name these weights in the configuration, as `init`')
  return initial
}

/** The images that a run trains on; throws a ConfigError if something does not fit, before anything is made. */
function imagesOf({ engine, dataset, config, labelled, test, maxMinutes }: PretrainOptions): Uint32Array {
  if (maxMinutes !== undefined && !(maxMinutes > 0))
    throw new ConfigError(`\`maxMinutes\` ${maxMinutes}: must be more than 0`)
  if (config.precision === 'f16' && !engine.target.f16)
    throw new ConfigError(
      `\`precision\` f16: ${engine.description} has no f16 (shader-f16): train with \`precision\` f32, or choose another \`adapter\``,
    )
  if (config.onlineProbe && !dataset.labels.length && !(labelled?.labels.length && test?.labels.length))
    throw new ConfigError(
      `\`onlineProbe\`: the images of ${dataset.name} (${dataset.split}) have no labels, and no labelled images are given: leave it out`,
    )
  const indices = trainingImages(dataset, config)
  refuseLargeBatch(config, indices.length, dataset.name)
  return indices
}

/** The checkpoint to resume from, and the names of newer ones that are damaged. */
interface Found {
  latest: Checkpoint
  damaged: readonly string[]
}

/** @throws ConfigError if there is no whole checkpoint, or the configuration would make it another run */
async function checkpointToResume({ out, config, onMessage }: PretrainOptions): Promise<Found> {
  if (!out) throw new ConfigError('`resume`: name the run with `out`')
  const { config: before, latest, damaged } = await openRun(out, { purpose: 'resume', onMessage })
  if (!latest) throw new ConfigError(`\`resume\`: ${out.nameOf()} holds no checkpoint to resume from`)
  refuseChanges(out, before, config)
  return { latest, damaged }
}

/** Records the step, trains to the end of the run, and frees everything but the network. */
async function train(
  options: PretrainOptions,
  network: Network,
  indices: Uint32Array,
  found: Found | undefined,
): Promise<Omit<PretrainResult, 'backbone' | 'projector' | 'average'>> {
  const { engine, dataset, config, out, maxMinutes, signal, keep = KEEP, onStep, onMessage } = options
  const { latest, damaged = [] } = found ?? {}
  const { backbone } = network
  const length = runLength(config, indices.length)
  const clock = new TrainingClock(length.imagesPerStep, latest?.seconds)
  announce(options, backbone, length)
  const feed = imageFeed(engine, dataset, length.imagesPerStep, config.stream)
  const readings = checkpointReadings({
    ...{ engine, backbone, dataset, config, out, onMessage },
    ...{ test: options.test, bank: dataset.labels.length ? dataset : options.labelled },
    diagnosisShare: options.diagnosisShare ?? DIAGNOSIS_SHARE,
  })
  let trainingStep: TrainingStep | undefined
  let recorder: StepRecorder | undefined
  try {
    const extras = extrasOf(options, backbone)
    trainingStep = await recordStep(options, feed, network, extras, clock)
    const { saved, progress } = await beginOrResume(options, network, trainingStep, latest)
    recorder = new StepRecorder({
      ...{ config, trainingStep, clock, out, onStep },
      ...{ steps: length.steps, classes: dataset.classes.length },
    })
    if (progress.step < length.steps) options.onBegin?.(progress.step, length.steps)
    const { stopped, ...waited } = await trainingLoop({
      ...{ engine, dataset, config, indices, length, feed, trainingStep, progress, clock, recorder, readings },
      lambda: extras.lambda && { variable: extras.lambda, value: (await engine.read(extras.lambda))[0] },
      hasTarget: network.target !== undefined,
      hasProbe: extras.probe !== undefined,
      onCheckpoint: options.onCheckpoint,
      inspect: (where) => options.inspect?.(where, network),
      save: async (byTime) => {
        if (byTime) progress.byTime = true
        else delete progress.byTime
        if (out) await saveCheckpoint(engine, out, saved, progress, config, { keep, damaged })
      },
      stopRequested: () => {
        if (signal?.aborted) return 'signal'
        return maxMinutes !== undefined && clock.secondsElapsed > 60 * maxMinutes ? 'time' : undefined
      },
    })
    const { step: steps, epoch: epochs, seconds } = progress
    const { secondsToFirstStep, imagesPerSecond } = clock
    const { losses, skipped } = recorder
    const { peakBytes } = trainingStep
    const figures = { seconds, secondsToFirstStep, imagesPerSecond, peakBytes, ...waited }
    // Resuming a run that has ended does nothing, and keeps its summary.
    if (out && losses.length > 0)
      await writeSummary(out, {
        ...{ stopped, steps, totalSteps: length.steps, epochs, finalLoss: losses[losses.length - 1] },
        ...(skipped !== undefined && { skipped }),
        ...figures,
        adapter: engine.description,
        date: new Date().toISOString(),
      })
    return { steps, epochs, losses, ...figures, skipped, stopped }
  } finally {
    // Submitted steps are read before their buffers are freed.
    await recorder?.close()
    trainingStep?.destroy()
    for (const v of trainingStep?.state ?? []) engine.release(v)
    readings.release()
    feed.release()
  }
}

function announce(
  { dataset, config, labelled, resume, onMessage }: PretrainOptions,
  backbone: Backbone,
  { steps, imagesPerStep }: RunLength,
): void {
  const { parameterCount, frozenCount } = backbone.dict
  const parameters =
    `${parameterCount.toLocaleString('en')} parameters` +
    (config.freezeStages === undefined ? '' : `, ${frozenCount.toLocaleString('en')} of them frozen`)
  onMessage?.(
    `${config.arch}, width ${config.width}: ${parameters}; ${steps.toLocaleString('en')} steps of ${imagesPerStep} images × ${config.views} views`,
  )
  if (config.init !== undefined && !resume) onMessage?.(`initial weights of the backbone: ${config.init}`)
  if (config.onlineProbe && !dataset.labels.length)
    onMessage?.(
      `\`onlineProbe\`: the ${dataset.split} images of ${dataset.name} have no labels: nearest neighbours are read among the ${labelled!.split} images at every checkpoint, and no linear probe is trained`,
    )
}

/** What a step has in addition to the network: λ if it adapts, and a probe if there are labels. */
const extrasOf = ({ dataset, config }: PretrainOptions, { features }: Backbone): StepExtras => ({
  lambda: config.adaptiveLambda ? variable('lambda', [1], Float32Array.of(config.lambda!)) : undefined,
  probe:
    config.onlineProbe && dataset.labels.length > 0
      ? onlineProbe({ features, classes: dataset.classes.length, seed: config.seed })
      : undefined,
})

async function recordStep(
  { engine, dataset, config, onMessage, onCompile }: PretrainOptions,
  feed: ImageFeed,
  network: Network,
  extras: StepExtras,
  clock: TrainingClock,
): Promise<TrainingStep> {
  let pipelines = 0
  const trainingStep = await compileTrainingStep(engine, feed.onDevice, network, config, extras, (done, total) => {
    pipelines = total
    onCompile?.(done, total)
  }).catch((error: unknown) => {
    // If the adapter is too small for the step, this error says what would fit.
    refuseUnfit({ engine, side: dataset.height }, config)
    const { message } = error as Error
    if (message.includes('out of device memory'))
      throw new ConfigError(`${message}; use a smaller \`batch\`, or \`viewChunk\` with \`bn\` per-view`)
    throw error
  })
  const { dispatches, peakBytes } = trainingStep
  onMessage?.(
    `recorded ${dispatches.toLocaleString('en')} dispatches per step with ${pipelines} kernels in ${clock.secondsElapsed.toFixed(1)} s; ${mebibytes(peakBytes)} in addition to the weights`,
  )
  return trainingStep
}

/** Writes the configuration of a new run, or restores a run from its checkpoint. */
async function beginOrResume(
  { engine, config, out, onMessage }: PretrainOptions,
  network: Network,
  { state, variants }: TrainingStep,
  latest: Checkpoint | undefined,
): Promise<{ saved: Saved; progress: Progress }> {
  const dicts = trainedDicts(network)
  const kept = [...followingDicts(network).flatMap((dict) => dict.variables), ...state]
  const progress: Progress = {
    step: latest?.step ?? 0,
    epoch: latest?.epoch ?? 0,
    stepInEpoch: latest?.stepInEpoch ?? 0,
    seconds: latest?.seconds ?? 0,
    adapter: engine.description,
    target: engine.target,
    variants: Object.fromEntries(variants),
  }
  if (out && latest) {
    if (!sameVariants(latest, progress))
      onMessage?.(
        `this adapter uses other kernels than the run so far (${latest.adapter}): the results will agree, but not bit for bit`,
      )
    await restoreState(engine, out, latest, [...dicts.flatMap((dict) => dict.variables), ...kept])
    for (const file of lineFiles) await truncateLines(out, file, progress.step, onMessage)
    await writeConfig(out, config)
    onMessage?.(`resumed ${out.nameOf()} at step ${progress.step}`)
  } else if (out) await createRun(out, config)
  return { saved: { dicts, average: network.average?.dict, state: kept }, progress }
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
