/** Which images a run trains on, and in which order: functions of the configuration alone. */
import { permutation } from '../engine/index.js'
import { ConfigError, type PretrainConfig } from './config.js'
import { fractionIndices, fractionIndicesPerClass, type ImageDataset } from './data/dataset.js'

/** The images of the data set that a run trains on. */
export function fractionOf(dataset: ImageDataset, { fraction, fractionPerClass, seed }: PretrainConfig): Uint32Array {
  if (!fractionPerClass) return fractionIndices(dataset.count, fraction, seed)
  if (!dataset.labels.length)
    throw new ConfigError(
      `--fraction-per-class: the images of ${dataset.name} (${dataset.split}) have no labels: take a share of all with --fraction alone`,
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
