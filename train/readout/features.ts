/** Features of a frozen backbone, and running statistics for an untrained one. */
import {
  accumulate,
  input,
  mean,
  permutation,
  scale,
  type Assignment,
  type Collective,
  type Engine,
  type Program,
  type updateRunningStatistics,
} from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import { ROW_FLOATS, cleanViews, drawViews } from '../augment/draw.js'
import { cleanRecipe, type AugmentationRecipe } from '../augment/recipe.js'
import { augmentViews } from '../augment/views.js'
import { inShares } from '../ranks/share.js'
import { BatchImages } from '../feed/batch_images.js'
import type { PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'

/** The epoch whose random numbers draw the views of a readout. No pretraining reaches it. */
const READOUT_EPOCH = 2 ** 32 - 1

/** Most elements of an activation after the stem, over a batch: 64 MiB of f32. */
const BATCH_ACTIVATIONS = 2 ** 24
const LARGEST_BATCH = 256

export interface FeatureOptions {
  recipe: AugmentationRecipe
  /** Number of views whose features are averaged: the clean view and views − 1 random ones. */
  views?: number
  /** Numbers of the views to average instead. 0 is the clean view. The seed and the number determine a view. */
  only?: readonly number[]
  /** Indices of the images to read, in this order; all by default. */
  indices?: ArrayLike<number>
  /** Images per batch; by default as many as keep an activation within 64 MiB. */
  batch?: number
  /** Seed of the random views. */
  seed: number
  /** The ranks that share the images; all of them get all features. */
  collective?: Collective
  /** Called after each batch with the number of images done. */
  onProgress?(done: number, total: number): void
}

/** The default batch in eval mode, for views of size × size pixels. */
export const batchFor = (backbone: Backbone, size: number): number =>
  Math.max(1, Math.min(LARGEST_BATCH, Math.floor(BATCH_ACTIVATIONS / (size * size * backbone.options.width))))

/**
 * Computes the features of images in eval mode, averaged over views.
 *
 * @returns [N, D] f32, one row for each of `indices`
 * @throws when `views` or `batch` is not a positive whole number, or when a feature is not finite
 */
export async function extractFeatures(
  engine: Engine,
  backbone: Backbone,
  dataset: ImageDataset,
  options: FeatureOptions,
): Promise<Float32Array<ArrayBuffer>> {
  const { recipe, views = 1 } = options
  const batch = Math.min(
    options.batch ?? batchFor(backbone, Math.max(recipe.size, cleanRecipe(recipe).size)),
    options.indices ? options.indices.length : dataset.count,
  )
  for (const [name, value] of Object.entries({ views, batch }))
    if (!Number.isInteger(value) || value < 1)
      throw new Error(`features: ${name} ${value} must be a positive whole number`)
  const { collective } = options
  const extractor = await featureExtractor(engine, backbone, dataset, { recipe, batch, collective })
  try {
    return await extractor.read(options)
  } finally {
    extractor.release()
  }
}

/** The recorded forward pass in eval mode. Each `read` uses the current weights of the backbone. */
export interface FeatureExtractor {
  /** As `extractFeatures`. */
  read(options: Omit<FeatureOptions, 'recipe' | 'batch' | 'collective'>): Promise<Float32Array<ArrayBuffer>>
  release(): void
}

/**
 * @param batch images per batch
 * @param collective the ranks that share the images of each reading; all of them get all features
 */
export async function featureExtractor(
  engine: Engine,
  backbone: Backbone,
  dataset: ImageDataset,
  { recipe: pretrained, batch, collective }: { recipe: AugmentationRecipe; batch: number; collective?: Collective },
): Promise<FeatureExtractor> {
  // All views of a readout have the main size of the recipe.
  const recipe = { ...pretrained, crops: undefined }
  const width = backbone.features
  const clean = cleanRecipe(recipe)
  const images = new BatchImages(engine, dataset, batch)
  const programs = new Map<string, Program>()
  /** The forward pass of views of one format; those of the clean view and of random views are often equal. */
  const programOf = async (format: AugmentationRecipe): Promise<Program> => {
    const key = JSON.stringify([format.size, format.std])
    const found = programs.get(key)
    if (found) return found
    const rows = input('rows', [batch, ROW_FLOATS])
    const y = backbone.forward(augmentViews(images.onDevice, rows, format), { training: false })
    const program = await engine.compile({ label: 'features', outputs: { y } })
    programs.set(key, program)
    return program
  }
  await programOf(clean).catch((error: unknown) => {
    images.release()
    throw error
  })

  const readHere = async (
    options: Parameters<FeatureExtractor['read']>[0],
    indices: ArrayLike<number>,
  ): Promise<Float32Array<ArrayBuffer>> => {
    const { views = 1, seed, onProgress } = options
    const only = options.only ?? Array.from({ length: views }, (_, view) => view)
    const total = indices.length
    const features = new Float32Array(total * width)
    const scratch = new Float32Array(batch * ROW_FLOATS)
    // The last batch is padded with its last image. The features of the padding are not read.
    const chosen = new Uint32Array(batch)
    let before: (() => Promise<void>) | undefined
    for (let start = 0; start < total; start += batch) {
      const count = Math.min(batch, total - start)
      for (let i = 0; i < batch; i++) chosen[i] = indices[start + Math.min(i, count - 1)]
      await images.load(chosen)
      const readings: Promise<Float32Array>[] = []
      for (const view of only) {
        const program = await programOf(view === 0 ? clean : recipe)
        if (view === 0) cleanViews(clean, chosen, images.onDevice, scratch)
        else {
          const place = { seed, epoch: READOUT_EPOCH, images: chosen, views: 1, firstView: view }
          drawViews(recipe, { ...place, ...images.onDevice }, scratch)
        }
        await program.run({ rows: images.place(scratch, chosen) })
        readings.push(program.read('y'))
      }
      // Fetch a batch while the next one runs.
      await before?.()
      before = async () => {
        const sum = new Float64Array(count * width)
        for (const reading of await Promise.all(readings)) for (let i = 0; i < sum.length; i++) sum[i] += reading[i]
        for (let i = 0; i < sum.length; i++) features[start * width + i] = sum[i] / only.length
        onProgress?.(start + count, total)
      }
    }
    await before?.()
    const bad = features.findIndex((value) => !Number.isFinite(value))
    if (bad >= 0)
      throw new Error(
        `features: image ${indices[Math.floor(bad / width)]} has a feature that is not finite; the weights may have diverged or be damaged`,
      )
    return features
  }
  return {
    read(options) {
      const indices = options.indices ?? Uint32Array.from({ length: dataset.count }, (_, i) => i)
      if (!collective) return readHere(options, indices)
      return inShares(collective, { length: indices.length, width }, (start, count) =>
        readHere(options, Array.prototype.slice.call(indices, start, start + count) as number[]),
      )
    },
    release() {
      for (const program of programs.values()) program.destroy()
      images.release()
    },
  }
}

export interface StatisticsOptions {
  recipe: AugmentationRecipe
  /** Views per image. */
  views: number
  /** Images per batch; at most as many as the data set has. */
  batch: number
  /** Number of batches, 16 by default. */
  batches?: number
  /** Seed of the order and the views. */
  seed: number
  /** Number of groups of rows that batch-norm treats separately, as in pretraining with `bn: per-view`; 1 by default. */
  groups?: number
  onProgress?(done: number, total: number): void
}

/** Rows of a batch, and batches, for `typicalStatistics`. They give means to half a percent of the deviation, variances to 2 %. */
const TYPICAL = { rows: 256, batches: 8 }

/**
 * What `estimateStatistics` needs for an untrained copy of a pretrained network. Each image gives one view, or one for
 * each entry of a list of probabilities in the recipe: more views of the same images would say little more.
 */
export function typicalStatistics({ augmentation: recipe, views: trained, batch: images, bn, seed }: TrainedOptions) {
  const kinds = [recipe.blur.probability, recipe.solarize].map((byView) => (Array.isArray(byView) ? byView.length : 1))
  const views = Math.min(trained, Math.max(...kinds))
  const rows = Math.min(TYPICAL.rows, images * trained)
  const batch = Math.max(2, Math.floor(rows / views))
  return { recipe, views, batch, batches: TYPICAL.batches, seed, groups: bn === 'per-view' ? views : 1 }
}

type TrainedOptions = Pick<PretrainConfig, 'augmentation' | 'views' | 'batch' | 'bn' | 'seed'>

/**
 * Estimates the running statistics of an untrained network: the means of the batch statistics over forward passes in
 * training mode on augmented batches. Nothing else of the network changes.
 */
export async function estimateStatistics(
  engine: Engine,
  backbone: Backbone,
  dataset: ImageDataset,
  { recipe: trained, views, batch: wanted, batches = 16, seed, groups = 1, onProgress }: StatisticsOptions,
): Promise<void> {
  const recipe = { ...trained, crops: undefined }
  const batch = Math.min(wanted, dataset.count)
  const images = new BatchImages(engine, dataset, batch)
  const rows = input('rows', [views * batch, ROW_FLOATS])
  const updates: Assignment[] = []
  const index = input('index', [1], 'u32')
  /** The mean over all batches and groups; the variances are the unbiased ones. */
  const updateStatistics: typeof updateRunningStatistics = (running, { mean: m, variance }, count) => {
    const terms = [scale(mean(m, [0]), 1 / batches), scale(mean(variance, [0]), count / (count - 1) / batches)]
    return accumulate([running.mean, running.variance], terms, index)
  }
  const x = augmentViews(images.onDevice, rows, recipe)
  backbone.forward(x, { training: true, groups, updates, updateStatistics })
  const program = await engine.compile({ label: 'statistics', updates })
  try {
    const perEpoch = Math.floor(dataset.count / batch)
    let order = new Uint32Array(0)
    for (let k = 0; k < batches; k++) {
      const epoch = Math.floor(k / perEpoch)
      const start = (k % perEpoch) * batch
      if (start === 0) order = permutation(seed, epoch, dataset.count) as Uint32Array<ArrayBuffer>
      const chosen = order.subarray(start, start + batch)
      await images.load(chosen)
      const drawn = drawViews(recipe, { seed, epoch, images: chosen, views, ...images.onDevice })
      await program.run({ rows: images.place(drawn, chosen), index: Uint32Array.of(k) })
      onProgress?.(k + 1, batches)
    }
    await engine.idle()
  } finally {
    program.destroy()
    images.release()
  }
}
