/** The readout of a frozen backbone: linear probe and nearest neighbours on features cached once. */
import type { Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import type { ImageDataset } from '../data/dataset.js'
import { batchFor, extractFeatures } from './features.js'
import { knn } from './knn.js'
import { linearProbe, type LabelledFeatures } from './linear_probe.js'

/** Shares of test images, in [0, 1], and their standard errors: √(p (1 − p) / N). */
export interface Accuracies {
  top1: number
  top5: number
  standardError: number
  top5StandardError: number
}

/** @param count test images */
export function withErrors({ top1, top5 }: Pick<Accuracies, 'top1' | 'top5'>, count: number): Accuracies {
  const error = (share: number): number => Math.sqrt((share * (1 - share)) / count)
  return { top1, top5, standardError: error(top1), top5StandardError: error(top5) }
}

/** Accuracies and their standard errors are shares, in [0, 1]. */
export interface Readout {
  /** Views that each image's features were averaged over; figures of different views do not compare. */
  views: number
  trainCount: number
  testCount: number
  /** Means over the probe seeds. */
  linear: Accuracies & {
    /** Of top1 over the probe seeds: their standard deviation / √seeds. Absent with one seed. */
    seedStandardError?: number
    perSeed: { seed: number; top1: number; top5: number }[]
  }
  knn20: Accuracies
  knn200: Accuracies
}

export interface ReadoutOptions {
  recipe: AugmentationRecipe
  /** 1: the clean view alone. */
  views: number
  /** Of the linear probes; the first draws the random views too. */
  seeds: readonly number[]
  /** A line as each phase begins. */
  onMessage?(line: string): void
  /** Within a phase. */
  onProgress?(phase: Phase, done: number, total: number): void
}

export type Phase = 'training features' | 'test features' | 'linear probe' | 'nearest neighbours'

/**
 * Reads a backbone out on labelled images.
 *
 * @throws where a set has no labels
 */
export async function readout(
  engine: Engine,
  backbone: Backbone,
  train: ImageDataset,
  test: ImageDataset,
  { recipe, views, seeds, onMessage, onProgress }: ReadoutOptions,
): Promise<Readout> {
  for (const { labels, name, split } of [train, test])
    if (!labels.length) throw new Error(`readout: the ${split} images of ${name} have no labels`)
  const classes = Math.max(train.classes.length, test.classes.length)
  const reporter = (phase: Phase) => (done: number, total: number) => onProgress?.(phase, done, total)
  const features = async (dataset: ImageDataset, phase: Phase): Promise<LabelledFeatures> => {
    onMessage?.(`features of ${dataset.count.toLocaleString('en')} ${dataset.split} images, ${viewsOf(views)} each`)
    const options = { recipe, views, seed: seeds[0], onProgress: reporter(phase) }
    return { features: await extractFeatures(engine, backbone, dataset, options), labels: dataset.labels }
  }
  const given = await features(train, 'training features')
  const asked = await features(test, 'test features')

  onMessage?.(`linear probe, ${seeds.length} seed${seeds.length > 1 ? 's' : ''}`)
  const probes = await linearProbe(engine, given, asked, { classes, seeds, onEpoch: reporter('linear probe') })
  onMessage?.('nearest neighbours')
  const neighbours = { classes, ks: [20, 200], onProgress: reporter('nearest neighbours') }
  const [near, far] = await knn(engine, given, asked, neighbours)

  const top1 = mean(probes.map((p) => p.top1))
  const top5 = mean(probes.map((p) => p.top5))
  return {
    views,
    trainCount: train.count,
    testCount: test.count,
    linear: {
      ...withErrors({ top1, top5 }, test.count),
      ...(probes.length > 1 ? { seedStandardError: errorOfMean(probes.map((p) => p.top1)) } : {}),
      perSeed: probes.map(({ seed, top1, top5 }) => ({ seed, top1, top5 })),
    },
    knn20: withErrors(near, test.count),
    knn200: withErrors(far, test.count),
  }
}

/** `1 clean view`, `1 clean and 15 random views`. */
export const viewsOf = (views: number): string =>
  views === 1 ? '1 clean view' : `1 clean and ${views - 1} random view${views > 2 ? 's' : ''}`

/** What an estimate is measured on. */
const TRIAL = { batches: 3, softwareBatch: 32, rows: 4096, queries: 512, epochs: 2 }

/**
 * How long `readout` will take, in seconds, from small pieces of each phase: three batches of features, two epochs of
 * the probe and one block of neighbours on random features.
 */
export async function estimateReadout(
  engine: Engine,
  backbone: Backbone,
  train: ImageDataset,
  test: ImageDataset,
  { recipe, views, seeds }: ReadoutOptions,
): Promise<number> {
  const width = backbone.features
  // A software driver is as fast with small batches as with large ones, and slow with either.
  const most = engine.target.adapterClass === 'cpu' ? TRIAL.softwareBatch : Infinity
  const batch = Math.min(most, batchFor(backbone, recipe.size))
  const images = Math.min(train.count, TRIAL.batches * batch)
  const indices = Uint32Array.from({ length: images }, (_, i) => i)
  // The first batch, during which pipelines are built, does not count where others follow.
  const extraction = await rateOf((tick) =>
    extractFeatures(engine, backbone, train, { recipe, views, seed: seeds[0], indices, batch, onProgress: tick }),
  )
  const random = (count: number): LabelledFeatures => ({
    features: Float32Array.from({ length: count * width }, Math.random),
    labels: new Uint32Array(count),
  })
  const rows = random(Math.min(train.count, TRIAL.rows))
  const queries = random(Math.min(test.count, TRIAL.queries))
  const classes = train.classes.length
  const probing = await rateOf((tick) =>
    linearProbe(engine, rows, random(1), { classes, seeds, epochs: TRIAL.epochs, onEpoch: tick }),
  )
  const searching = await rateOf((tick) => knn(engine, rows, queries, { classes, ks: [200], onProgress: tick }))
  const rowsShare = train.count / rows.labels.length
  return (train.count + test.count) * extraction + 200 * rowsShare * probing + test.count * rowsShare * searching
}

/** Seconds a unit of what `tick` counts, between the first tick and the last, or in all where there is but one. */
export async function rateOf(work: (tick: (done: number) => void) => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  const ticks: { at: number; done: number }[] = []
  await work((done) => ticks.push({ at: performance.now(), done }))
  const [first, last] = [ticks[0], ticks[ticks.length - 1]]
  const from = first === last ? { at: begun, done: 0 } : first
  return (last.at - from.at) / 1000 / (last.done - from.done)
}

const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length

function errorOfMean(values: number[]): number {
  const centre = mean(values)
  const variance = values.reduce((sum, v) => sum + (v - centre) ** 2, 0) / (values.length - 1)
  return Math.sqrt(variance / values.length)
}
