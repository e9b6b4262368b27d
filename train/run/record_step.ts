/** Records the training step of a run, and says what would fit where it does not. */
import { freeBytes, OutOfMemoryError, type BuildProgress, type Collective, type Engine } from '../../engine/index.js'
import type { PretrainConfig } from '../config/config.js'
import { imageBytes, type ImageDataset } from '../data/dataset.js'
import type { ImageFeed } from '../feed/image_feed.js'
import { refuseUnfit, stepBytes } from '../step/fit.js'
import { compileTrainingStep, type StepExtras, type TrainingStep } from '../step/index.js'
import type { Network } from '../step/network.js'
import type { TrainingClock } from './clock.js'

export interface RecordOptions {
  engine: Engine
  dataset: ImageDataset
  config: PretrainConfig
  collective?: Collective
  /** As `RunLength.imagesOfLastStep`. */
  lastStep?: number
  onMessage?(line: string): void
  onCompile?: BuildProgress
}

/** Records the step, and says how large it is. */
export async function recordStep(
  { engine, dataset, config, collective, lastStep, onMessage, onCompile }: RecordOptions,
  feed: ImageFeed,
  network: Network,
  extras: StepExtras,
  clock: TrainingClock,
): Promise<TrainingStep> {
  let pipelines = 0
  const onProgress: BuildProgress = (done, total, of) => {
    if (of === 'kernels') pipelines = total
    onCompile?.(done, total, of)
  }
  const { onDevice } = feed
  const trainingStep = await compileTrainingStep(engine, onDevice, network, config, extras, onProgress, lastStep).catch(
    (error: unknown) => {
      // If the adapter is too small for the step, this error says what would fit.
      refuseUnfit({ engine, side: dataset.height, ranks: collective?.size }, config)
      throw error
    },
  )
  const { dispatches, peakBytes } = trainingStep
  onMessage?.(
    `recorded in ${clock.secondsElapsed.toFixed(1)} s: ${dispatches.toLocaleString('en')} dispatches of ${pipelines} kernels, ${mebibytes(peakBytes)} beside the weights`,
  )
  return trainingStep
}

/** The share of the free memory that a step may take: drivers need some for themselves. */
const USABLE = 0.9

/**
 * Passes an error on. If the device had no memory left, it asks the device how much is free, now that the run has freed
 * everything, and the error says what would fit.
 *
 * @throws ConfigError that names the values of `batch`, `viewChunk` or `width` that would fit; else the error itself
 */
export async function refuseOutOfMemory(
  error: unknown,
  { engine, dataset, config, collective }: Pick<RecordOptions, 'engine' | 'dataset' | 'config' | 'collective'>,
): Promise<never> {
  if (!(error instanceof OutOfMemoryError)) throw error
  const room = { engine, side: dataset.height, ranks: collective?.size }
  const needed = stepBytes(room, config)
  const images =
    dataset.images instanceof Uint8Array && config.stream === 'auto' ? dataset.count * imageBytes(dataset) : 0
  const free = await freeBytes(engine, needed + images)
  // The step itself did not fit, whatever the device has free now.
  refuseUnfit({ ...room, memory: Math.floor(USABLE * Math.min(free - images, needed - 1)) }, config)
  throw error
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`
