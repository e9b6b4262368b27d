/** The training loop: for each epoch, for each batch, draw views and step. */
import type { Collective, Engine, Variable } from '../../engine/index.js'
import type { PretrainConfig } from '../config/config.js'
import { LostDataError, type ImageDataset } from '../data/dataset.js'
import type { ImageFeed } from '../feed/image_feed.js'
import { batchesOf, rowLabels, viewRows } from '../feed/batches.js'
import { anyRank, fromRoot } from '../ranks/together.js'
import { sharesOf } from '../ranks/share.js'
import { configOfRank } from '../step/distributed.js'
import type { TrainingStep } from '../step/index.js'
import type { Progress } from './checkpoint_record.js'
import type { CheckpointReadings } from './checkpoint_readings.js'
import type { TrainingClock } from './clock.js'
import { learningRate, scheduleOf, targetRate, type RunLength } from './schedule.js'
import type { StepRecorder, SubmittedStep } from './step_recorder.js'

/** A run that is ready for its next step. */
export interface PreparedRun {
  readonly engine: Engine
  readonly dataset: ImageDataset
  readonly config: PretrainConfig
  /** The images of the data set that the run trains on. */
  readonly indices: Uint32Array
  readonly length: RunLength
  readonly feed: ImageFeed
  readonly trainingStep: TrainingStep
  /** Changes with every step. */
  readonly progress: Progress
  readonly clock: TrainingClock
  readonly recorder: StepRecorder
  readonly readings: CheckpointReadings
  /** With adaptiveLambda: λ in the graph, and its value. */
  readonly lambda?: { readonly variable: Variable; value: number }
  /** With BYOL: the target follows at a rate that changes. */
  readonly hasTarget: boolean
  /** With a probe: steps take labels. */
  readonly hasProbe: boolean
  /** The ranks that share the run. */
  readonly collective?: Collective
  /** Whether `save` writes. */
  readonly keeps: boolean
  /** Saves the run. With `byTime` the next checkpoint replaces this one. */
  save(byTime?: 'byTime'): Promise<void>
  /** Called after the readings of a checkpoint. */
  onCheckpoint?(where: { step: number; epoch: number }): Promise<void>
  /** Called after each step. If it returns a function, the run waits for the step and then for the function. */
  inspect?(where: { step: number; epoch: number }): (() => Promise<void>) | undefined
  /** Why the run should stop before its last step; undefined if it should not. */
  stopRequested(): 'signal' | 'time' | undefined
}

export interface LoopResult {
  stopped: 'done' | 'signal' | 'time'
  /** With streaming: seconds that steps waited for their images, and the share of the training time. */
  waitSeconds?: number
  waitShare?: number
}

/** The last save of a run. */
interface Saved {
  step: number
  /** Milliseconds, by the clock of the process. */
  time: number
}

/**
 * Trains from where a run stands to its end, or until it should stop, and saves it then.
 *
 * @throws LostDataError that names the step from which the run goes on, if its images or those of a reading are lost
 */
export async function trainingLoop(run: PreparedRun): Promise<LoopResult> {
  const { progress } = run
  const saved: Saved = { step: progress.step, time: performance.now() }
  const save = async (byTime?: 'byTime'): Promise<void> => {
    await run.save(byTime)
    saved.step = progress.step
    saved.time = performance.now()
  }
  try {
    return await train({ ...run, save }, saved)
  } catch (error) {
    if (!(error instanceof LostDataError) || !run.keeps) throw error
    throw new LostDataError(`${error.message}: \`resume\` goes on from step ${saved.step}`, { cause: error })
  }
}

async function train(run: PreparedRun, saved: Readonly<Saved>): Promise<LoopResult> {
  const { engine, dataset, config, indices, length, feed, progress, clock, recorder, collective } = run
  const { imagesPerStep: perStep, stepsPerEpoch, steps, imagesOfLastStep: last } = length
  const begun = clock.now()
  const first = progress.step
  let waitedMs = 0
  if (isRead(run) && (await fromRoot(collective, () => run.readings.areMissing(progress))))
    await between(run, () => run.readings.atCheckpoint(progress, clock.secondsHere))
  let stopped: LoopResult['stopped'] = 'done'
  const blocks = dataset.blocks && { starts: dataset.blocks, batch: config.batch }
  const order = batchesOf(indices, { seed: config.seed, perStep, last, steps, blocks }, progress)
  const batches = feed.batches(collective ? sharesOf(order, config, collective) : order)
  for await (const due of untilLost(run, batches)) {
    if (due instanceof LostDataError) {
      await settle(run)
      if (saved.step !== progress.step) await run.save()
      throw due
    }
    const { images, waitMs } = due
    waitedMs += waitMs
    clock.stepSubmitted()
    const submitted = await step(run, images)
    await recorder.record({ ...submitted, ...(feed.streams && { waitMs }) })
    // The first step is read alone, so that the clock starts when it ends: on some drivers the completions of two steps
    // are seen together.
    if (progress.step === first + 1) await settle(run)
    if (progress.stepInEpoch === stepsPerEpoch) {
      progress.epoch++
      progress.stepInEpoch = 0
      await adaptLambda(run)
      if (progress.epoch % config.checkpointEvery === 0) await between(run, () => checkpoint(run))
    }
    const isUnsaved = saved.step !== progress.step
    if (isUnsaved && (await anyRank(collective, isDue(config, performance.now() - saved.time))))
      await between(run, () => run.save('byTime'))
    const look = run.inspect?.({ step: progress.step, epoch: progress.epoch })
    if (look) await between(run, look)
    stopped = await stopTogether(run)
    if (stopped !== 'done') break
  }
  await settle(run)
  await engine.idle()
  const waited = feed.streams && { waitSeconds: waitedMs / 1000, waitShare: waitedMs / (clock.now() - begun) }
  if (progress.step === steps) stopped = 'done'
  // An interrupted run saves, but skips readings.
  if (saved.step !== progress.step || progress.byTime) await (stopped === 'done' ? checkpoint(run) : run.save())
  return { stopped, ...waited }
}

/** A rank's images of a step. */
interface DueBatch {
  readonly images: Uint32Array
  readonly waitMs: number
}

/** The same batches. When any rank loses its images, all ranks get an error as the last item, so that they end together. */
async function* untilLost(
  { feed, collective }: PreparedRun,
  batches: AsyncGenerator<DueBatch>,
): AsyncGenerator<DueBatch | LostDataError> {
  try {
    for (;;) {
      const next = await batches.next().catch((error: unknown) => {
        if (error instanceof LostDataError) return error
        throw error
      })
      const isLost = next instanceof LostDataError
      if (feed.streams ? await anyRank(collective, isLost) : isLost)
        return yield isLost ? next : new LostDataError('another rank has lost its images')
      if (isLost || next.done) return
      yield next.value
    }
  } finally {
    await batches.return(undefined)
  }
}

/** Whether a run stands at a checkpoint that is read, not only saved. */
const isRead = ({ progress: { step, epoch, stepInEpoch }, config, length }: PreparedRun): boolean =>
  step > 0 && (step === length.steps || (stepInEpoch === 0 && epoch % config.checkpointEvery === 0))

/** Whether a checkpoint by time is due, so many milliseconds after the last checkpoint. */
const isDue = ({ checkpointMinutes }: PretrainConfig, ms: number): boolean =>
  checkpointMinutes > 0 && ms >= 60_000 * checkpointMinutes

/** Why the run should stop after this step, if any rank says so. */
async function stopTogether({ stopRequested, collective }: PreparedRun): Promise<LoopResult['stopped']> {
  const own = stopRequested()
  if (!collective) return own ?? 'done'
  if (await anyRank(collective, own === 'signal')) return 'signal'
  return (await anyRank(collective, own === 'time')) ? 'time' : 'done'
}

/** Draws the views of a batch, submits the step and counts it. */
async function step(
  { dataset, config, length, feed, trainingStep, progress, lambda, hasTarget, hasProbe, collective }: PreparedRun,
  images: Uint32Array,
): Promise<SubmittedStep> {
  const { epoch } = progress
  const lr = learningRate(progress.step, scheduleOf(config, length))
  const own = configOfRank(config, collective?.size)
  const rows = feed.place(viewRows(dataset, own, images, epoch), images)
  const labels = hasProbe ? rowLabels(dataset, own, images) : undefined
  await trainingStep.run({
    rows,
    rate: Float32Array.of(lr),
    ...(hasTarget && {
      targetRate: Float32Array.of(targetRate(progress.step, length.steps, config.targetRate, config.targetSchedule)),
    }),
    ...(labels && { labels }),
  })
  progress.step++
  progress.stepInEpoch++
  return { step: progress.step, epoch, lr, lambda: lambda?.value, labels }
}

/** With adaptiveLambda: sets λ for the next epoch. */
async function adaptLambda(run: PreparedRun): Promise<void> {
  const { engine, readings, lambda } = run
  if (!lambda) return
  await between(run, async () => {
    lambda.value = await fromRoot(run.collective, () => readings.adaptedLambda(lambda.value))
    engine.write(lambda.variable, Float32Array.of(lambda.value))
  })
}

async function checkpoint({ save, readings, progress, clock, onCheckpoint }: PreparedRun): Promise<void> {
  await save()
  await readings.atCheckpoint(progress, clock.secondsHere)
  await onCheckpoint?.({ step: progress.step, epoch: progress.epoch })
}

/** Work between steps, after all submitted steps have been read. It does not count as training. */
async function between(run: PreparedRun, work: () => Promise<void>): Promise<void> {
  await settle(run)
  await run.clock.exclude(work)
}

async function settle({ recorder, progress, clock }: PreparedRun): Promise<void> {
  await recorder.settle()
  progress.seconds = clock.seconds
}
