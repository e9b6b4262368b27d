/** Pretraining: one recorded program a step, replayed over shuffled batches; resumable bit for bit. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { permutation, type Engine } from '../engine/index.js'
import type { Backbone, Projector } from '../models/index.js'
import { ROW_FLOATS, drawViews } from './augment/draw.js'
import {
  createRun,
  openRun,
  refuseExistingRun,
  restoreState,
  saveCheckpoint,
  writeConfig,
  type Progress,
} from './checkpoint.js'
import { compileChunkedStep } from './chunked_step.js'
import { ConfigError, type PretrainConfig } from './config.js'
import { fractionIndices, fractionIndicesPerClass, type ImageDataset } from './data/dataset.js'
import { imageFeed } from './data/image_feed.js'
import { writeAtomically } from './files.js'
import { buildNetwork } from './network.js'
import { compileStep } from './step.js'

/** One line of metrics.jsonl. */
export interface StepMetrics {
  /** Steps done, of `steps` in all. */
  step: number
  steps: number
  epoch: number
  loss: number
  /** With f16: the loss scale after this step, and the steps skipped so far because gradients overflowed. */
  lossScale?: number
  skipped?: number
  /** Where images stream to the device: milliseconds that this step waited for its own, their upload included. */
  waitMs?: number
  /** Images (not views) a second over the last steps. */
  imagesPerSecond: number
  /** Wall-clock spent training so far, over all sittings. */
  seconds: number
}

export interface PretrainOptions {
  engine: Engine
  dataset: ImageDataset
  config: PretrainConfig
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
  const indices = fractionOf(dataset, config)
  if (config.batch > indices.length)
    throw new ConfigError(
      `--batch ${config.batch} is larger than the data set: ${indices.length} images of ${dataset.name}${config.fraction < 1 ? ` (--fraction ${config.fraction})` : ''}`,
    )
  const stepsPerEpoch = Math.floor(indices.length / config.batch)
  const steps = Math.min(config.steps ?? Infinity, config.epochs * stepsPerEpoch)

  const opened = out && resume ? await openRun(out) : undefined
  if (out && !resume) refuseExistingRun(out)
  if (resume && !opened?.latest)
    throw new ConfigError(`--resume: ${out ?? 'no --out'} holds no checkpoint to go on from`)
  if (opened) refuseChanges(opened.folder, opened.config, config)
  const { backbone, projector } = buildNetwork(config)
  const started = performance.now()
  onMessage?.(
    `${config.arch}, width ${config.width}: ${backbone.dict.parameterCount.toLocaleString('en')} parameters; ${steps.toLocaleString('en')} steps of ${config.batch} images × ${config.views} views`,
  )
  // A run that goes on keeps the kernels that it began with, unless the adapter is another.
  const sameAdapter = isDeepStrictEqual(opened?.latest?.target, JSON.parse(JSON.stringify(engine.target)))
  if (opened?.latest && sameAdapter)
    engine.variants = new Map([...engine.variants, ...Object.entries(opened.latest.variants)])
  const feed = imageFeed(engine, dataset, config.batch, config.stream)
  let pipelines = 0
  const compiled = (done: number, total: number): void => {
    pipelines = total
    onCompile?.(done, total)
  }
  const { viewChunk } = config
  const trainingStep =
    viewChunk === undefined
      ? await compileStep(engine, feed.onDevice, backbone, projector, config, compiled)
      : await compileChunkedStep(engine, feed.onDevice, backbone, projector, { ...config, viewChunk }, compiled)
  const { state, dispatches, peakBytes } = trainingStep
  onMessage?.(
    `recorded ${dispatches.toLocaleString('en')} dispatches a step of ${pipelines} kernels in ${((performance.now() - started) / 1000).toFixed(1)} s; ${mebibytes(peakBytes)} beside the weights`,
  )
  const networkVariables = [...backbone.dict.variables, ...projector.dict.variables]

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
    await restoreState(engine, latest, [...networkVariables, ...state])
    Object.assign(progress, {
      step: latest.step,
      epoch: latest.epoch,
      stepInEpoch: latest.stepInEpoch,
      seconds: latest.seconds,
    })
    await truncateMetrics(join(out!, 'metrics.jsonl'), progress.step)
    await writeConfig(out!, config)
    onMessage?.(`resumed ${out} at step ${progress.step}`)
  } else if (out) await createRun(out, config)

  const secondsBefore = progress.seconds
  const dicts = [backbone.dict, projector.dict]
  let savedAt = progress.step
  const save = async (): Promise<void> => {
    if (!out) return
    await saveCheckpoint(engine, out, dicts, state, progress, config)
    savedAt = progress.step
  }

  const losses: number[] = []
  const pending: Promise<void>[] = []
  const rate = Float32Array.of(config.lr)
  const rows = new Float32Array(config.views * config.batch * ROW_FLOATS)
  const times: number[] = []
  let secondsToFirstStep = 0
  let clock = 0
  let skipped: number | undefined
  let stopped: PretrainResult['stopped'] = 'done'
  let waitSeconds = 0

  const observe = async (
    step: number,
    epoch: number,
    reading: Promise<Float32Array>,
    scaleReading: Promise<Float32Array | undefined>,
    waitMs: number,
  ): Promise<void> => {
    const [[loss], scaling] = await Promise.all([reading, scaleReading])
    const orInF32 = config.precision === 'f16' ? ', or train with --precision f32' : ''
    if (!Number.isFinite(loss))
      throw new DivergedError(
        `the loss is ${loss} at step ${step}: lower --lr (now ${config.lr}) or --lambda (now ${config.lambda})${orInF32}`,
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
    const rateNow = window.length > 1 ? (1000 * config.batch * (window.length - 1)) / (now - window[0]) : 0
    skipped = scaling?.[2]
    const metrics: StepMetrics = {
      step,
      steps,
      epoch,
      loss,
      ...(scaling && { lossScale: scaling[0], skipped }),
      ...(feed.streams && { waitMs }),
      imagesPerSecond: rateNow,
      seconds: progress.seconds,
    }
    if (out) appendFileSync(join(out, 'metrics.jsonl'), `${JSON.stringify(metrics)}\n`)
    onStep?.(metrics)
  }
  const settle = async (): Promise<void> => {
    await Promise.all(pending.splice(0))
  }

  const train = async (): Promise<void> => {
    for await (const { images, waitMs } of feed.batches(batchesOf(indices, config, progress, steps))) {
      waitSeconds += waitMs / 1000
      const { seed, augmentation, views } = config
      const source = { sourceHeight: dataset.height, sourceWidth: dataset.width }
      drawViews(augmentation, { seed, epoch: progress.epoch, images, views, ...source }, rows)
      feed.place(rows)
      await trainingStep.run(rows, rate)
      progress.step++
      progress.stepInEpoch++
      const reading = observe(
        progress.step,
        progress.epoch,
        trainingStep.loss(),
        trainingStep.lossScale?.() ?? Promise.resolve(undefined),
        waitMs,
      )
      // What went wrong is thrown when it is awaited, a step or two later.
      reading.catch(() => undefined)
      pending.push(reading)
      if (pending.length > 2) await pending.shift()
      const epochEnds = progress.stepInEpoch === stepsPerEpoch
      if (epochEnds) {
        progress.epoch++
        progress.stepInEpoch = 0
      }
      if (epochEnds && progress.epoch % config.checkpointEvery === 0) {
        await settle()
        await save()
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
    for (const variable of state) engine.release(variable)
    feed.release()
  }

  const imagesPerSecond =
    times.length > 1 ? (1000 * config.batch * (times.length - 1)) / (times[times.length - 1] - times[0]) : 0
  const result: PretrainResult = {
    backbone,
    projector,
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

/** The images of the data set that a run trains on. */
function fractionOf(dataset: ImageDataset, { fraction, fractionPerClass, seed }: PretrainConfig): Uint32Array {
  if (!fractionPerClass) return fractionIndices(dataset.count, fraction, seed)
  if (!dataset.labels.length)
    throw new ConfigError(
      `--fraction-per-class: the images of ${dataset.name} (${dataset.split}) have no labels: take a share of all with --fraction alone`,
    )
  return fractionIndicesPerClass(dataset.labels, fraction, seed)
}

/** The batches of a run, by images of the data set, from where it stands to its last step. */
function* batchesOf(
  indices: Uint32Array,
  { seed, batch }: Pick<PretrainConfig, 'seed' | 'batch'>,
  { step: from, epoch: fromEpoch, stepInEpoch }: Progress,
  steps: number,
): Generator<{ images: Uint32Array }> {
  const stepsPerEpoch = Math.floor(indices.length / batch)
  let place = stepInEpoch
  let epoch = fromEpoch
  let order = permutation(seed, epoch, indices.length)
  for (let step = from; step < steps; step++, place++) {
    if (place === stepsPerEpoch) {
      order = permutation(seed, ++epoch, indices.length)
      place = 0
    }
    yield { images: order.slice(place * batch, (place + 1) * batch).map((i) => indices[i]) }
  }
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

/** Lines beyond the checkpoint that a run goes on from were steps that will be done again. */
async function truncateMetrics(file: string, step: number): Promise<void> {
  if (!existsSync(file)) return
  const kept = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => {
      try {
        return (JSON.parse(line) as StepMetrics).step <= step
      } catch {
        // Half a line, from a process that was killed while it wrote.
        return false
      }
    })
  await writeAtomically(file, kept.map((line) => `${line}\n`).join(''))
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
