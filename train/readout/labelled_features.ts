/** Features with their labels: the input of the linear probe and of the nearest neighbours. */
import type { Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { ImageDataset } from '../data/dataset.js'
import { extractFeatures, type FeatureOptions } from './features.js'

export interface LabelledFeatures {
  /** [N, D] */
  features: Float32Array
  /** [N], each below the number of classes */
  labels: ArrayLike<number>
}

/** @throws Error in one line if the images have no labels */
export function refuseUnlabelled({ labels, name, split }: ImageDataset): void {
  if (!labels.length) throw new Error(`readout: the ${split} images of ${name} have no labels`)
}

/**
 * Extracts the features of labelled images.
 *
 * @returns one row for each of `options.indices`, by default for each image
 * @throws when the images have no labels
 */
export async function labelledFeatures(
  engine: Engine,
  backbone: Backbone,
  dataset: ImageDataset,
  options: FeatureOptions,
): Promise<LabelledFeatures> {
  const { labels } = dataset
  refuseUnlabelled(dataset)
  const features = await extractFeatures(engine, backbone, dataset, options)
  return { features, labels: options.indices ? Uint32Array.from(options.indices, (i) => labels[i]) : labels }
}

/**
 * The common width D of two sets of features.
 *
 * @throws when the numbers of features and labels do not give rows of one width
 */
export function widthOf(train: LabelledFeatures, test: LabelledFeatures): number {
  const [width, other] = [train, test].map(({ features, labels }) => features.length / labels.length)
  if (!Number.isInteger(width) || width < 1 || width !== other)
    throw new Error(
      `readout: ${train.features.length} and ${test.features.length} numbers are not rows of one width for ` +
        `${train.labels.length} training and ${test.labels.length} test labels`,
    )
  return width
}
