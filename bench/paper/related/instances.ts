/** A training loop of its own for single-branch instance discrimination, which needs to know each row's image. */
import {
  adam,
  gradients,
  input,
  mean,
  multiply,
  variable,
  type Assignment,
  type Engine,
  type Program,
  type Value,
  type Variable,
} from '../../../engine/index.js'
import type { Backbone } from '../../../models/index.js'
import { cleanViews, drawViews, ROW_FLOATS } from '../../../train/augment/draw.js'
import { ConfigError, type PretrainConfig } from '../../../train/config/config.js'
import type { ImageDataset } from '../../../train/data/dataset.js'
import { batchesOf, trainingImages } from '../../../train/feed/batches.js'
import { imageFeed, type ImageFeed } from '../../../train/feed/image_feed.js'
import { imageWeights } from '../../../train/methods/image_weights.js'
import { instanceLosses } from '../../../train/methods/instance_discrimination.js'
import { DivergedError } from '../../../train/run/diverged.js'
import { learningRate, runLength, scheduleOf } from '../../../train/run/schedule.js'
import { forward } from '../../../train/step/forward.js'
import { buildNetwork, type Network } from '../../../train/step/network.js'

export interface InstanceTraining {
  /** Weighs the images by their running losses with this tilt; equal weights if absent. */
  tilt?: number
  signal?: AbortSignal
  onStep?(done: number, total: number): void
}

/** Steps between two readings of the loss, which also keep the queue short. */
const READ_EVERY = 10

/**
 * Trains a network with one view of each image in a step. The order of images, the views and the learning rate are those of
 * `pretrain` with the same configuration; the optimiser is Adam, which trains the bank too.
 *
 * @returns the backbone, and the losses that were read; the caller frees its Variables
 * @throws ConfigError for f16, several micro-batches or a kept last batch; DivergedError if a loss is not finite
 */
export async function trainInstances(
  engine: Engine,
  dataset: ImageDataset,
  config: PretrainConfig,
  { tilt, signal, onStep }: InstanceTraining = {},
): Promise<{ backbone: Backbone; losses: number[] }> {
  const { batch, seed, augmentation, precision, accumulate, lastBatch } = config
  if (precision === 'f16' || accumulate > 1 || lastBatch === 'keep')
    throw new ConfigError('instance discrimination: needs `precision` f32, `accumulate` 1 and `lastBatch` drop')
  const indices = trainingImages(dataset, config)
  const length = runLength(config, indices.length)
  const source = { sourceHeight: dataset.height, sourceWidth: dataset.width, sizes: dataset.sizes }
  const network = buildNetwork(config)
  const feed = imageFeed(engine, dataset, batch, config.stream)
  const own: Variable[] = [...network.projector.dict.variables]
  let program: Program | undefined
  try {
    const first = await untrained(engine, feed, network, config, indices, source)
    const bank = variable('bank', [indices.length, config.projectorDim], first)
    const running = variable('running losses', [indices.length, 1])
    const parameters = [...network.backbone.dict.parameters, ...network.projector.dict.parameters, bank]
    const optimizer = adam(parameters, { weightDecay: config.weightDecay })
    own.push(bank, running, ...optimizer.state)
    const updates: Assignment[] = []
    const places = input('images', [batch], 'u32')
    const rows = input('rows', [batch, ROW_FLOATS])
    const { projection } = forward(feed.onDevice, network, config, rows, { views: 1, updates })
    const losses = instanceLosses(projection, bank, places)
    const loss = mean(tilt === undefined ? losses : weighted(losses, places, running, tilt, updates))
    updates.push(...optimizer.updates(gradients(loss, parameters), input('rate', [1])))
    program = await engine.compile({ label: 'instance discrimination', outputs: { loss }, updates })
    const placeOf = new Map(Array.from(indices, (image, place) => [image, place]))
    const order = batchesOf(
      indices,
      { seed, perStep: batch, steps: length.steps },
      { step: 0, epoch: 0, stepInEpoch: 0 },
    )
    const read: number[] = []
    let step = 0
    for await (const { images } of feed.batches(order)) {
      signal?.throwIfAborted()
      const epoch = Math.floor(step / length.stepsPerEpoch)
      const drawn = drawViews(augmentation, { seed, epoch, images, views: 1, ...source })
      await program.run({
        rows: feed.place(drawn, images),
        images: Uint32Array.from(images, (image) => placeOf.get(image)!),
        rate: Float32Array.of(learningRate(step, scheduleOf(config, length))),
      })
      if (++step % READ_EVERY > 0 && step < length.steps) continue
      const [value] = await program.read('loss')
      if (!Number.isFinite(value))
        throw new DivergedError(`instance discrimination: the loss is ${value} at step ${step}: lower \`lr\``)
      read.push(value)
      onStep?.(step, length.steps)
    }
    return { backbone: network.backbone, losses: read }
  } catch (error) {
    own.push(...network.backbone.dict.variables)
    throw error
  } finally {
    program?.destroy()
    feed.release()
    for (const v of own) engine.release(v)
  }
}

/** The losses times the weights of their images; adds the update of the running means. */
function weighted(losses: Value, places: Value, running: Variable, tilt: number, updates: Assignment[]): Value {
  const { weights, update } = imageWeights(losses, places, running, { tilt })
  updates.push(update)
  return multiply(losses, weights)
}

/** The projections of the clean images by the untrained network, with the statistics of their batches [N, d]. */
async function untrained(
  engine: Engine,
  feed: ImageFeed,
  network: Network,
  config: PretrainConfig,
  indices: Uint32Array,
  source: Parameters<typeof cleanViews>[2],
): Promise<Float32Array> {
  const { batch, projectorDim: width, augmentation } = config
  const { projection } = forward(feed.onDevice, network, config, input('rows', [batch, ROW_FLOATS]), { views: 1 })
  const program = await engine.compile({ label: 'the untrained bank', outputs: { projection } })
  try {
    const bank = new Float32Array(indices.length * width)
    // The last batch begins earlier, so that it is whole.
    const starts = Array.from({ length: Math.ceil(indices.length / batch) }, (_, i) =>
      Math.min(i * batch, indices.length - batch),
    )
    const order = starts.map((start) => ({ start, images: indices.subarray(start, start + batch) }))
    for await (const { start, images } of feed.batches(order)) {
      const rows = new Float32Array(batch * ROW_FLOATS)
      cleanViews(augmentation, images, source, rows)
      await program.run({ rows: feed.place(rows, images) })
      bank.set(await program.read('projection'), start * width)
    }
    return bank
  } finally {
    program.destroy()
  }
}
