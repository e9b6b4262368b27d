/** How long readouts take, estimated from small trials of each part. */
import type { Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { ImageDataset } from '../data/dataset.js'
import { subset } from '../data/subset.js'
import { batchFor, estimateStatistics, extractFeatures, type StatisticsOptions } from './features.js'
import { FINE_TUNING, fineTune, type FineTuneOptions } from './fine_tune.js'
import { knn } from './knn.js'
import type { LabelledFeatures } from './labelled_features.js'
import { EPOCHS, linearProbe } from './linear_probe.js'
import type { ReadoutOptions } from './readout.js'

/** Size of the trials. A software driver is as fast with small batches as with large ones, and slow with either. */
const TRIAL = { batches: 3, softwareBatch: 32, rows: 4096, queries: 512, epochs: 2 }
/** Images of a training step in a trial on a software driver. */
const SOFTWARE_TRAINING_BATCH = 8

const onSoftware = (engine: Engine): boolean => engine.target.adapterClass === 'cpu'

/**
 * Estimates the seconds that `readout` takes, from three batches of features, two epochs of the probe and one block of
 * neighbours on random features.
 */
export async function estimateReadoutSeconds(
  engine: Engine,
  backbone: Backbone,
  train: ImageDataset,
  test: ImageDataset,
  { recipe, views, seeds, epochs = EPOCHS, batch: probeBatch, ks = [] }: Omit<ReadoutOptions, 'onProgress'>,
): Promise<number> {
  const width = backbone.features
  const batch = Math.min(onSoftware(engine) ? TRIAL.softwareBatch : Infinity, batchFor(backbone, recipe.size))
  const images = Math.min(train.count, TRIAL.batches * batch)
  const indices = Uint32Array.from({ length: images }, (_, i) => i)
  const perImage = await secondsPerUnit((tick) =>
    extractFeatures(engine, backbone, train, { recipe, views, seed: seeds[0], indices, batch, onProgress: tick }),
  )
  const random = (count: number): LabelledFeatures => ({
    features: Float32Array.from({ length: count * width }, Math.random),
    labels: new Uint32Array(count),
  })
  const rows = random(Math.min(train.count, TRIAL.rows))
  const queries = random(Math.min(test.count, TRIAL.queries))
  const classes = train.classes.length
  const perEpoch = await secondsPerUnit((tick) =>
    linearProbe(engine, rows, random(1), { classes, seeds, epochs: TRIAL.epochs, batch: probeBatch, onEpoch: tick }),
  )
  const perQuery = ks.length
    ? await secondsPerUnit((tick) => knn(engine, rows, queries, { classes, ks, onProgress: tick }))
    : 0
  const rowsShare = train.count / rows.labels.length
  return (train.count + test.count) * perImage + rowsShare * (epochs * perEpoch + test.count * perQuery)
}

/**
 * Estimates the seconds that `estimateStatistics` takes, from a few batches. It changes the backbone's running
 * statistics, so pass a copy.
 */
export async function estimateStatisticsSeconds(
  engine: Engine,
  copy: Backbone,
  train: ImageDataset,
  options: StatisticsOptions & { batches: number },
): Promise<number> {
  const whole = Math.min(options.batch, train.count)
  const batch = Math.min(whole, onSoftware(engine) ? SOFTWARE_TRAINING_BATCH : Infinity)
  const time = async (batches: number): Promise<number> => {
    const begun = performance.now()
    await estimateStatistics(engine, copy, train, { ...options, batch, batches, onProgress: undefined })
    return (performance.now() - begun) / 1000
  }
  // The first call builds the pipelines. The difference of the other two excludes the time to record a program.
  await time(1)
  const one = await time(1)
  const perBatch = Math.max(0, (await time(4)) - one) / 3
  return (options.batches * perBatch * whole) / batch
}

/** Estimates the seconds that `fineTune` takes, from a few steps. It trains the backbone, so pass a copy. */
export async function estimateFineTuneSeconds(
  engine: Engine,
  copy: Backbone,
  train: ImageDataset,
  test: ImageDataset,
  options: FineTuneOptions & { batch: number },
): Promise<number> {
  const batch = Math.min(options.batch, train.count, onSoftware(engine) ? SOFTWARE_TRAINING_BATCH : Infinity)
  const first = (dataset: ImageDataset, count: number): ImageDataset =>
    subset(
      dataset,
      Uint32Array.from({ length: Math.min(count, dataset.count) }, (_, i) => i),
    )
  const perStep = await secondsPerUnit((onProgress) =>
    fineTune(engine, copy, first(train, 4 * batch), first(test, 1), { ...options, batch, epochs: 1, onProgress }),
  )
  const { epochs = FINE_TUNING.epochs } = options
  return (epochs * train.count * perStep) / batch
}

/**
 * Seconds per unit of the work that `tick` reports, measured between the first and the last tick. The time before the
 * first tick, in which pipelines are built, counts only when there is one tick.
 */
async function secondsPerUnit(work: (tick: (done: number) => void) => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  const ticks: { at: number; done: number }[] = []
  await work((done) => ticks.push({ at: performance.now(), done }))
  const [first, last] = [ticks[0], ticks[ticks.length - 1]]
  const from = first === last ? { at: begun, done: 0 } : first
  return (last.at - from.at) / 1000 / (last.done - from.done)
}
