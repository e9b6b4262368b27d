/** Seconds of a training step for several configurations, measured in turn so that other work on the machine affects all. */
import type { Engine, Variable } from '../../engine/index.js'
import { deviceImages, type DeviceImages } from '../../train/augment/views.js'
import type { PretrainConfig } from '../../train/config/config.js'
import { inMemory, type ImageDataset } from '../../train/data/dataset.js'
import { batchesOf, trainingImages, viewRows } from '../../train/feed/batches.js'
import { compileTrainingStep, type TrainingStep } from '../../train/step/index.js'
import { buildNetwork, trainedDicts } from '../../train/step/network.js'
import { median } from '../report/statistics.js'

export interface StepTimesOptions {
  engine: Engine
  /** The pretraining images of all configurations. */
  dataset: ImageDataset
  /** Rounds; in each, every configuration runs in turn. */
  rounds: number
  /** Steps of a configuration in a round. */
  stepsPerRound: number
  signal?: AbortSignal
  onProgress?(done: number, total: number): void
}

interface Stepper {
  /** Draws the views of the next step and submits it. */
  step(): Promise<void>
  release(): void
}

/**
 * Median seconds of a step by configuration, with the drawing of views. All configurations are in memory together. The
 * first round is not counted, and each round begins with another configuration.
 */
export async function stepSeconds(
  configs: readonly PretrainConfig[],
  { engine, dataset, rounds, stepsPerRound, signal, onProgress }: StepTimesOptions,
): Promise<number[]> {
  const images = deviceImages(await inMemory(dataset), engine.target.maxBindingBytes)
  const steppers: Stepper[] = []
  const times = configs.map((): number[] => [])
  try {
    for (const config of configs) steppers.push(await stepperOf(engine, images, dataset, config))
    for (let round = 0; round <= rounds; round++)
      for (let i = 0; i < configs.length; i++) {
        signal?.throwIfAborted()
        const at = (i + round) % configs.length
        const begun = performance.now()
        for (let step = 0; step < stepsPerRound; step++) await steppers[at].step()
        await engine.idle()
        if (round > 0) times[at].push((performance.now() - begun) / 1000 / stepsPerRound)
        onProgress?.(round * configs.length + i + 1, (rounds + 1) * configs.length)
      }
    return times.map(median)
  } finally {
    for (const stepper of steppers) stepper.release()
    for (const { words } of images.shards) engine.release(words)
  }
}

async function stepperOf(
  engine: Engine,
  images: DeviceImages,
  dataset: ImageDataset,
  config: PretrainConfig,
): Promise<Stepper> {
  const network = buildNetwork(config)
  const training: TrainingStep = await compileTrainingStep(engine, images, network, config, {})
  const rate = Float32Array.of(config.lr)
  const perStep = config.batch * config.accumulate
  const order = { seed: config.seed, perStep, steps: Infinity }
  const batches = batchesOf(trainingImages(dataset, config), order, { step: 0, epoch: 0, stepInEpoch: 0 })
  const own: Variable[] = [...trainedDicts(network).flatMap(({ variables }) => variables), ...training.state]
  return {
    async step() {
      const batch = batches.next().value as { images: Uint32Array }
      await training.run({ rows: viewRows(dataset, config, batch.images, 0), rate })
    },
    release() {
      training.destroy()
      for (const variable of own) engine.release(variable)
    },
  }
}
