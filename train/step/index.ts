/**
 * The training step of a configuration: as one program, in chunks of views, or over several micro-batches; each of them
 * also for one rank of several.
 */
import type { BuildProgress, Engine } from '../../engine/index.js'
import type { DeviceImages } from '../augment/views.js'
import { ConfigError } from '../config/config.js'
import type { Network } from './network.js'
import { compileAccumulatedStep } from './accumulated.js'
import { compileChunkedStep } from './chunked.js'
import { configOfRank } from './distributed.js'
import { rowViews } from './forward.js'
import { withLastBatch } from './last_batch.js'
import { stepOptimizer } from './optimizer.js'
import type { StepConfig, StepExtras, TrainingStep } from './training_step.js'
import { compileStep } from './whole.js'

export type { StepExtras, StepInputs, TrainingStep } from './training_step.js'

/**
 * @param config of the whole step; with `extras.collective` every rank takes a share of its batch
 * @param onProgress called for each distinct pipeline that is ready, and while initial weights are drawn
 * @param lastStep images of an epoch's last step, if they are fewer than those of the others
 */
export async function compileTrainingStep(
  engine: Engine,
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  extras: StepExtras,
  onProgress?: BuildProgress,
  lastStep?: number,
): Promise<TrainingStep> {
  const { collective } = extras
  if (collective && lastStep !== undefined)
    throw new ConfigError('`lastBatch` keep: is for one rank: leave it out, so that the last partial batch is dropped')
  if (collective) config = configOfRank(config, collective.size)
  const { viewChunk, accumulate, batch } = config
  const record = viewChunk !== undefined ? compileChunkedStep : accumulate > 1 ? compileAccumulatedStep : compileStep
  const compile = (size: number, shared: StepExtras): Promise<TrainingStep> =>
    record(engine, images, network, { ...config, batch: size, viewChunk: viewChunk! }, shared, onProgress)
  if (lastStep === undefined) return compile(batch, extras)
  const shared = { ...extras, optimizer: stepOptimizer(network, config) }
  const whole = await compile(batch, shared)
  const last = await compile(lastStep / accumulate, shared).catch((error: unknown) => {
    whole.destroy()
    throw error
  })
  return withLastBatch(whole, last, accumulate * rowViews(config) * batch)
}
