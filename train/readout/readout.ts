/** The readout of a frozen backbone: linear probe and nearest neighbours, both on features that are extracted once. */
import type { Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import { resolveConfig, type PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import { perClassSubset } from '../data/subset.js'
import { knn } from './knn.js'
import { labelledFeatures, type LabelledFeatures } from './labelled_features.js'
import { linearProbe, type LinearProbe } from './linear_probe.js'

/** Shares of the test images, in [0, 1], and their standard errors √(p (1 − p) / N). */
export interface Accuracies {
  top1: number
  top5: number
  standardError: number
  top5StandardError: number
}

/** @param count the number of test images */
export function withStandardErrors({ top1, top5 }: Pick<Accuracies, 'top1' | 'top5'>, count: number): Accuracies {
  const error = (share: number): number => Math.sqrt((share * (1 - share)) / count)
  return { top1, top5, standardError: error(top1), top5StandardError: error(top5) }
}

export interface Readout {
  /** Views per image that features were averaged over. Figures read with different numbers of views do not compare. */
  views: number
  trainCount: number
  testCount: number
  /** Means over the probe seeds. */
  linear: Accuracies & {
    /** Standard error of top1 over the probe seeds: standard deviation / √seeds. Absent with one seed. */
    seedStandardError?: number
    perSeed: { seed: number; top1: number; top5: number }[]
  }
  /** One entry for each of `ks`, in that order. */
  knn: (Accuracies & { k: number })[]
}

export interface ReadoutOptions {
  recipe: AugmentationRecipe
  /** Views per image: the clean view and views − 1 random ones. */
  views: number
  /** One linear probe is trained for each seed. The first seed also draws the random views. */
  seeds: readonly number[]
  /** Epochs of each probe, 200 by default. */
  epochs?: number
  /** Rows per step of a probe, 512 by default. */
  batch?: number
  /** Numbers of neighbours to classify with; without them no neighbours are searched. */
  ks?: readonly number[]
  /** Read only the first images of each class; all by default. */
  trainPerClass?: number
  testPerClass?: number
  /** Called with the linear probes, one for each seed. */
  onProbes?(probes: readonly LinearProbe[]): void
  /** Called within each phase. */
  onProgress?(phase: ReadoutPhase, done: number, total: number): void
}

/**
 * The readout of a run by its fidelity. The research code's probe has the batch of the pretraining. On another data set it
 * takes the size and the normalisation of that data set.
 *
 * @param data the data set to read out
 * @param changes options that win
 */
export function readoutLike(
  config: PretrainConfig,
  data: string = config.data,
  { batch, targetViews = config.fidelity !== undefined }: { batch?: number; targetViews?: boolean } = {},
): Pick<ReadoutOptions, 'recipe' | 'batch'> {
  const { augmentation, fidelity } = config
  const target = data !== config.data && targetViews && resolveConfig({ data, dataDir: '.', fidelity }).augmentation
  return {
    recipe: target
      ? { ...augmentation, size: target.size, mean: target.mean, std: target.std, clean: target.clean }
      : augmentation,
    batch: batch ?? (fidelity && config.batch),
  }
}

export type ReadoutPhase = 'training features' | 'test features' | 'linear probe' | 'nearest neighbours'

/**
 * Reads a backbone out on labelled images.
 *
 * @throws when a set has no labels
 */
export async function readout(
  engine: Engine,
  backbone: Backbone,
  allTrain: ImageDataset,
  allTest: ImageDataset,
  { recipe, views, seeds, epochs, batch, ks = [], trainPerClass, testPerClass, onProbes, onProgress }: ReadoutOptions,
): Promise<Readout> {
  const train = perClassSubset(allTrain, trainPerClass)
  const test = perClassSubset(allTest, testPerClass)
  const classes = Math.max(train.classes.length, test.classes.length)
  const reporter = (phase: ReadoutPhase) => (done: number, total: number) => onProgress?.(phase, done, total)
  const read = (dataset: ImageDataset, phase: ReadoutPhase): Promise<LabelledFeatures> =>
    labelledFeatures(engine, backbone, dataset, { recipe, views, seed: seeds[0], onProgress: reporter(phase) })
  const trainFeatures = await read(train, 'training features')
  const testFeatures = await read(test, 'test features')

  const probing = { classes, seeds, epochs, batch, onEpoch: reporter('linear probe') }
  const probes = await linearProbe(engine, trainFeatures, testFeatures, probing)
  onProbes?.(probes)
  const searching = { classes, ks, onProgress: reporter('nearest neighbours') }
  const neighbours = ks.length ? await knn(engine, trainFeatures, testFeatures, searching) : []

  const top1 = mean(probes.map((p) => p.top1))
  const top5 = mean(probes.map((p) => p.top5))
  return {
    views,
    trainCount: train.count,
    testCount: test.count,
    linear: {
      ...withStandardErrors({ top1, top5 }, test.count),
      ...(probes.length > 1 && { seedStandardError: errorOfMean(probes.map((p) => p.top1)) }),
      perSeed: probes.map(({ seed, top1, top5 }) => ({ seed, top1, top5 })),
    },
    knn: neighbours.map((found) => ({ k: found.k, ...withStandardErrors(found, test.count) })),
  }
}

const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length

function errorOfMean(values: number[]): number {
  const centre = mean(values)
  const variance = values.reduce((sum, v) => sum + (v - centre) ** 2, 0) / (values.length - 1)
  return Math.sqrt(variance / values.length)
}
