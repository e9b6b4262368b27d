/**
 * The training step of a configuration: as one program, in chunks of views, or over several micro-batches; each of them
 * also for one rank of several.
 */
import type { Engine } from '../../engine/index.js'
import type { DeviceImages } from '../augment/views.js'
import type { Network } from './network.js'
import { compileAccumulatedStep } from './accumulated.js'
import { compileChunkedStep } from './chunked.js'
import { configOfRank } from './distributed.js'
import type { StepConfig, StepExtras, TrainingStep } from './training_step.js'
import { compileStep } from './whole.js'

export type { StepExtras, StepInputs, TrainingStep } from './training_step.js'

/**
 * @param config of the whole step; with `extras.collective` every rank takes a share of its batch
 * @param onProgress called for each distinct pipeline that is ready
 */
export function compileTrainingStep(
  engine: Engine,
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  extras: StepExtras,
  onProgress?: (done: number, total: number) => void,
): Promise<TrainingStep> {
  const { viewChunk, accumulate } = config
  const { collective } = extras
  if (collective) config = configOfRank(config, collective.size)
  const compile = viewChunk !== undefined ? compileChunkedStep : accumulate > 1 ? compileAccumulatedStep : compileStep
  return compile(engine, images, network, { ...config, viewChunk: viewChunk! }, extras, onProgress)
}
