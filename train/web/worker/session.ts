/** One training in the worker: a run in the browser's file system, which can pause, go on and be read at any time. */
import { importStateDict, type Backbone, type Projector } from '../../../models/index.js'
import type { Engine } from '../../../engine/index.js'
import { resolveConfig, type PartialConfig, type PretrainConfig } from '../../config/config.js'
import { estimateStatistics, typicalStatistics } from '../../readout/features.js'
import { openRun } from '../../run/checkpoint.js'
import { pretrain } from '../../run/pretrain.js'
import type { RunStore } from '../../run/store.js'
import { buildNetwork } from '../../step/network.js'
import type { Ended, Events, ExportFormat } from '../protocol.js'
import { encode, readModel } from './exports.js'
import { keepPictures, type Loaded } from './pictures.js'
import { openReader, type Reader } from './reader.js'

/** Readings come so often that they take about this share of the time, and not closer than so many milliseconds. */
const READING_SHARE = 0.12
const BETWEEN_READINGS = 1500
/** Minutes between checkpoints: what a closed tab loses at most. */
const CHECKPOINT_MINUTES = 0.5
/** Batches that give an untrained network its statistics on a software driver. */
const BATCHES_ON_PROCESSOR = 2

export type Tell = <E extends keyof Events>(event: E, data: Events[E]) => void

const noNetwork = (): Error => new Error('There is no trained network yet.')

/** Where a run is kept. */
export interface Place {
  id: string
  store: RunStore
}

type Pair = { backbone: Backbone; projector: Projector }

/** The epochs that so many steps need. Only the last one has a checkpoint; others come by time. */
function withSteps(config: PretrainConfig, steps: number, images: number): PretrainConfig {
  const epochs = Math.max(1, Math.ceil(steps / Math.max(1, Math.floor(images / config.batch))))
  return { ...config, steps, epochs, checkpointEvery: epochs, checkpointMinutes: CHECKPOINT_MINUTES }
}

export class Session {
  private config: PretrainConfig
  private step = 0
  /** The network while nothing trains. */
  private network: Pair | undefined
  private training: AbortController | undefined
  /** Readings outside of training, after which the network may be released. */
  private reading: Promise<void> = Promise.resolve()
  /** Work that waits for a moment between two steps. */
  private readonly waiting: ((pair: Pair | undefined) => Promise<void>)[] = []

  private constructor(
    private readonly engine: Engine,
    private readonly loaded: Loaded,
    private readonly place: Place,
    private readonly tell: Tell,
    config: PretrainConfig,
  ) {
    this.config = config
  }

  /**
   * Prepares a new run.
   *
   * @throws ConfigError in one line if the options do not fit together or the pictures
   */
  static create(engine: Engine, loaded: Loaded, place: Place, tell: Tell, partial: PartialConfig): Session {
    const { dataset } = loaded
    const config = resolveConfig({ ...partial, data: dataset.name })
    return new Session(engine, loaded, place, tell, withSteps(config, config.steps ?? 1, dataset.count))
  }

  /** Opens a run that the browser kept. @throws Error if it has no whole checkpoint */
  static async reopen(engine: Engine, loaded: Loaded, place: Place, tell: Tell): Promise<Session> {
    const { store } = place
    const { config, latest } = await openRun(store, { purpose: 'resume' })
    if (!latest) throw new Error('This run was closed before it saved anything. It can only be deleted.')
    const session = new Session(engine, loaded, place, tell, config)
    const pair = buildNetwork(config)
    const tensors = await readModel(store, latest.name)
    for (const { dict } of [pair.backbone, pair.projector]) importStateDict(engine, dict, tensors, store.nameOf())
    session.step = latest.step
    session.network = pair
    return session
  }

  get id(): string {
    return this.place.id
  }

  get options(): PretrainConfig {
    return this.config
  }

  get steps(): number {
    return this.config.steps ?? 1
  }

  get stepsDone(): number {
    return this.step
  }

  /** Reads the network as it was before its first step, and as it is. */
  readFirst(): Promise<void> {
    return (this.reading = this.readNetworks())
  }

  /** Done when no reading is under way outside of training. */
  idle(): Promise<void> {
    return this.reading
  }

  private async readNetworks(): Promise<void> {
    const { engine, config, loaded } = this
    this.tell('progress', { what: 'Reading the untrained network', share: 0 })
    const untrained = buildNetwork(config)
    try {
      await estimateStatistics(engine, untrained.backbone, loaded.dataset, {
        ...typicalStatistics(config),
        ...(engine.target.adapterClass === 'cpu' && { batches: BATCHES_ON_PROCESSOR }),
      })
      const reading = await this.readOnce(untrained, 'untrained', 0)
      this.tell('reading', reading)
      if (this.network) this.tell('reading', await this.readOnce(this.network, 'now', this.step))
      else this.tell('reading', { ...reading, of: 'now' })
    } finally {
      this.release(untrained)
    }
  }

  /** Trains to the last step, or until `pause`. `resume` continues from the newest checkpoint. */
  async train(resume: boolean, steps = this.steps): Promise<Ended> {
    const { engine, loaded, tell } = this
    const { store } = this.place
    if (this.training) throw new Error('This run trains already.')
    this.config = withSteps(this.config, steps, loaded.dataset.count)
    const { config } = this
    const controller = (this.training = new AbortController())
    let reader: Reader | undefined
    let nextReading = Infinity
    const readAfter = (took: number): void => {
      nextReading = performance.now() + Math.max(BETWEEN_READINGS, took * (1 / READING_SHARE - 1))
    }
    const look = async (pair: Pair): Promise<void> => {
      for (const work of this.waiting.splice(0)) await work(pair)
      if (performance.now() < nextReading) return
      const begun = performance.now()
      try {
        reader ??= await openReader(engine, pair, loaded.dataset, config, this.shown)
        tell('reading', await reader.read('now', this.step, controller.signal))
      } catch (error) {
        if (!controller.signal.aborted) throw error
      }
      readAfter(performance.now() - begun)
    }
    try {
      if (!resume) {
        await keepPictures(store, loaded)
        await this.readFirst()
      }
      await this.forget()
      const { backbone, projector, stopped } = await pretrain({
        ...{ engine, dataset: loaded.dataset, config, out: store, resume, keep: 1, diagnosisShare: 0 },
        signal: controller.signal,
        onCompile: (done, total, of) =>
          tell('progress', {
            what: of === 'kernels' ? 'Compiling kernels' : 'Drawing initial weights',
            share: done / total,
          }),
        onBegin(step, of) {
          readAfter(0)
          tell('begin', { step, steps: of })
        },
        onStep: (metrics) => {
          this.step = metrics.step
          tell('step', metrics)
        },
        inspect: (_, pair) => (this.waiting.length || performance.now() >= nextReading ? () => look(pair) : undefined),
        onMessage: (text) => tell('message', { text }),
      })
      this.network = { backbone, projector }
      // The page hears of the end at once, and then what the network makes of its pictures.
      this.reading = this.readOnce(this.network, 'now', this.step)
        .then((reading) => tell('reading', reading))
        .catch((error: Error) => tell('message', { text: error.message }))
      return { stopped, step: this.step, steps }
    } finally {
      reader?.release()
      this.training = undefined
      for (const work of this.waiting.splice(0)) await work(this.network)
    }
  }

  /** Saves and stops after the present step; `train` then answers. */
  pause(): void {
    this.training?.abort()
  }

  /** The network as a file. */
  export(format: ExportFormat): Promise<{ name: string; bytes: Uint8Array }> {
    const { engine, config } = this
    return this.withNetwork((pair) => encode(engine, pair, config, this.step, format))
  }

  /** Stops, and frees the network. */
  async close(): Promise<void> {
    if (this.training) throw new Error('Pause the training first.')
    await this.forget()
  }

  /** Frees the network, after a reading that still uses it. */
  private async forget(): Promise<void> {
    await this.reading.catch(() => undefined)
    this.release(this.network)
    this.network = undefined
  }

  private get shown(): number {
    const { height, width, shown } = this.loaded.pictures
    return shown.length / (height * width * 3)
  }

  /** Gives the network to `work`: now if nothing trains, otherwise between two steps. */
  private withNetwork<T>(work: (pair: Pair) => Promise<T>): Promise<T> {
    if (!this.training) {
      if (!this.network) return Promise.reject(noNetwork())
      return work(this.network)
    }
    return new Promise((resolve, reject) =>
      this.waiting.push((pair) => (pair ? work(pair) : Promise.reject(noNetwork())).then(resolve, reject)),
    )
  }

  private async readOnce(pair: Pair, of: 'untrained' | 'now', step: number) {
    const reader = await openReader(this.engine, pair, this.loaded.dataset, this.config, this.shown)
    try {
      return await reader.read(of, step)
    } finally {
      reader.release()
    }
  }

  private release(pair: Pair | undefined): void {
    for (const { dict } of pair ? [pair.backbone, pair.projector] : [])
      for (const v of dict.variables) this.engine.release(v)
  }
}
