/** Pretraining: one recorded step, replayed over shuffled batches; resumable bit for bit. */
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { variable, type Engine } from '../../engine/index.js'
import type { Backbone, Projector, StateDict } from '../../models/index.js'
import { batchesOf, fractionOf, labelsOf, rowsOf } from '../feed/order.js'
import {
  createRun,
  openRun,
  refuseChanges,
  refuseExistingRun,
  restoreState,
  saveCheckpoint,
  writeConfig,
  type Checkpoint,
  type Progress,
} from './checkpoint.js'
import { ConfigError, objectiveOptions, type PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import { imageFeed } from '../feed/image_feed.js'
import { writeAtomically } from '../node/files.js'
import { appendLine, lineFiles, truncateLines, type StepMetrics } from './metrics.js'
import { buildNetwork, followingDicts, trainedDicts, type Network } from '../step/network.js'
import { objectives } from '../objectives/index.js'
import { optionOf } from '../config/option_name.js'
import { accuracies } from '../readout/linear_probe.js'
import { onlineProbe } from '../readout/online.js'
import { learningRate, targetRate } from './schedule.js'
import { compileTrainingStep, type StepExtras, type TrainingStep } from '../step/index.js'
import { watch } from './checkpoint_readings.js'

export type { StepMetrics } from './metrics.js'

export interface PretrainOptions {
  engine: Engine
  dataset: ImageDataset
  config: PretrainConfig
  /** With `onlineProbe`: labelled images that nearest neighbours are read on at every checkpoint. */
  test?: ImageDataset
  /** With `onlineProbe`, where `dataset` has no labels: images that have, to search among. No probe is trained then. */
  labelled?: ImageDataset
  /**
   * With `out`: the share of the training time that diagnosing the features at checkpoints may take, 0.04 by default.
   * Checkpoints where it would take more have no line in diagnostics.jsonl. 0: none has; Infinity: all have.
   */
  diagnosisShare?: number
  /** Folder for checkpoints, metrics and the summary; without it nothing is written. */
  out?: string
  /** Goes on from the newest checkpoint in `out`. */
  resume?: boolean
  /** Saves and stops when so much wall-clock has been spent in this sitting. */
  maxMinutes?: number
  /** Saves and stops after the step in flight. */
  signal?: AbortSignal
  /** Called for every step, in order, shortly after it has run. */
  onStep?(metrics: StepMetrics): void
  onMessage?(line: string): void
  /** Called for each distinct pipeline that is ready, before the first step. */
  onCompile?(done: number, total: number): void
}

export interface PretrainResult {
  backbone: Backbone
  projector: Projector
  /** With `emaRate`: the moving average of the backbone. */
  average?: Backbone
  /** Steps and whole epochs done, over all sittings. */
  steps: number
  epochs: number
  /** The loss at each step of this sitting. */
  losses: number[]
  /**
   * Wall-clock spent training, over all sittings, without checkpoints and what is read at them; and until the first
   * step of this sitting was done.
   */
  seconds: number
  secondsToFirstStep: number
  imagesPerSecond: number
  peakBytes: number
  /** Where images stream to the device: seconds that steps of this sitting waited for theirs. */
  waitSeconds?: number
  /** Their share of the time that this sitting trained. */
  waitShare?: number
  /** With f16: steps skipped because gradients overflowed, over all sittings. */
  skipped?: number
  stopped: 'done' | 'signal' | 'time'
}

const DIAGNOSIS_SHARE = 0.04
/** A loss scale below this has been halved 32 times: no scale will do. */
const LEAST_LOSS_SCALE = 2 ** -16

/** The loss became infinite or not a number. */
export class DivergedError extends Error {
  override name = 'DivergedError'
}

/**
 * Pretrains a network on a data set.
 *
 * The order of images and every view are functions of (seed, epoch, image, view), so that a run that is stopped and
 * resumed goes on exactly as if it had not been. Epochs drop the last partial batch. What the result does not return
 * is freed, and everything where the run fails.
 *
 * @throws ConfigError where the configuration does not fit the data; DivergedError naming the step where the loss is
 *   not finite
 */
export async function pretrain(options: PretrainOptions): Promise<PretrainResult> {
  const { engine, config, out, resume = false } = options
  const indices = imagesOf(options)
  const opened = out && resume ? await openRun(out) : undefined
  if (out && !resume) refuseExistingRun(out)
  if (resume && !opened?.latest)
    throw new ConfigError(`--resume: ${out ?? 'no --out'} holds no checkpoint to go on from`)
  if (opened) refuseChanges(opened.folder, opened.config, config)
  const network = buildNetwork(config)
  const { backbone, projector, average } = network
  const release = (parts: readonly ({ dict: StateDict } | undefined)[]): void => {
    for (const v of parts.flatMap((part) => part?.dict.variables ?? [])) engine.release(v)
  }
  try {
    const ended = await trainNetwork(options, network, indices, opened?.latest)
    return { backbone, projector, ...(average && { average }), ...ended }
  } catch (error) {
    release([backbone, projector, average])
    throw error
  } finally {
    release([network.predictor, network.target?.backbone, network.target?.projector])
  }
}

/** The images that a run trains on; says what does not fit before anything is made. */
function imagesOf({ engine, dataset, config, labelled, test }: PretrainOptions): Uint32Array {
  if (config.precision === 'f16' && !engine.target.f16)
    throw new ConfigError(
      `--precision f16: ${engine.description} has no f16 (shader-f16): train with --precision f32, or choose another --adapter`,
    )
  if (config.onlineProbe && !dataset.labels.length && !(labelled?.labels.length && test?.labels.length))
    throw new ConfigError(
      `--online-probe: the images of ${dataset.name} (${dataset.split}) have no labels, and there are no other ones to read: leave it out`,
    )
  const { batch, accumulate, fraction } = config
  const indices = fractionOf(dataset, config)
  if (batch * accumulate <= indices.length) return indices
  const remedies = [
    `lower --batch${accumulate > 1 ? ' or --accumulate' : ` to at most ${indices.length}`}`,
    ...(fraction < 1 ? ['raise --fraction'] : []),
  ]
  throw new ConfigError(
    `--batch ${batch}${accumulate > 1 ? ` (--accumulate ${accumulate})` : ''} is larger than the data set: ${indices.length} images of ${dataset.name}${fraction < 1 ? ` (--fraction ${fraction})` : ''}: ${remedies.join(', or ')}`,
  )
}

/** Records the step and replays it to the run's end; frees all but the network. */
async function trainNetwork(
  options: PretrainOptions,
  network: Network,
  indices: Uint32Array,
  latest: Checkpoint | undefined,
): Promise<Omit<PretrainResult, 'backbone' | 'projector' | 'average'>> {
  const { engine, dataset, config, out, maxMinutes, signal, onStep, onMessage, onCompile } = options
  const { seed, views, batch, accumulate } = config
  const { backbone, average } = network
  const perStep = batch * accumulate
  const stepsPerEpoch = Math.floor(indices.length / perStep)
  const steps = Math.min(config.steps ?? Infinity, config.epochs * stepsPerEpoch)
  const schedule = {
    lr: config.lr,
    shape: config.schedule,
    warmupSteps: Math.round(config.warmupEpochs * stepsPerEpoch),
    steps,
    floor: config.lrFloor ?? 1,
  }
  const started = performance.now()
  onMessage?.(
    `${config.arch}, width ${config.width}: ${backbone.dict.parameterCount.toLocaleString('en')} parameters; ${steps.toLocaleString('en')} steps of ${perStep} images × ${views} views`,
  )
  // A run that goes on keeps the kernels that it began with, unless the adapter is another.
  const sameAdapter = isDeepStrictEqual(latest?.target, JSON.parse(JSON.stringify(engine.target)))
  if (latest && sameAdapter) engine.variants = new Map([...engine.variants, ...Object.entries(latest.variants)])
  const labels = dataset.labels.length > 0
  if (config.onlineProbe && !labels)
    onMessage?.(
      `--online-probe: the ${dataset.split} images of ${dataset.name} have no labels: nearest neighbours are read among the ${options.labelled!.split} images at every checkpoint, and no linear probe is trained`,
    )
  const feed = imageFeed(engine, dataset, perStep, config.stream)
  const watching = watch({
    ...{ engine, backbone, dataset, config, out, onMessage },
    ...{ test: options.test, bank: labels ? dataset : options.labelled },
    diagnosisShare: options.diagnosisShare ?? DIAGNOSIS_SHARE,
  })
  const pending: Promise<void>[] = []
  let trainingStep: TrainingStep | undefined
  try {
    let pipelines = 0
    const compiled = (done: number, total: number): void => {
      pipelines = total
      onCompile?.(done, total)
    }
    const extras: StepExtras = {
      lambda: config.adaptiveLambda ? variable('lambda', [1], Float32Array.of(config.lambda!)) : undefined,
      probe:
        config.onlineProbe && labels
          ? onlineProbe({ features: backbone.features, classes: dataset.classes.length, seed })
          : undefined,
    }
    const recorded = await compileTrainingStep(engine, feed.onDevice, network, config, extras, compiled)
    trainingStep = recorded
    const { state, dispatches, peakBytes } = recorded
    onMessage?.(
      `recorded ${dispatches.toLocaleString('en')} dispatches a step of ${pipelines} kernels in ${((performance.now() - started) / 1000).toFixed(1)} s; ${mebibytes(peakBytes)} beside the weights`,
    )
    const dicts = trainedDicts(network)
    const kept = [...followingDicts(network).flatMap((dict) => dict.variables), ...state]

    const progress: Progress = {
      step: 0,
      epoch: 0,
      stepInEpoch: 0,
      seconds: 0,
      adapter: engine.description,
      target: engine.target,
      variants: Object.fromEntries(recorded.variants),
    }
    if (latest) {
      if (!sameAdapter || !isDeepStrictEqual(latest.variants, progress.variants))
        onMessage?.(
          `this adapter runs other kernels than the run so far (${latest.adapter}): the results will agree, but not bit for bit`,
        )
      await restoreState(engine, latest, [...dicts.flatMap((dict) => dict.variables), ...kept])
      Object.assign(progress, {
        step: latest.step,
        epoch: latest.epoch,
        stepInEpoch: latest.stepInEpoch,
        seconds: latest.seconds,
      })
      for (const file of lineFiles) await truncateLines(join(out!, file), progress.step)
      await writeConfig(out!, config)
      onMessage?.(`resumed ${out} at step ${progress.step}`)
    } else if (out) await createRun(out, config)

    const secondsBefore = progress.seconds
    let savedAt = progress.step
    const save = async (): Promise<void> => {
      if (!out) return
      await saveCheckpoint(engine, out, { dicts, average: average?.dict, state: kept }, progress, config)
      savedAt = progress.step
    }

    const losses: number[] = []
    let lambda = extras.lambda && (await engine.read(extras.lambda))[0]
    const times: number[] = []
    let secondsToFirstStep = 0
    let clock = 0
    let skipped: number | undefined
    let stopped: PretrainResult['stopped'] = 'done'
    let waitSeconds = 0
    // The clock of a run counts training: not what is saved and read between steps.
    let aside = 0
    const trainingTime = (): number => performance.now() - aside

    const observe = async (
      { step, epoch, lr, lambda, waitMs }: Pick<StepMetrics, 'step' | 'epoch' | 'lr' | 'lambda'> & { waitMs: number },
      labels: Uint32Array | undefined,
    ): Promise<void> => {
      const { loss: reading, lossScale, logits: probing } = recorded
      const [[loss], scaling, logits] = await Promise.all([reading(), lossScale?.(), probing?.()])
      const orInF32 = config.precision === 'f16' ? ', or train with --precision f32' : ''
      if (!Number.isFinite(loss))
        throw new DivergedError(
          `the loss is ${loss} at step ${step}: lower --lr (now ${config.lr})${orWeaker(config, lambda)}${orInF32}`,
        )
      if (scaling && scaling[0] < LEAST_LOSS_SCALE)
        throw new DivergedError(
          `the gradients overflow f16 at step ${step}, whatever the loss scale: lower --lr (now ${config.lr})${orInF32}`,
        )
      const now = trainingTime()
      if (times.length === 0) {
        secondsToFirstStep = (now - started) / 1000
        // Nor does it count compilation.
        clock = now - 1000 * secondsBefore
      }
      times.push(now)
      losses.push(loss)
      progress.seconds = (now - clock) / 1000
      const window = times.slice(-20)
      const rateNow = window.length > 1 ? (1000 * perStep * (window.length - 1)) / (now - window[0]) : 0
      skipped = scaling?.[2]
      const metrics: StepMetrics = {
        step,
        steps,
        epoch,
        loss,
        lr,
        ...(lambda !== undefined && { lambda }),
        ...(logits && labels && { probeTop1: probeAccuracy(logits, labels, dataset.classes.length) }),
        ...(scaling && { lossScale: scaling[0], skipped }),
        ...(feed.streams && { waitMs }),
        imagesPerSecond: rateNow,
        seconds: progress.seconds,
      }
      if (out) appendLine(join(out, 'metrics.jsonl'), metrics)
      onStep?.(metrics)
    }
    const settle = async (): Promise<void> => {
      await Promise.all(pending.splice(0))
    }

    /** Work between steps, once those that were submitted are over. */
    const between = async (work: () => Promise<void>): Promise<void> => {
      await settle()
      const begun = performance.now()
      await work()
      aside += performance.now() - begun
    }
    const checkpoint = async (): Promise<void> => {
      await save()
      await watching.atCheckpoint(progress, progress.seconds - secondsBefore)
    }

    const begun = trainingTime()
    for await (const { images, waitMs } of feed.batches(batchesOf(indices, { seed, perStep, steps }, progress))) {
      waitSeconds += waitMs / 1000
      const { epoch } = progress
      const rows = feed.place(rowsOf(dataset, config, images, epoch))
      const labels = extras.probe && labelsOf(dataset, config, images)
      const lr = learningRate(progress.step, schedule)
      await recorded.run({
        rows,
        rate: Float32Array.of(lr),
        ...(network.target && { targetRate: Float32Array.of(targetRate(progress.step, steps, config.targetRate)) }),
        ...(labels && { labels }),
      })
      progress.step++
      progress.stepInEpoch++
      const reading = observe({ step: progress.step, epoch, lr, lambda, waitMs }, labels)
      // What went wrong is thrown when it is awaited, a step or two later.
      reading.catch(() => undefined)
      pending.push(reading)
      if (pending.length > 2) await pending.shift()
      const epochEnds = progress.stepInEpoch === stepsPerEpoch
      if (epochEnds) {
        progress.epoch++
        progress.stepInEpoch = 0
      }
      if (epochEnds && extras.lambda) {
        const changing = extras.lambda
        await between(async () => {
          lambda = await watching.adapted(lambda!)
          engine.write(changing, Float32Array.of(lambda))
        })
      }
      if (epochEnds && progress.epoch % config.checkpointEvery === 0) await between(checkpoint)
      if (signal?.aborted) stopped = 'signal'
      else if (maxMinutes !== undefined && performance.now() - started > 60_000 * maxMinutes) stopped = 'time'
      if (stopped !== 'done') break
    }
    await settle()
    await engine.idle()
    const waited = feed.streams && { waitSeconds, waitShare: (1000 * waitSeconds) / (trainingTime() - begun) }
    if (progress.step === steps) stopped = 'done'
    // Who stops a run does not want to wait for what is read of it.
    if (savedAt !== progress.step) await (stopped === 'done' ? checkpoint() : save())

    const imagesPerSecond =
      times.length > 1 ? (1000 * perStep * (times.length - 1)) / (times[times.length - 1] - times[0]) : 0
    const figures = { seconds: progress.seconds, secondsToFirstStep, imagesPerSecond, peakBytes, ...waited }
    // Resuming a run that has ended does nothing, and leaves its summary alone.
    if (out && losses.length > 0)
      await writeSummary(out, {
        stopped,
        steps: progress.step,
        totalSteps: steps,
        epochs: progress.epoch,
        finalLoss: losses[losses.length - 1],
        ...(skipped !== undefined && { skipped }),
        ...figures,
        adapter: engine.description,
        date: new Date().toISOString(),
      })
    return { steps: progress.step, epochs: progress.epoch, losses, ...figures, skipped, stopped }
  } finally {
    // What was submitted is read before its buffers go.
    await Promise.allSettled(pending)
    trainingStep?.destroy()
    for (const v of trainingStep?.state ?? []) engine.release(v)
    watching.release()
    feed.release()
  }
}

const writeSummary = (folder: string, summary: object): Promise<void> =>
  writeAtomically(join(folder, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`)

/** Of the rows that the logits [rows, classes] are of: the last ones. */
function probeAccuracy(logits: Float32Array, labels: Uint32Array, classes: number): number {
  return accuracies(logits, labels.subarray(labels.length - logits.length / classes)).top1
}

/** The other remedy for a loss that diverges: a weaker constraint. */
function orWeaker(config: PretrainConfig, lambda: number | undefined): string {
  const { parameter, weaker } = objectives[config.objective].remedy
  const now = parameter === 'lambda' && lambda !== undefined ? lambda : objectiveOptions(config)[parameter]
  return weaker ? ` or ${weaker} ${optionOf(parameter)} (now ${String(now)})` : ''
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
