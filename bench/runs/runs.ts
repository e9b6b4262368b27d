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
import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { EngineError, type Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import { loadModel, openRun, type Progress } from '../../train/run/checkpoint.js'
import type { PretrainConfig } from '../../train/config/config.js'
import type { ImageDataset } from '../../train/data/dataset.js'
import { loadDataset } from '../../train/node/data/index.js'
import { MissingSplitError } from '../../train/data/registry.js'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { buildNetwork } from '../../train/step/network.js'
import { DivergedError, pretrain } from '../../train/run/pretrain.js'
import { readout } from '../../train/readout/readout.js'

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

/** Keys in order, so that equal configurations have equal texts. */
const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : value !== null && typeof value === 'object'
      ? Object.fromEntries(
          Object.entries(value)
            .filter(([, v]) => v !== undefined)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([k, v]) => [k, sorted(v)]),
        )
      : value

/** Name of a run's folder: a hash of all in its configuration that its outcome depends on. */
export function keyOf(config: PretrainConfig): string {
  const seen = Object.fromEntries(Object.entries(config).filter(([name]) => !UNSEEN.has(name)))
  if (config.data === 'folder' && config.dataDir !== undefined) seen.dataDir = resolve(config.dataDir)
  return createHash('sha256')
    .update(JSON.stringify(sorted(seen)))
    .digest('hex')
    .slice(0, 16)
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

/** Loads each data set once. */
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
    for (const name of await checkpointsOf(folder, curve)) {
      const file = join(folder, 'readings', nameOfReadout(readout), `${name}.json`)
      if (!existsSync(file)) return undefined
      const reading = (await readJson(file)) as Reading
      reading.adapter ??= await adapterOf(folder, name)
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
    const { config, readout: spec, curve } = request
    const before = await this.found(request)
    if (before) return before
    const folder = this.folderOf(config)
    try {
      const splits = await this.options.splits(config)
      if (!(await isTrained(folder))) await this.train(folder, config, splits)
      for (const name of await checkpointsOf(folder, curve)) {
        this.stopIfAsked()
        await this.read(folder, name, config, spec, splits)
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
    const resume = existsSync(join(folder, 'config.yaml')) && (await openRun(folder)).latest !== undefined
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
    const at = join(folder, 'checkpoints', checkpoint)
    const { step, epoch, seconds } = await progressAt(folder, checkpoint)
    const adapter = await adapterOf(folder, checkpoint)
    const { backbone } = buildNetwork(config)
    try {
      await loadModel(engine, backbone.dict, join(at, `${spec.average ? 'average' : 'model'}.safetensors`))
      const figures = await this.readBackbone(backbone, config, spec, splits)
      const reading: Reading = { step, epoch, seconds, adapter, views: spec.views, ...figures }
      await writeAtomically(file, `${JSON.stringify(reading)}\n`)
    } finally {
      for (const variable of backbone.dict.variables) engine.release(variable)
    }
  }

  private async readBackbone(backbone: Backbone, config: PretrainConfig, spec: ReadoutSpec, splits: Splits) {
    const { engine, onProgress } = this.options
    const { linear, knn, testCount } = await readout(engine, backbone, splits.train, splits.test, {
      recipe: config.augmentation,
      views: spec.views,
      seeds: Array.from({ length: spec.seeds }, (_, i) => i + 1),
      epochs: spec.epochs,
      ks: spec.knn ? [20] : [],
      trainPerClass: spec.trainPerClass,
      testPerClass: spec.testPerClass,
      onProgress,
    })
    const [knn20] = knn
    return { top1: linear.top1, top5: linear.top5, ...(knn20 && { knn20: knn20.top1 }), testCount }
  }
}

/** A run whose steps are all done has said so in its summary. */
async function isTrained(folder: string): Promise<boolean> {
  const file = join(folder, 'summary.json')
  if (!existsSync(file)) return false
  return ((await readJson(file)) as { stopped: string }).stopped === 'done'
}

/** The checkpoints to read, oldest first: all that have weights, or the newest. */
async function checkpointsOf(folder: string, all = false): Promise<string[]> {
  const names = (await readdir(join(folder, 'checkpoints'))).filter((name) => /^step-\d+$/.test(name)).sort()
  return all ? names : names.slice(-1)
}

const progressAt = async (folder: string, checkpoint: string): Promise<Progress> =>
  (await readJson(join(folder, 'checkpoints', checkpoint, 'checkpoint.json'))) as Progress

/** The adapter that a run was trained on until a checkpoint, or all of them in order: its seconds are of all. */
async function adapterOf(folder: string, checkpoint: string): Promise<string> {
  const names = (await checkpointsOf(folder, true)).filter((name) => name <= checkpoint)
  const adapters = await Promise.all(names.map(async (name) => (await progressAt(folder, name)).adapter))
  return [...new Set(adapters)].join(', then ')
}

/** Rows that a run trains on in all, the measure of how long it takes; `images` of the pretraining split. */
export function rowsOf({ batch, accumulate, epochs, steps, fraction, views }: PretrainConfig, images: number): number {
  const perStep = batch * accumulate
  const perEpoch = Math.floor(Math.max(1, Math.round(fraction * images)) / perStep)
  return Math.min(steps ?? Infinity, epochs * perEpoch) * perStep * views
}
