/** Pretraining: one recorded step, replayed over shuffled batches; resumable bit for bit. */
import { variable } from '../../engine/index.js'
import { importStateDict, type Backbone, type StateDict } from '../../models/index.js'
import { ConfigError } from '../config/config.js'
import { imageFeed } from '../feed/image_feed.js'
import { refuseLargeBatch, trainingImages } from '../feed/batches.js'
import { checkVariation } from '../feed/variation.js'
import { fromRoot, fromRootAlone, refuseDifferences, refuseMixedAdapters } from '../ranks/together.js'
import { shareVariables, tuneTogether } from '../ranks/together.js'
import { onlineProbe } from '../readout/online.js'
import { configOfRank } from '../step/distributed.js'
import type { StepExtras, TrainingStep } from '../step/index.js'
import { backbonesOf, buildNetwork, followingDicts, trainedDicts, type Network } from '../step/network.js'
import { refuseOversized } from '../step/network_size.js'
import type { InitialWeights, PretrainOptions, PretrainResult } from './call.js'
import { KEEP, openRun, restoreState, saveCheckpoint, type Saved } from './checkpoint.js'
import type { Checkpoint, Progress } from './checkpoint_record.js'
import { checkpointReadings } from './checkpoint_readings.js'
import { TrainingClock } from './clock.js'
import { debuggedStep } from './debug_nan.js'
import { throughLosses } from './device_loss.js'
import { refuseDivergence } from './diverged.js'
import {
  createRun,
  isResumable,
  lostEnd,
  refuseChanges,
  refuseExistingRun,
  writeConfig,
  writeSummary,
} from './folder.js'
import { HealthWatch } from './health_watch.js'
import { trainingLoop } from './loop.js'
import { lineFiles, missingMetrics, truncateLines } from './metrics.js'
import { recordStep, refuseOutOfMemory } from './record_step.js'
import { runLength, type RunLength } from './schedule.js'
import { StepRecorder } from './step_recorder.js'
import { unusualWeights } from './weights.js'
import { sameVariants, useVariants, variantsFor } from './variants.js'

export { DivergedError } from './diverged.js'
export type { InitialWeights, PretrainOptions, PretrainResult } from './call.js'
export type { StepMetrics } from './metrics.js'

const DIAGNOSIS_SHARE = 0.04

/**
 * Pretrains a network on a data set.
 *
 * The order of images and every view are functions of (seed, epoch, image, view). A run that is stopped and resumed
 * therefore continues exactly as if it had not been stopped. Epochs drop the last partial batch unless the configuration
 * keeps it. Networks that the
 * result does not return are freed, and all of them if the run fails.
 *
 * @throws ConfigError if the configuration does not fit the data; DivergedError, which names the step, if the loss is
 *   not finite
 */
export async function pretrain(options: PretrainOptions): Promise<PretrainResult> {
  const { out, resume = false, keep = KEEP, keepWeights = 1 } = options
  for (const [name, value, least] of [['keep', keep, 1] as const, ['keepWeights', keepWeights, 0] as const])
    if (!Number.isSafeInteger(value) || value < least)
      throw new ConfigError(`\`${name}\` ${value}: must be a whole number of at least ${least}`)
  const indices = imagesOf(options)
  const { collective } = options
  await refuseMixedAdapters(collective, options.engine)
  const unlock = await fromRootAlone(collective, async () => {
    if (out && !resume) await refuseExistingRun(out)
    return out?.lock?.()
  })
  try {
    const found = resume ? await fromRoot(collective, () => checkpointToResume(options)) : undefined
    const warning = await fromRoot(collective, async () => {
      if (out && !resume) await refuseExistingRun(out)
      return checkVariation(options.dataset, indices)
    })
    if (warning) options.onMessage?.(warning)
    const call: Call = { begun: performance.now(), first: found?.latest.step ?? 0, losses: [] }
    // A rank that goes on from a checkpoint alone would leave the others.
    if (collective)
      return await pretrainFrom(found, options, indices, call).catch((error: unknown) =>
        refuseOutOfMemory(error, options),
      )
    return await throughLosses(options, found?.latest.step, async (again) => {
      const from = again ? await lastCheckpoint(options) : found
      call.losses.length = Math.max(0, (from?.latest.step ?? 0) - call.first)
      return pretrainFrom(from, options, indices, call).catch((error: unknown) => refuseOutOfMemory(error, options))
    })
  } finally {
    await unlock?.()
  }
}

/** What a call of `pretrain` keeps when the device is lost and the run goes on. */
interface Call {
  /** When it began, by performance.now(). */
  readonly begun: number
  /** Steps done before the call. */
  readonly first: number
  /** The loss at each step of the call. */
  readonly losses: number[]
}

/** Pretrains from a checkpoint, or from the beginning. */
async function pretrainFrom(
  found: Found | undefined,
  options: PretrainOptions,
  indices: Uint32Array,
  call: Call,
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
  const restoreTuner = tuneTogether(options.collective, engine)
  try {
    if (initial) importInitial(options, network, initial)
    const ended = await train(options, network, indices, found, call)
    return { backbone, projector, ...(average && { average }), ...ended }
  } catch (error) {
    release([backbone, projector, average])
    throw error
  } finally {
    restoreTuner()
    restoreVariants()
    release([network.predictor, network.target?.backbone, network.target?.projector])
  }
}

function importInitial({ engine, onMessage }: PretrainOptions, network: Network, initial: InitialWeights): void {
  for (const { dict } of backbonesOf(network)) importStateDict(engine, dict, initial.tensors, initial.source)
  const warning = unusualWeights(network.backbone.dict, initial)
  if (warning) onMessage?.(warning)
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
function imagesOf(options: PretrainOptions): Uint32Array {
  const { engine, dataset, config, labelled, test, maxMinutes, collective, debugNan } = options
  configOfRank(config, collective?.size)
  if (collective && debugNan)
    throw new ConfigError('`debugNan`: takes single dispatches, which several ranks cannot: use one rank')
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

/** The checkpoint that a run goes on from after its device was lost; undefined if it has none. */
const lastCheckpoint = async (options: PretrainOptions): Promise<Found | undefined> =>
  options.out && (await isResumable(options.out)) ? checkpointToResume(options) : undefined

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
  call: Call,
): Promise<Omit<PretrainResult, 'backbone' | 'projector' | 'average'>> {
  const { engine, dataset, config, out, maxMinutes, signal, keep = KEEP, onStep, onMessage } = options
  const { latest, damaged = [] } = found ?? {}
  const { backbone } = network
  const length = runLength(config, indices.length)
  const clock = new TrainingClock(length.imagesPerStep, latest?.seconds)
  announce(options, backbone, length)
  const { collective } = options
  const feed = imageFeed(engine, dataset, length.imagesPerStep / (collective?.size ?? 1), config.stream)
  const readings = checkpointReadings({
    ...{ engine, backbone, dataset, config, out, onMessage, collective },
    ...{ test: options.test, bank: dataset.labels.length ? dataset : options.labelled },
    diagnosisShare: options.diagnosisShare ?? DIAGNOSIS_SHARE,
  })
  let trainingStep: TrainingStep | undefined
  let health: HealthWatch | undefined
  let recorder: StepRecorder | undefined
  try {
    const extras = extrasOf(options, backbone)
    trainingStep = await recordStep({ ...options, lastStep: length.imagesOfLastStep }, feed, network, extras, clock)
    health = await HealthWatch.open({ engine, network, trainingStep, config, onMessage })
    const watch = health
    const { saved, progress } = await fromRootAlone(collective, () =>
      beginOrResume(options, network, trainingStep!, latest),
    )
    const variables = [...saved.dicts.flatMap((dict) => dict.variables), ...saved.state]
    await shareVariables(collective, engine, variables)
    if (options.debugNan) trainingStep = debugged(options, trainingStep, health, saved, progress)
    recorder = new StepRecorder({
      ...{ config, trainingStep, health, clock, out, onStep },
      ...{ steps: length.steps, classes: dataset.classes.length, losses: call.losses },
    })
    if (progress.step < length.steps) options.onBegin?.(progress.step, length.steps)
    const { stopped, ...waited } = await trainingLoop({
      ...{ engine, dataset, config, indices, length, feed, trainingStep, progress, clock, recorder, readings },
      collective,
      keeps: out !== undefined,
      lambda: extras.lambda && { variable: extras.lambda, value: (await engine.read(extras.lambda))[0] },
      hasTarget: network.target !== undefined,
      hasProbe: extras.probe !== undefined,
      onCheckpoint: options.onCheckpoint,
      inspect: (where) => options.inspect?.(where, network),
      save: async (byTime) => {
        progress.byTime = byTime && true
        progress.passing = isPassing(progress, options.keepWeights) || undefined
        // No checkpoint takes the place of a good one with weights that are broken.
        await watch.check(progress.step)
        await refuseDifferences(collective, engine, variables)
        if (out) await saveCheckpoint(engine, out, saved, progress, config, { keep, damaged })
      },
      stopRequested: () => {
        if (signal?.aborted) return 'signal'
        return maxMinutes !== undefined && performance.now() - call.begun > 60_000 * maxMinutes ? 'time' : undefined
      },
    })
    const { step: steps, epoch: epochs, seconds } = progress
    const { secondsToFirstStep, imagesPerSecond } = clock
    const { losses, skipped } = recorder
    const { peakBytes } = trainingStep
    const figures = { seconds, secondsToFirstStep, imagesPerSecond, peakBytes, ...waited }
    // Resuming a run that has ended does nothing, and keeps its summary.
    const last = out && (losses.length > 0 ? { finalLoss: losses[losses.length - 1] } : await lostEnd(out, steps))
    if (last)
      await writeSummary(out, {
        ...{ stopped, steps, totalSteps: length.steps, epochs },
        ...(skipped !== undefined && { skipped }),
        ...figures,
        ...last,
        adapter: engine.description,
        date: new Date().toISOString(),
      })
    return { steps, epochs, losses, ...figures, skipped, stopped }
  } finally {
    // Submitted steps are read before their buffers are freed.
    await recorder?.close()
    health?.release()
    trainingStep?.destroy()
    for (const v of trainingStep?.state ?? []) engine.release(v)
    readings.release()
    feed.release()
  }
}

/** Whether a checkpoint is removed when it is no longer among the last. */
const isPassing = ({ epoch, stepInEpoch }: Progress, every?: number): boolean =>
  every !== undefined && (every === 0 || stepInEpoch > 0 || epoch % every > 0)

function announce(
  { dataset, config, labelled, resume, onMessage }: PretrainOptions,
  backbone: Backbone,
  { steps, stepsPerEpoch, imagesPerStep, imagesOfLastStep: last }: RunLength,
): void {
  const { parameterCount, frozenCount } = backbone.dict
  const parameters =
    `${parameterCount.toLocaleString('en')} parameters` +
    (config.freezeStages === undefined ? '' : `, ${frozenCount.toLocaleString('en')} of them frozen`)
  onMessage?.(`${config.arch}, width ${config.width}: ${parameters}`)
  onMessage?.(
    `${steps.toLocaleString('en')} steps of ${imagesPerStep} images × ${config.views} views; an epoch has ${stepsPerEpoch.toLocaleString('en')}${last === undefined ? '' : `, the last of ${last} images`}`,
  )
  if (config.init !== undefined && !resume) onMessage?.(`initial weights of the backbone: ${config.init}`)
  if (config.onlineProbe && !dataset.labels.length)
    onMessage?.(
      `\`onlineProbe\`: the ${dataset.split} images of ${dataset.name} have no labels: nearest neighbours are read among the ${labelled!.split} images at every checkpoint, and no linear probe is trained`,
    )
}

/** What a step has in addition to the network: λ if it adapts, and a probe if there are labels. */
const extrasOf = ({ dataset, config, collective }: PretrainOptions, { features }: Backbone): StepExtras => ({
  collective,
  lambda: config.adaptiveLambda ? variable('lambda', [1], Float32Array.of(config.lambda!)) : undefined,
  probe:
    config.onlineProbe && dataset.labels.length > 0
      ? onlineProbe({ features, classes: dataset.classes.length, seed: config.seed })
      : undefined,
})

/** The same step, which finds the op where a divergence begins. */
function debugged(
  { engine, config }: PretrainOptions,
  trainingStep: TrainingStep,
  health: HealthWatch,
  { dicts, state }: Saved,
  progress: Progress,
): TrainingStep {
  return debuggedStep(trainingStep, {
    engine,
    variables: [...dicts.flatMap((dict) => dict.variables), ...state],
    async judge() {
      const [[loss], scaling, found] = await Promise.all([
        trainingStep.loss(),
        trainingStep.lossScale?.(),
        health.read(),
      ])
      const step = progress.step + 1
      refuseDivergence(config, { step, loss, lossScale: scaling?.[0] })
      health.judge(step, found, 'finiteOnly')
    },
  })
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
    const missing = await missingMetrics(out, progress.step)
    if (missing) onMessage?.(missing)
    await writeConfig(out, config)
    onMessage?.(`resumed ${out.nameOf()} at step ${progress.step}`)
  } else if (out) await createRun(out, config)
  return { saved: { dicts, average: network.average?.dict, state: kept }, progress }
}
