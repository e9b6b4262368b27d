/**
 * Runs that are made once: each in a folder named after its resolved configuration, gone on with where it was stopped,
 * and read out with every figure kept beside it.
 *
 *     <root>/<key>/                 a run's folder, as `npm run pretrain -- --out` writes it
 *       readings/<how>/step-….json  what a checkpoint is worth, read in one way
 *       failed.json                 in place of the rest, where the run diverged
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { EngineError, type Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import { canonicalJson } from '../../train/config/canonical_json.js'
import type { PretrainConfig } from '../../train/config/config.js'
import { inMemory, loadDataset, MissingSplitError, subset, type ImageDataset } from '../../train/data/dataset.js'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { buildNetwork } from '../../train/step/network.js'
import { pretrain } from '../../train/node/pretrain.js'
import { runFolder } from '../../train/node/run_folder.js'
import { loadModel } from '../../train/node/weights.js'
import { AVERAGE_FILE, MODEL_FILE, readCheckpoint } from '../../train/run/checkpoint.js'
import { DivergedError } from '../../train/run/diverged.js'
import { checkpointNames, checkpointPath, isResumable, readSummary } from '../../train/run/folder.js'
import { runLength } from '../../train/run/schedule.js'
import { extractFeatures } from '../../train/readout/features.js'
import { knn } from '../../train/readout/knn.js'
import { linearProbe } from '../../train/readout/linear_probe.js'
import { firstOfEachClass } from '../../train/node/contact_sheet.js'

/** How a frozen backbone is read. Figures of different ways do not compare. */
export interface ReadoutSpec {
  /** Views averaged for each image, the clean one and random ones. */
  views: number
  /** Linear probes that the mean is taken of. */
  seeds: number
  /** Of each probe. */
  epochs: number
  knn: boolean
  /** The moving average of the weights is read, which a run with `emaRate` keeps. */
  average?: boolean
  /** The first so many images of each class, in place of all. */
  trainPerClass?: number
  testPerClass?: number
}

/** What a checkpoint is worth; accuracies are shares. */
export interface Reading {
  step: number
  epoch: number
  /** Training until then, compilation and readouts apart. */
  seconds: number
  /** That it was trained on; `A, then B` where the run was gone on with on another. */
  adapter?: string
  /** Views that it was read with. */
  views: number
  top1: number
  top5: number
  knn20?: number
  testCount: number
}

export interface RunRequest {
  config: PretrainConfig
  readout: ReadoutSpec
  /** Every checkpoint is read, not the last alone. */
  curve?: boolean
}

/** `readings` in the order of their steps. */
export type RunResult = { folder: string; readings: Reading[] } | { folder: string; error: string }

/** The images of a configuration. */
export interface Splits {
  pretraining: ImageDataset
  train: ImageDataset
  test: ImageDataset
}

/** A signal ended the run before its end: it can be gone on with. */
export class Interrupted extends Error {
  override name = 'Interrupted'
}

/** What changes where or how a run is made, and not what comes of it; but of a folder, where it lies says what it is. */
const UNSEEN = new Set<string>(['dataDir', 'stream'])

/** Name of a run's folder: a hash of all in its configuration that its outcome depends on. */
export function keyOf(config: PretrainConfig): string {
  const seen = Object.fromEntries(Object.entries(config).filter(([name]) => !UNSEEN.has(name)))
  if (config.data === 'folder' && config.dataDir !== undefined) seen.dataDir = resolve(config.dataDir)
  return createHash('sha256').update(canonicalJson(seen)).digest('hex').slice(0, 16)
}

/** Name of the folder of a way of reading. */
export const nameOfReadout = ({
  views,
  seeds,
  epochs,
  knn,
  average,
  trainPerClass,
  testPerClass,
}: ReadoutSpec): string =>
  [
    `${views}-views`,
    `${seeds}-probes`,
    `${epochs}-epochs`,
    ...(knn ? ['knn'] : []),
    ...(average ? ['average'] : []),
    ...(trainPerClass ? [`train-${trainPerClass}`] : []),
    ...(testPerClass ? [`test-${testPerClass}`] : []),
  ].join('-')

/** The adapters that runs were trained on, each once: seconds on different ones do not compare. */
export const adaptersOf = (readings: readonly Reading[]): string[] => [
  ...new Set(readings.flatMap(({ adapter }) => adapter ?? [])),
]

/** Loads each data set once, and cuts what readouts ask for once. */
export function namedSplits(): (config: PretrainConfig) => Promise<Splits> {
  const loaded = new Map<string, Promise<Splits>>()
  return ({ data, dataDir, resolution }) => {
    const key = JSON.stringify([data, dataDir, resolution])
    const load = async (): Promise<Splits> => {
      const of = async (split: 'pretraining' | 'train' | 'test'): Promise<ImageDataset> =>
        loadDataset(data, split, { dataDir, resolution })
      const train = await of('train')
      const own = await of('pretraining').catch((error: unknown) => {
        if (error instanceof MissingSplitError) return train
        throw error
      })
      return { pretraining: own.split === train.split ? train : own, train, test: await of('test') }
    }
    const held = loaded.get(key) ?? load()
    loaded.set(key, held)
    return held
  }
}

export interface RunsOptions {
  engine: Engine
  /** Folder of the runs. */
  root: string
  splits(config: PretrainConfig): Promise<Splits>
  signal?: AbortSignal
  /** Within a run: rows trained so far of the run's, then the readout's. */
  onProgress?(what: string, done: number, total: number): void
}

export class Runs {
  /** By data set and images of each class: names do not tell two folders or resolutions apart. */
  private readonly cuts = new WeakMap<ImageDataset, Map<number, ImageDataset>>()

  constructor(private readonly options: RunsOptions) {}

  folderOf(config: PretrainConfig): string {
    return join(this.options.root, keyOf(config))
  }

  /** Whether nothing is left to do, so that `result` only reads files. */
  async isDone(request: RunRequest): Promise<boolean> {
    return (await this.found(request)) !== undefined
  }

  /** What lies in the folder: all readings or the failure; undefined where something is to be done yet. */
  async found({ config, readout, curve }: RunRequest): Promise<RunResult | undefined> {
    const folder = this.folderOf(config)
    if (existsSync(join(folder, 'failed.json')))
      return { folder, error: ((await readJson(join(folder, 'failed.json'))) as { error: string }).error }
    if (!(await isTrained(folder))) return undefined
    const readings: Reading[] = []
    for (const name of await checkpointsToRead(folder, curve)) {
      const file = join(folder, 'readings', nameOfReadout(readout), `${name}.json`)
      if (!existsSync(file)) return undefined
      const reading = (await readJson(file)) as Reading
      reading.adapter ??= await adaptersUntil(folder, name)
      readings.push(reading)
    }
    return { folder, readings }
  }

  /**
   * Trains and reads out what is not there yet.
   *
   * @returns the readings, or the one line of a run that failed: the others go on
   * @throws Interrupted where the signal ended it; EngineError in one line where the device is lost
   */
  async run(request: RunRequest): Promise<RunResult> {
    const { config, readout, curve } = request
    const before = await this.found(request)
    if (before) return before
    const folder = this.folderOf(config)
    try {
      const splits = await this.options.splits(config)
      if (!(await isTrained(folder))) await this.train(folder, config, splits)
      for (const name of await checkpointsToRead(folder, curve)) {
        this.stopIfAsked()
        await this.read(folder, name, config, readout, splits)
      }
      return (await this.found(request))!
    } catch (error) {
      if (error instanceof Interrupted) throw error
      this.stopIfLost()
      const line = (error as Error).message.split('\n')[0]
      // A run that diverged would do so again; anything else may have been the machine's.
      if (error instanceof DivergedError)
        await writeAtomically(join(folder, 'failed.json'), `${JSON.stringify({ error: line })}\n`)
      return { folder, error: line }
    }
  }

  private stopIfAsked(): void {
    if (this.options.signal?.aborted) throw new Interrupted('stopped')
  }

  /** An engine whose device is lost refuses all that comes after: it would be the same line for every run. */
  private stopIfLost(): void {
    try {
      this.options.engine.check()
    } catch (error) {
      throw new EngineError(`${(error as Error).message}; finished runs stay, the same command goes on from here`)
    }
  }

  private async train(folder: string, config: PretrainConfig, splits: Splits): Promise<void> {
    this.stopIfAsked()
    const { engine, signal, onProgress } = this.options
    const resume = await isResumable(runFolder(folder))
    const result = await pretrain({
      engine,
      dataset: splits.pretraining,
      labelled: splits.train,
      test: splits.test,
      config,
      out: folder,
      resume,
      signal,
      onStep: ({ step, steps }) => onProgress?.('training', step, steps),
    })
    for (const part of [result.backbone, result.projector, result.average])
      for (const variable of part?.dict.variables ?? []) engine.release(variable)
    if (result.stopped !== 'done') throw new Interrupted('stopped')
  }

  private async read(
    folder: string,
    checkpoint: string,
    config: PretrainConfig,
    spec: ReadoutSpec,
    splits: Splits,
  ): Promise<void> {
    const file = join(folder, 'readings', nameOfReadout(spec), `${checkpoint}.json`)
    if (existsSync(file)) return
    const { engine } = this.options
    const weights = checkpointPath(checkpoint, spec.average ? AVERAGE_FILE : MODEL_FILE)
    const { step, epoch, seconds } = await readCheckpoint(runFolder(folder), checkpoint)
    const adapter = await adaptersUntil(folder, checkpoint)
    const { backbone } = buildNetwork(config)
    try {
      await loadModel(engine, backbone.dict, join(folder, weights))
      const figures = await this.readBackbone(backbone, config, spec, splits)
      const reading: Reading = { step, epoch, seconds, adapter, views: spec.views, ...figures }
      await writeAtomically(file, `${JSON.stringify(reading)}\n`)
    } finally {
      for (const variable of backbone.dict.variables) engine.release(variable)
    }
  }

  private async readBackbone(backbone: Backbone, config: PretrainConfig, spec: ReadoutSpec, splits: Splits) {
    const { engine, onProgress } = this.options
    const seeds = Array.from({ length: spec.seeds }, (_, i) => i + 1)
    const features = async (dataset: ImageDataset, what: string) => {
      if (!dataset.labels.length)
        throw new Error(`readout: the ${dataset.split} images of ${dataset.name} have no labels`)
      const options = { recipe: config.augmentation, views: spec.views, seed: seeds[0] }
      const tick = (done: number, total: number): void => onProgress?.(what, done, total)
      return {
        features: await extractFeatures(engine, backbone, dataset, { ...options, onProgress: tick }),
        labels: dataset.labels,
      }
    }
    const test = await this.firstOf(splits.test, spec.testPerClass)
    const given = await features(await this.firstOf(splits.train, spec.trainPerClass), 'training features')
    const asked = await features(test, 'test features')
    const classes = Math.max(splits.train.classes.length, test.classes.length)
    const onEpoch = (done: number, total: number): void => onProgress?.('linear probe', done, total)
    const probes = await linearProbe(engine, given, asked, { classes, seeds, epochs: spec.epochs, onEpoch })
    const [near] = spec.knn ? await knn(engine, given, asked, { classes, ks: [20] }) : []
    const meanOf = (pick: (p: { top1: number; top5: number }) => number): number =>
      probes.reduce((total, p) => total + pick(p), 0) / probes.length
    return {
      top1: meanOf((p) => p.top1),
      top5: meanOf((p) => p.top5),
      ...(near && { knn20: near.top1 }),
      testCount: test.count,
    }
  }

  private async firstOf(dataset: ImageDataset, perClass: number | undefined): Promise<ImageDataset> {
    if (perClass === undefined) return dataset
    const own = this.cuts.get(dataset) ?? new Map<number, ImageDataset>()
    this.cuts.set(dataset, own)
    const held = own.get(perClass) ?? (await inMemory(subset(dataset, firstOfEachClass(dataset, perClass))))
    own.set(perClass, held)
    return held
  }
}

/** Whether a run has reached its last step. */
const isTrained = async (folder: string): Promise<boolean> =>
  (await readSummary(runFolder(folder)))?.stopped === 'done'

/** The names of the checkpoints to read, oldest first: all of them, or the newest. */
async function checkpointsToRead(folder: string, curve = false): Promise<string[]> {
  const names = await checkpointNames(runFolder(folder))
  return curve ? names : names.slice(-1)
}

/** The adapters that a run was trained on until a checkpoint, in order: its seconds are those of all of them. */
async function adaptersUntil(folder: string, checkpoint: string): Promise<string> {
  const store = runFolder(folder)
  const names = (await checkpointNames(store)).filter((name) => name <= checkpoint)
  const adapters = await Promise.all(names.map(async (name) => (await readCheckpoint(store, name)).adapter))
  return [...new Set(adapters)].join(', then ')
}

/** Rows that a run trains on, a measure of its time; `images` is the size of the pretraining split. */
export function rowsOf(config: PretrainConfig, images: number): number {
  const { steps, imagesPerStep } = runLength(config, Math.max(1, Math.round(config.fraction * images)))
  return steps * imagesPerStep * config.views
}
