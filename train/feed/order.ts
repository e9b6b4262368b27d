/** Which images a run trains on, in which order, and their views: functions of the configuration alone. */
import { permutation } from '../../engine/index.js'
import { ROW_FLOATS, drawViews } from '../augment/draw.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import { fractionIndices, fractionIndicesPerClass, type ImageDataset } from '../data/dataset.js'

/** The images of the data set that a run trains on. */
export function fractionOf(dataset: ImageDataset, { fraction, fractionPerClass, seed }: PretrainConfig): Uint32Array {
  if (!fractionPerClass) return fractionIndices(dataset.count, fraction, seed)
  if (!dataset.labels.length)
    throw new ConfigError(
      `\`fractionPerClass\`: the images of ${dataset.name} (${dataset.split}) have no labels: take a share of all with \`fraction\` alone`,
    )
  return fractionIndicesPerClass(dataset.labels, fraction, seed)
}

/** Where a run stands in its images. */
export interface Place {
  step: number
  epoch: number
  stepInEpoch: number
}

/**
 * The images of each step, from where a run stands to its last step. An epoch drops the last partial batch.
 *
 * @param indices of the images that the run trains on
 * @param perStep images a step
 */
export function* batchesOf(
  indices: Uint32Array,
  { seed, perStep, steps }: { seed: number; perStep: number; steps: number },
  { step: from, epoch: fromEpoch, stepInEpoch }: Place,
): Generator<{ images: Uint32Array }> {
  const stepsPerEpoch = Math.floor(indices.length / perStep)
  let place = stepInEpoch
  let epoch = fromEpoch
  let order = permutation(seed, epoch, indices.length)
  for (let step = from; step < steps; step++, place++) {
    if (place === stepsPerEpoch) {
      order = permutation(seed, ++epoch, indices.length)
      place = 0
    }
    yield { images: order.slice(place * perStep, (place + 1) * perStep).map((i) => indices[i]) }
  }
}

/** The rows of a step: micro-batch after micro-batch, view-major within each. */
export function rowsOf(
  { height, width }: ImageDataset,
  { augmentation, seed, views, batch, accumulate }: PretrainConfig,
  images: Uint32Array,
  epoch: number,
): Float32Array {
  const floats = views * batch * ROW_FLOATS
  const rows = new Float32Array(accumulate * floats)
  for (let i = 0; i < accumulate; i++) {
    const options = { seed, epoch, images: images.subarray(i * batch, (i + 1) * batch), views }
    drawViews(
      augmentation,
      { ...options, sourceHeight: height, sourceWidth: width },
      rows.subarray(i * floats, (i + 1) * floats),
    )
  }
  return rows
}

/** The label of each row of a step. */
export function labelsOf({ labels }: ImageDataset, { views, batch }: PretrainConfig, images: Uint32Array): Uint32Array {
  const rows = views * batch
  return Uint32Array.from(
    { length: views * images.length },
    (_, row) => labels[images[Math.floor(row / rows) * batch + (row % batch)]],
  )
}
