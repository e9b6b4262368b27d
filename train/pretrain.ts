/** Pretraining: one recorded step, replayed over shuffled batches; resumable bit for bit. */
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { variable, type Engine } from '../engine/index.js'
import type { Backbone, Projector } from '../models/index.js'
import { ROW_FLOATS, drawViews } from './augment/draw.js'
import { batchesOf, fractionOf } from './batches.js'
import {
  createRun,
  openRun,
  refuseExistingRun,
  restoreState,
  saveCheckpoint,
  writeConfig,
  type Progress,
} from './checkpoint.js'
import { ConfigError, type PretrainConfig } from './config.js'
import type { ImageDataset } from './data/dataset.js'
import { imageFeed } from './data/image_feed.js'
import { adaptLambda } from './diagnostics/adaptive_lambda.js'
import { diagnose } from './diagnostics/diagnose.js'
import { writeAtomically } from './files.js'
import { appendLine, truncateLines, type StepMetrics } from './metrics.js'
import { buildNetwork, followingDicts, trainedDicts } from './network.js'
import { accuracies } from './readout/linear_probe.js'
import { onlineKnn, onlineProbe } from './readout/online.js'
import { learningRate, targetRate } from './schedule.js'
import { compileTrainingStep, type StepExtras } from './step/index.js'

export type { StepMetrics } from './metrics.js'

export interface PretrainOptions {
  engine: Engine
  dataset: ImageDataset
  config: PretrainConfig
  /** With `onlineProbe`: labelled images that nearest neighbours are read on at every checkpoint. */
  test?: ImageDataset
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
  /** Wall-clock spent training, over all sittings, and until the first step of this one was done. */
  seconds: number
  secondsToFirstStep: number
  imagesPerSecond: number
  peakBytes: number
  /** Where images stream to the device: seconds that steps of this sitting waited for theirs. */
  waitSeconds?: number
  /** With f16: steps skipped because gradients overflowed, over all sittings. */
  skipped?: number
  stopped: 'done' | 'signal' | 'time'
}

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
 * resumed goes on exactly as if it had not been. Epochs drop the last partial batch.
 *
 * @throws ConfigError where the configuration does not fit the data; DivergedError naming the step where the loss is
 *   not finite
 */
export async function pretrain(options: PretrainOptions): Promise<PretrainResult> {
  const { engine, dataset, config, out, resume = false, maxMinutes, signal, onStep, onMessage, onCompile } = options
  if (config.precision === 'f16' && !engine.target.f16)
    throw new ConfigError(
      `--precision f16: ${engine.description} has no f16 (shader-f16): train with --precision f32, or choose another --adapter`,
    )
  if (config.onlineProbe && !dataset.labels.length)
    throw new ConfigError(`--online-probe: the images of ${dataset.name} (${dataset.split}) have no labels`)
  const { seed, views, batch, accumulate } = config
  const indices = fractionOf(dataset, config)
  const perStep = batch * accumulate
  if (perStep > indices.length)
    throw new ConfigError(
      `--batch ${batch}${accumulate > 1 ? ` (--accumulate ${accumulate})` : ''} is larger than the data set: ${indices.length} images of ${dataset.name}${config.fraction < 1 ? ` (--fraction ${config.fraction})` : ''}`,
    )
  const stepsPerEpoch = Math.floor(indices.length / perStep)
  const steps = Math.min(config.steps ?? Infinity, config.epochs * stepsPerEpoch)
  const schedule = {
    lr: config.lr,
    shape: config.schedule,
    warmupSteps: Math.round(config.warmupEpochs * stepsPerEpoch),
    steps,
    floor: config.lrFloor ?? 1,
  }

  const opened = out && resume ? await openRun(out) : undefined
  if (out && !resume) refuseExistingRun(out)
  if (resume && !opened?.latest)
    throw new ConfigError(`--resume: ${out ?? 'no --out'} holds no checkpoint to go on from`)
  if (opened) refuseChanges(opened.folder, opened.config, config)
  const network = buildNetwork(config)
  const { backbone, projector, average } = network
  const started = performance.now()
  onMessage?.(
    `${config.arch}, width ${config.width}: ${backbone.dict.parameterCount.toLocaleString('en')} parameters; ${steps.toLocaleString('en')} steps of ${perStep} images × ${views} views`,
  )
  // A run that goes on keeps the kernels that it began with, unless the adapter is another.
  const sameAdapter = isDeepStrictEqual(opened?.latest?.target, JSON.parse(JSON.stringify(engine.target)))
  if (opened?.latest && sameAdapter)
    engine.variants = new Map([...engine.variants, ...Object.entries(opened.latest.variants)])
  const feed = imageFeed(engine, dataset, perStep, config.stream)
  let pipelines = 0
  const compiled = (done: number, total: number): void => {
    pipelines = total
    onCompile?.(done, total)
  }
  const extras: StepExtras = {
    lambda: config.adaptiveLambda ? variable('lambda', [1], Float32Array.of(config.lambda!)) : undefined,
    probe: config.onlineProbe
      ? onlineProbe({ features: backbone.features, classes: dataset.classes.length, seed })
      : undefined,
  }
  const trainingStep = await compileTrainingStep(engine, feed.onDevice, network, config, extras, compiled)
  const { state, dispatches, peakBytes } = trainingStep
  onMessage?.(
    `recorded ${dispatches.toLocaleString('en')} dispatches a step of ${pipelines} kernels in ${((performance.now() - started) / 1000).toFixed(1)} s; ${mebibytes(peakBytes)} beside the weights`,
  )
  const dicts = trainedDicts(network)
  const following = followingDicts(network).flatMap((dict) => dict.variables)
  const kept = [...following, ...state]

  const progress: Progress = {
    step: 0,
    epoch: 0,
    stepInEpoch: 0,
    seconds: 0,
    adapter: engine.description,
    target: engine.target,
    variants: Object.fromEntries(trainingStep.variants),
  }
  if (opened?.latest) {
    const { latest } = opened
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
    for (const file of ['metrics.jsonl', 'online.jsonl']) await truncateLines(join(out!, file), progress.step)
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
  const pending: Promise<void>[] = []
  let lambda = extras.lambda && (await engine.read(extras.lambda))[0]
  const times: number[] = []
  let secondsToFirstStep = 0
  let clock = 0
  let skipped: number | undefined
  let stopped: PretrainResult['stopped'] = 'done'
  let waitSeconds = 0

  const observe = async (
    { step, epoch, lr, lambda, waitMs }: Pick<StepMetrics, 'step' | 'epoch' | 'lr' | 'lambda'> & { waitMs: number },
    labels: Uint32Array | undefined,
  ): Promise<void> => {
    const { loss: reading, lossScale, logits: probing } = trainingStep
    const [[loss], scaling, logits] = await Promise.all([reading(), lossScale?.(), probing?.()])
    const orInF32 = config.precision === 'f16' ? ', or train with --precision f32' : ''
    if (!Number.isFinite(loss))
      throw new DivergedError(
        `the loss is ${loss} at step ${step}: lower --lr (now ${config.lr})${config.lambda === undefined ? '' : ` or --lambda (now ${lambda ?? config.lambda})`}${orInF32}`,
      )
    if (scaling && scaling[0] < LEAST_LOSS_SCALE)
      throw new DivergedError(
        `the gradients overflow f16 at step ${step}, whatever the loss scale: lower --lr (now ${config.lr})${orInF32}`,
      )
    const now = performance.now()
    if (times.length === 0) {
      secondsToFirstStep = (now - started) / 1000
      // The clock of a run counts training, not compilation.
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

  /** λ after an epoch, by the features of some clean views. */
  const adapted = async (lambda: number): Promise<number> => {
    const found = await diagnose(engine, backbone, dataset, { recipe: config.augmentation, seed })
    if (found.warning) onMessage?.(`epoch ${progress.epoch}: ${found.warning}`)
    return Math.fround(adaptLambda(lambda, found.alpha ?? NaN))
  }

  const readOnline = async (): Promise<void> => {
    const { test } = options
    if (!config.onlineProbe || !test) return
    const found = await onlineKnn(engine, backbone, dataset, test, { recipe: config.augmentation, seed })
    if (out) appendLine(join(out, 'online.jsonl'), { step: progress.step, epoch: progress.epoch, ...found })
    onMessage?.(
      `epoch ${progress.epoch}: kNN-${found.k} top-1 ${(100 * found.top1).toFixed(1)} % ` +
        `(${found.queries.toLocaleString('en')} test images among ${found.bank.toLocaleString('en')}, 1 clean view)`,
    )
  }

  const train = async (): Promise<void> => {
    for await (const { images, waitMs } of feed.batches(batchesOf(indices, { seed, perStep, steps }, progress))) {
      waitSeconds += waitMs / 1000
      const { epoch } = progress
      const rows = feed.place(rowsOf(dataset, config, images, epoch))
      const labels = extras.probe && labelsOf(dataset, config, images)
      const lr = learningRate(progress.step, schedule)
      await trainingStep.run({
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
        await settle()
        lambda = await adapted(lambda!)
        engine.write(extras.lambda, Float32Array.of(lambda))
      }
      if (epochEnds && progress.epoch % config.checkpointEvery === 0) {
        await settle()
        await save()
        await readOnline()
      }
      if (signal?.aborted) stopped = 'signal'
      else if (maxMinutes !== undefined && performance.now() - started > 60_000 * maxMinutes) stopped = 'time'
      if (stopped !== 'done') break
    }
    await settle()
    await engine.idle()
    if (progress.step === steps) stopped = 'done'
    if (savedAt !== progress.step) await save()
  }
  try {
    await train()
  } finally {
    trainingStep.destroy()
    const { target } = network
    const targets = [target?.backbone, target?.projector].flatMap((part) => part?.dict.variables ?? [])
    for (const v of [...targets, ...state]) engine.release(v)
    feed.release()
  }

  const imagesPerSecond =
    times.length > 1 ? (1000 * perStep * (times.length - 1)) / (times[times.length - 1] - times[0]) : 0
  const result: PretrainResult = {
    backbone,
    projector,
    ...(average && { average }),
    steps: progress.step,
    epochs: progress.epoch,
    losses,
    seconds: progress.seconds,
    secondsToFirstStep,
    imagesPerSecond,
    peakBytes,
    ...(feed.streams && { waitSeconds }),
    skipped,
    stopped,
  }
  // Resuming a run that has ended does nothing, and leaves its summary alone.
  if (out && losses.length > 0)
    await writeAtomically(
      join(out, 'summary.json'),
      `${JSON.stringify(
        {
          stopped,
          steps: progress.step,
          totalSteps: steps,
          epochs: progress.epoch,
          finalLoss: losses[losses.length - 1],
          ...(skipped !== undefined && { skipped }),
          seconds: progress.seconds,
          secondsToFirstStep,
          imagesPerSecond,
          peakBytes,
          ...(feed.streams && { waitSeconds }),
          adapter: engine.description,
          date: new Date().toISOString(),
        },
        null,
        2,
      )}\n`,
    )
  return result
}

/** The rows of a step: micro-batch after micro-batch, view-major within each. */
function rowsOf(
  { height, width }: ImageDataset,
  { augmentation, seed, views, batch, accumulate }: PretrainConfig,
  images: Uint32Array,
  epoch: number,
): Float32Array {
  const floats = views * batch * ROW_FLOATS
  const rows = new Float32Array(accumulate * floats)
  for (let i = 0; i < accumulate; i++) {
    const options = { seed, epoch, images: images.subarray(i * batch, (i + 1) * batch), views }
    drawViews(
      augmentation,
      { ...options, sourceHeight: height, sourceWidth: width },
      rows.subarray(i * floats, (i + 1) * floats),
    )
  }
  return rows
}

/** The label of each row of a step. */
function labelsOf({ labels }: ImageDataset, { views, batch }: PretrainConfig, images: Uint32Array): Uint32Array {
  const rows = views * batch
  return Uint32Array.from(
    { length: views * images.length },
    (_, row) => labels[images[Math.floor(row / rows) * batch + (row % batch)]],
  )
}

/** Of the rows that the logits [rows, classes] are of: the last ones. */
function probeAccuracy(logits: Float32Array, labels: Uint32Array, classes: number): number {
  return accuracies(logits, labels.subarray(labels.length - logits.length / classes)).top1
}

/** What may change when a run is resumed; anything else would make it another run. */
const changeable: readonly (keyof PretrainConfig)[] = ['epochs', 'steps', 'checkpointEvery', 'dataDir', 'stream']

function refuseChanges(folder: string, before: PretrainConfig, now: PretrainConfig): void {
  // An optional field may be in one of them only.
  for (const name of Object.keys({ ...before, ...now }) as (keyof PretrainConfig)[])
    if (!changeable.includes(name) && !isDeepStrictEqual(before[name], now[name]))
      throw new ConfigError(
        `--resume: the run in ${folder} has ${name} ${JSON.stringify(before[name])}, not ${JSON.stringify(now[name])}: start another run with another --out`,
      )
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
