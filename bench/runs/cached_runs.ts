/**
 * What the folders of runs hold, without an engine. Each run has a folder named after its resolved configuration.
 *
 *     <root>/<key>/                     a run's folder, as `npm run pretrain -- --out` writes it
 *       readings/<readout>/step-….json  the readout of a checkpoint
 *       failed.json                     the error of a run that diverged
 */
import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'
import { canonicalJson } from '../../train/config/canonical_json.js'
import { ownData, type PretrainConfig } from '../../train/config/config.js'
import { runFolder } from '../../train/node/run_folder.js'
import { readCheckpoint, validCheckpoints } from '../../train/run/checkpoint_record.js'
import { readSummary, stepOf } from '../../train/run/folder.js'
import { CachedFigures, type Reading } from './cached.js'
import { outcomeOptions, type KeptReadings } from './kept.js'

/** How a frozen backbone is read out. Figures of different readouts do not compare. */
export interface ReadoutSpec {
  /** Views averaged per image: the clean view and random views. */
  views: number
  /** The number of linear probes whose accuracies are averaged. */
  seeds: number
  /** Epochs of each probe. */
  epochs: number
  knn: boolean
  /** Reads the moving average of the weights, which a run with `emaRate` keeps. */
  average?: boolean
  /** Limits the images to the first ones of each class. */
  trainPerClass?: number
  testPerClass?: number
  /** Rows per step of a probe; by default that of the run's fidelity. */
  batch?: number
}

export interface RunRequest {
  config: PretrainConfig
  readout: ReadoutSpec
  /** Reads every checkpoint instead of only the last one. */
  curve?: boolean
}

/** `readings` in the order of their steps. */
export type RunResult = { folder: string; readings: Reading[] } | { folder: string; error: string }

export const FAILED = 'failed.json'

/** The name of a run's folder: a hash of all options that its outcome depends on. */
export function keyOf(config: PretrainConfig): string {
  const seen = outcomeOptions(config)
  // For a folder data set the path identifies the data, so it is part of the key.
  const { data, dataDir } = config
  if (ownData.has(data) && dataDir !== undefined) seen.dataDir = /^https?:/.test(dataDir) ? dataDir : resolve(dataDir)
  return createHash('sha256').update(canonicalJson(seen)).digest('hex').slice(0, 16)
}

/** The name of a readout's folder. */
export const nameOfReadout = ({
  views,
  seeds,
  epochs,
  knn,
  average,
  trainPerClass,
  testPerClass,
  batch,
}: ReadoutSpec): string =>
  [
    `${views}-views`,
    `${seeds}-probes`,
    `${epochs}-epochs`,
    ...(knn ? ['knn'] : []),
    ...(average ? ['average'] : []),
    ...(trainPerClass ? [`train-${trainPerClass}`] : []),
    ...(testPerClass ? [`test-${testPerClass}`] : []),
    ...(batch ? [`batch-${batch}`] : []),
  ].join('-')

/** The adapters that runs were trained on, each once. Seconds on different adapters do not compare. */
export const adaptersOf = (readings: readonly Reading[]): string[] => [
  ...new Set(readings.flatMap(({ adapter }) => adapter ?? [])),
]

/** The finished runs below a folder. */
export class CachedRuns {
  protected readonly cached: CachedFigures

  /**
   * @param root folder of the runs
   * @param onMessage told once of each damaged file, in one line that names it
   * @param kept readings of runs that were made elsewhere
   */
  constructor(
    private readonly root: string,
    onMessage?: (line: string) => void,
    private readonly kept?: KeptReadings,
  ) {
    this.cached = new CachedFigures(onMessage)
  }

  folderOf(config: PretrainConfig): string {
    return join(this.root, keyOf(config))
  }

  /** Whether `run` has nothing to train and nothing to read out. */
  async isDone(request: RunRequest): Promise<boolean> {
    return (await this.found(request)) !== undefined
  }

  /** The cached readings or the failure of a run; undefined if there is anything left to do. */
  async found(request: RunRequest): Promise<RunResult | undefined> {
    const { config, readout, curve } = request
    const folder = this.folderOf(config)
    const kept = this.keptFor(config)?.run(keptAs(request))
    if (kept) return { folder, ...kept }
    const failure = await this.cached.failure(join(folder, FAILED))
    if (failure) return { folder, ...failure }
    if (!(await this.isTrained(folder))) return undefined
    const readings: Reading[] = []
    for (const name of await checkpointsToRead(folder, curve)) {
      const reading = await this.cached.reading(readingFile(folder, readout, name), stepOf(name)!)
      if (!reading) return undefined
      reading.adapter ??= await adaptersUntil(folder, name)
      readings.push(reading)
    }
    return { folder, readings }
  }

  /** Adds a result to the kept readings. */
  async keep(request: RunRequest, result: RunResult): Promise<void> {
    await this.keptFor(request.config)?.addRun(keptAs(request), result)
  }

  /** The images of a folder are known only on their own machine. */
  private keptFor({ data }: PretrainConfig): KeptReadings | undefined {
    return ownData.has(data) ? undefined : this.kept
  }

  /** Whether a run has reached its last step. If its summary is damaged, the run is resumed, which writes it again. */
  protected async isTrained(folder: string): Promise<boolean> {
    const summary = await readSummary(runFolder(folder)).catch((error: Error) => this.cached.report(error))
    return summary?.stopped === 'done'
  }
}

const keptAs = ({ config, readout, curve = false }: RunRequest) => ({ config, readout: nameOfReadout(readout), curve })

export const readingFile = (folder: string, spec: ReadoutSpec, checkpoint: string): string =>
  join(folder, 'readings', nameOfReadout(spec), `${checkpoint}.json`)

/** The names of the checkpoints to read, oldest first: all of them, or the newest. */
export async function checkpointsToRead(folder: string, curve = false): Promise<string[]> {
  const store = runFolder(folder)
  const names = await validCheckpoints(store)
  if (!curve) return names.slice(-1)
  // Checkpoints by time depend on the speed of the machine.
  const byTime = await Promise.all(names.map(async (name) => (await readCheckpoint(store, name)).byTime))
  return names.filter((_, i) => !byTime[i])
}

/** The adapters that a run was trained on until a checkpoint, in order: its seconds are those of all of them. */
export async function adaptersUntil(folder: string, checkpoint: string): Promise<string> {
  const store = runFolder(folder)
  const names = (await validCheckpoints(store)).filter((name) => name <= checkpoint)
  const adapters = await Promise.all(names.map(async (name) => (await readCheckpoint(store, name)).adapter))
  return [...new Set(adapters)].join(', then ')
}
