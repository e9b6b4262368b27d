/** Reads what each step found, without making the next step wait for it. */
import type { PretrainConfig } from '../config/config.js'
import { accuracies } from '../readout/linear_probe.js'
import type { TrainingStep } from '../step/index.js'
import type { TrainingClock } from './clock.js'
import { refuseDivergence } from './diverged.js'
import { WATCH_EVERY, type HealthWatch } from './health_watch.js'
import { appendLine, type StepMetrics } from './metrics.js'
import type { RunStore } from './store.js'

/** Readings that may be outstanding when another step begins. */
const MOST_PENDING = 2

/** What is known of a step when it is submitted. */
export interface SubmittedStep extends Pick<StepMetrics, 'step' | 'epoch' | 'lr' | 'lambda' | 'waitMs'> {
  /** With a probe: the label of each row. */
  labels?: Uint32Array
}

export interface StepRecorderOptions {
  config: PretrainConfig
  trainingStep: TrainingStep
  /** Reads the weights every few steps. */
  health?: HealthWatch
  clock: TrainingClock
  /** Steps of the whole run. */
  steps: number
  /** The losses of the call so far; the recorder adds to them. */
  losses?: number[]
  /** Number of classes, for the probe. */
  classes: number
  /** Where metrics.jsonl is written. */
  out?: RunStore
  onStep?(metrics: StepMetrics): void
}

export class StepRecorder {
  /** The loss at each step of this call. */
  readonly losses: number[]
  /** With f16: steps skipped because gradients overflowed in the whole run. */
  skipped: number | undefined
  private readonly pending: Promise<void>[] = []
  /** The reading of the step that was submitted last. */
  private last = Promise.resolve()

  constructor(private readonly options: StepRecorderOptions) {
    this.losses = options.losses ?? []
  }

  /**
   * Begins to read the step that was submitted last, and waits for an earlier one if too many are outstanding.
   *
   * @throws DivergedError of an earlier step
   */
  async record(submitted: SubmittedStep): Promise<void> {
    const reading = this.read(submitted, this.last)
    this.last = reading
    // The error of a reading is thrown when it is awaited, a step or two later.
    reading.catch(() => undefined)
    this.pending.push(reading)
    if (this.pending.length > MOST_PENDING) await this.pending.shift()
  }

  /** Waits for all readings. */
  async settle(): Promise<void> {
    await Promise.all(this.pending.splice(0))
  }

  /** Waits for all readings of a run that has ended, whatever they find. */
  async close(): Promise<void> {
    await Promise.allSettled(this.pending)
  }

  /** @param before the reading of the step before this one */
  private async read({ labels, ...submitted }: SubmittedStep, before: Promise<void>): Promise<void> {
    const { config, trainingStep, health, clock, steps, classes, out, onStep } = this.options
    const watched = submitted.step % WATCH_EVERY === 0
    const [[loss], parts, scaling, logits, state] = await Promise.all([
      trainingStep.loss(),
      trainingStep.parts?.read(),
      trainingStep.lossScale?.(),
      trainingStep.logits?.(),
      watched ? health?.read() : undefined,
    ])
    // Some steps have more to read than the next ones. Lines and losses keep the order of the steps.
    await before
    const { step, epoch, lr, lambda, waitMs } = submitted
    refuseDivergence(config, { step, loss, lambda, lossScale: scaling?.[0] })
    if (state) health!.judge(step, state)
    clock.stepDone()
    this.losses.push(loss)
    this.skipped = scaling?.[2]
    const metrics: StepMetrics = {
      step,
      steps,
      epoch,
      loss,
      ...(parts && { parts: Object.fromEntries(trainingStep.parts!.names.map((name, i) => [name, parts[i]])) }),
      lr,
      ...(lambda !== undefined && { lambda }),
      ...(logits && labels && { probeTop1: probeAccuracy(logits, labels, classes) }),
      ...(scaling && { lossScale: scaling[0], skipped: scaling[2] }),
      ...(waitMs !== undefined && { waitMs }),
      imagesPerSecond: clock.recentImagesPerSecond,
      seconds: clock.seconds,
      peakBytes: trainingStep.peakBytes,
    }
    if (out) await appendLine(out, 'metrics.jsonl', metrics)
    onStep?.(metrics)
  }
}

/** The logits [rows, classes] are those of the last rows of a step. */
function probeAccuracy(logits: Float32Array, labels: Uint32Array, classes: number): number {
  return accuracies(logits, labels.subarray(labels.length - logits.length / classes)).top1
}
