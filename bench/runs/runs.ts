/** Makes the runs of experiments and sweeps. Each run is made once, and is resumed if it was stopped. */
import { join } from 'node:path'
import { EngineError, type Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { PretrainConfig } from '../../train/config/config.js'
import type { ImageDataset } from '../../train/data/dataset.js'
import { loadDataset } from '../../train/node/data/index.js'
import { MissingSplitError } from '../../train/data/registry.js'
import { madeOnce } from '../../train/node/lock.js'
import { diagnose } from '../../train/diagnostics/diagnose.js'
import { buildNetwork } from '../../train/step/network.js'
import { pretrain } from '../../train/node/pretrain.js'
import { runFolder } from '../../train/node/run_folder.js'
import { loadModel } from '../../train/node/weights.js'
import { AVERAGE_FILE, checkFiles, MODEL_FILE, readCheckpoint } from '../../train/run/checkpoint_record.js'
import { DivergedError } from '../../train/run/diverged.js'
import { checkpointPath, isResumable, stepOf } from '../../train/run/folder.js'
import { runLength } from '../../train/run/schedule.js'
import { readout, readoutLike } from '../../train/readout/readout.js'
import { writeFigures, type Reading } from './cached.js'
import {
  adaptersUntil,
  CachedRuns,
  checkpointsToRead,
  FAILED,
  readingFile,
  type ReadoutSpec,
  type RunRequest,
  type RunResult,
} from './cached_runs.js'
import type { KeptReadings } from './kept.js'

/** The images of a configuration. */
export interface Splits {
  pretraining: ImageDataset
  train: ImageDataset
  test: ImageDataset
}

/** A signal stopped a run before its last step; it can be resumed. */
export class Interrupted extends Error {
  override name = 'Interrupted'
}

/** Loads each data set once. */
export function namedSplits(): (config: PretrainConfig) => Promise<Splits> {
  const loaded = new Map<string, Promise<Splits>>()
  return ({ data, dataDir, resolution, resize }) => {
    const key = JSON.stringify([data, dataDir, resolution, resize])
    const load = async (): Promise<Splits> => {
      const of = async (split: 'pretraining' | 'train' | 'test'): Promise<ImageDataset> =>
        loadDataset(data, split, { dataDir, resolution, resize })
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

/** All runs are diagnosed with the same images. */
const DIAGNOSIS_SEED = 1

export interface RunsOptions {
  engine: Engine
  /** Folder of the runs. */
  root: string
  splits(config: PretrainConfig): Promise<Splits>
  /** Readings of runs that were made elsewhere; those made here are added. */
  kept?: KeptReadings
  signal?: AbortSignal
  /** Progress within a run: first its steps, then its readouts. */
  onProgress?(what: string, done: number, total: number): void
  onMessage?(line: string): void
}

export class Runs extends CachedRuns {
  constructor(private readonly options: RunsOptions) {
    super(options.root, options.onMessage, options.kept)
  }

  /**
   * Trains a run and reads it out, as far as that is not cached.
   *
   * @returns the readings, or the error of a failed run in one line, so that other runs can continue
   * @throws Interrupted if the signal stopped it; EngineError in one line if the device is lost
   */
  async run(request: RunRequest): Promise<RunResult> {
    const { signal, onMessage: onWait } = this.options
    const folder = this.folderOf(request.config)
    const result = await madeOnce(`${folder}.lock`, `the run ${folder}`, {
      find: () => this.found(request),
      make: () => this.make(request),
      ...{ onWait, signal },
    })
    // A failure that is not cached may be temporary.
    if (!('error' in result) || (await this.isDone(request))) await this.keep(request, result)
    return result
  }

  private async make(request: RunRequest): Promise<RunResult> {
    const { config, curve } = request
    const folder = this.folderOf(config)
    try {
      const splits = await this.options.splits(config)
      if (!(await this.isTrained(folder))) await this.train(folder, config, splits)
      const names = await checkpointsToRead(folder, curve)
      for (const name of names) {
        this.stopIfAsked()
        await this.read(folder, name, request, splits, name === names.at(-1))
      }
      return (await this.found(request))!
    } catch (error) {
      if (error instanceof Interrupted) throw error
      this.stopIfLost()
      const line = (error as Error).message.split('\n')[0]
      // A run that diverged would diverge again. Any other failure may be temporary, so it is not cached.
      if (error instanceof DivergedError)
        await writeFigures(join(folder, FAILED), { error: line })
      return { folder, error: line }
    }
  }

  private stopIfAsked(): void {
    if (this.options.signal?.aborted) throw new Interrupted('stopped')
  }

  /** After a lost device every other run would fail with the same line. */
  private stopIfLost(): void {
    try {
      this.options.engine.check()
    } catch (error) {
      throw new EngineError(`${(error as Error).message}; finished runs are kept: run the same command to continue`)
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
    { config, readout: spec }: RunRequest,
    splits: Splits,
    diagnosed: boolean,
  ): Promise<void> {
    const file = readingFile(folder, spec, checkpoint)
    if (await this.cached.reading(file, stepOf(checkpoint)!)) return
    const { engine } = this.options
    const weightsFile = spec.average ? AVERAGE_FILE : MODEL_FILE
    const store = runFolder(folder)
    const found = await readCheckpoint(store, checkpoint)
    await checkFiles(store, found, weightsFile)
    const { step, epoch, seconds } = found
    const adapter = await adaptersUntil(folder, checkpoint)
    const { backbone } = buildNetwork(config)
    try {
      await loadModel(engine, backbone.dict, join(folder, checkpointPath(checkpoint, weightsFile)))
      const figures = await this.readBackbone(backbone, config, spec, splits)
      const measures = diagnosed ? await this.diagnose(backbone, config, splits) : {}
      const reading: Reading = { step, epoch, seconds, adapter, views: spec.views, ...figures, ...measures }
      await writeFigures(file, reading)
    } finally {
      for (const variable of backbone.dict.variables) engine.release(variable)
    }
  }

  /** Measures without labels. */
  private async diagnose(
    backbone: Backbone,
    { augmentation: recipe, objective }: PretrainConfig,
    { train }: Splits,
  ): Promise<Pick<Reading, 'alpha' | 'effectiveRank' | 'rankMe' | 'lidar'>> {
    const { alpha, effectiveRank, rankMe, lidar } = await diagnose(this.options.engine, backbone, train, {
      ...{ recipe, objective, seed: DIAGNOSIS_SEED },
    })
    return { alpha, effectiveRank, rankMe, lidar }
  }

  private async readBackbone(backbone: Backbone, config: PretrainConfig, spec: ReadoutSpec, splits: Splits) {
    const { engine, onProgress } = this.options
    const { linear, knn, testCount } = await readout(engine, backbone, splits.train, splits.test, {
      ...readoutLike(config, config.data, { batch: spec.batch }),
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

/** Rows that a run trains on, a measure of its time; `images` is the size of the pretraining split. */
export function rowsOf(config: PretrainConfig, images: number): number {
  const { steps, imagesPerStep } = runLength(config, Math.max(1, Math.round(config.fraction * images)))
  return steps * imagesPerStep * config.views
}
