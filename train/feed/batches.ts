/**
 * The batches of a run: its images, their order, and the rows that describe their views. All follow from the
 * configuration.
 */
import { permutation } from '../../engine/index.js'
import { ROW_FLOATS, cleanViews, drawViews } from '../augment/draw.js'
import { ConfigError, takesClean, type PretrainConfig } from '../config/config.js'
import { fractionIndices, fractionIndicesPerClass } from '../data/subset.js'
import type { ImageDataset } from '../data/dataset.js'
import { blockOrder } from './block_order.js'

/** The indices of the images that a run trains on. */
export function trainingImages(
  dataset: ImageDataset,
  { fraction, fractionPerClass, seed }: PretrainConfig,
): Uint32Array {
  if (!fractionPerClass) return fractionIndices(dataset.count, fraction, seed)
  if (!dataset.labels.length)
    throw new ConfigError(
      `\`fractionPerClass\`: the images of ${dataset.name} (${dataset.split}) have no labels: use \`fraction\` alone`,
    )
  return fractionIndicesPerClass(dataset.labels, fraction, seed)
}

/** @throws ConfigError if a step takes more than all `images` of the data set `name` that the run trains on */
export function refuseLargeBatch(
  { batch, accumulate, fraction }: Pick<PretrainConfig, 'batch' | 'accumulate' | 'fraction'>,
  images: number,
  name: string,
): void {
  if (batch * accumulate <= images) return
  const remedies = [
    `lower \`batch\`${accumulate > 1 ? ' or `accumulate`' : ` to at most ${images}`}`,
    ...(fraction < 1 ? ['raise `fraction`'] : []),
  ]
  throw new ConfigError(
    `\`batch\` ${batch}${accumulate > 1 ? ` (\`accumulate\` ${accumulate})` : ''} is larger than the data set: ${images} images of ${name}${fraction < 1 ? ` (\`fraction\` ${fraction})` : ''}: ${remedies.join(', or ')}`,
  )
}

/** Where a run stands: steps and epochs done, and steps done in the current epoch. */
export interface Position {
  step: number
  epoch: number
  stepInEpoch: number
}

/** The order of each epoch, and the length of the run. */
export interface BatchOrder {
  readonly seed: number
  /** Images per step. */
  readonly perStep: number
  /** Images of an epoch's last step, if they are fewer than `perStep`. */
  readonly last?: number
  /** Of the whole run. */
  readonly steps: number
  /** Where images lie in blocks: the blocks of the data set, and the images of a micro-batch. */
  readonly blocks?: { readonly starts: Uint32Array; readonly batch: number }
}

/** The images of an epoch in their order, from `indices`, which ascend. */
export const epochOrder = (
  indices: Uint32Array,
  { seed, blocks }: Pick<BatchOrder, 'seed' | 'blocks'>,
  epoch: number,
) =>
  blocks
    ? blockOrder(indices, blocks, { seed, epoch, batch: blocks.batch })
    : permutation(seed, epoch, indices.length).map((i) => indices[i])

/**
 * The images of each step, from a position to the last step. Every epoch has a new order. It drops the last partial batch,
 * or with `last` it has a further step of so many images.
 *
 * @param indices of the images that the run trains on
 */
export function* batchesOf(
  indices: Uint32Array,
  order: BatchOrder,
  { step: firstStep, epoch: firstEpoch, stepInEpoch }: Position,
): Generator<{ images: Uint32Array }> {
  const { perStep, last = 0, steps } = order
  const stepsPerEpoch = Math.floor(indices.length / perStep) + (last > 0 ? 1 : 0)
  let place = stepInEpoch
  let epoch = firstEpoch
  let images = epochOrder(indices, order, epoch)
  for (let step = firstStep; step < steps; step++, place++) {
    if (place === stepsPerEpoch) {
      images = epochOrder(indices, order, ++epoch)
      place = 0
    }
    const count = last > 0 && place === stepsPerEpoch - 1 ? last : perStep
    yield { images: images.slice(place * perStep, place * perStep + count) }
  }
}

/**
 * Draws the views of a step.
 *
 * @param images of the step: equally many for each micro-batch
 * @returns rows [accumulate · views · batch, ROW_FLOATS]: one micro-batch after another, each view-major; where the
 *   objective takes the clean image, it is the last view of each micro-batch
 */
export function viewRows(
  { height, width, sizes }: ImageDataset,
  config: PretrainConfig,
  images: Uint32Array,
  epoch: number,
): Float32Array {
  const { augmentation, seed, views, accumulate } = config
  const batch = images.length / accumulate
  const drawn = views * batch * ROW_FLOATS
  const floats = drawn + (takesClean(config) ? batch * ROW_FLOATS : 0)
  const rows = new Float32Array(accumulate * floats)
  const source = { sourceHeight: height, sourceWidth: width, sizes }
  for (let i = 0; i < accumulate; i++) {
    const own = images.subarray(i * batch, (i + 1) * batch)
    const at = i * floats
    drawViews(augmentation, { seed, epoch, images: own, views, ...source }, rows.subarray(at, at + drawn))
    if (floats > drawn) cleanViews(augmentation, own, source, rows.subarray(at + drawn, at + floats))
  }
  return rows
}

/** The label of each row of a step, in the order of `viewRows`. */
export function rowLabels({ labels }: ImageDataset, config: PretrainConfig, images: Uint32Array): Uint32Array {
  const batch = images.length / config.accumulate
  const views = config.views + Number(takesClean(config))
  const rows = views * batch
  return Uint32Array.from(
    { length: views * images.length },
    (_, row) => labels[images[Math.floor(row / rows) * batch + (row % batch)]],
  )
}
