/** What a run reads of itself between steps: nearest neighbours, the features' spectrum, and λ by it. */
import { join } from 'node:path'
import type { Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import { adaptLambda } from '../diagnostics/adaptive_lambda.js'
import { diagnosis, type Diagnosis } from '../diagnostics/diagnose.js'
import { appendLine } from './metrics.js'
import { onlineKnn } from '../readout/online.js'

/** Features up to this width are diagnosed on more images; the eigenvalues of wider ones take their time. */
const NARROW = 512
const IMAGES = 1024
const IMAGES_OF_WIDE = 512
/** Of them so many are compared pair by pair. */
const PAIRED_IMAGES = 256
/** Images at a time: few, since the memory for them is kept beside the step's. */
const BATCH = 64
/** What a first diagnosis, with its compilation, is taken to last. */
const FIRST_SECONDS = 1
/** Eigenvalues that are written down: those that the exponent is fitted to. */
const EIGENVALUES = 100
const DIGITS = 6

export interface WatchOptions {
  engine: Engine
  backbone: Backbone
  dataset: ImageDataset
  config: PretrainConfig
  /** Labelled images among which nearest neighbours are searched, and those that they classify. */
  bank?: ImageDataset
  test?: ImageDataset
  out?: string
  /** Share of the training time that diagnoses may take. */
  diagnosisShare: number
  onMessage?(line: string): void
}

/** Where a run stands. */
export interface Moment {
  step: number
  epoch: number
}

export interface Watch {
  /** λ after an epoch, by the spectrum of some clean views. */
  adapted(lambda: number): Promise<number>
  /** @param trained seconds that this sitting has trained: a diagnosis that would take too much of them is left out */
  atCheckpoint(moment: Moment, trained: number): Promise<void>
  release(): void
}

export function watch({
  engine,
  backbone,
  dataset,
  config,
  bank,
  test,
  out,
  diagnosisShare,
  onMessage,
}: WatchOptions): Watch {
  const { augmentation: recipe, seed, objective, onlineProbe } = config
  const wide = backbone.features > NARROW
  const how = { recipe, seed, objective, images: wide ? IMAGES_OF_WIDE : IMAGES, pairedImages: PAIRED_IMAGES }
  let diagnosing: Diagnosis | undefined
  const diagnosed = async (): Promise<Diagnosis> =>
    (diagnosing ??= await diagnosis(engine, backbone, dataset, { ...how, batch: BATCH }))

  const readOnline = async ({ step, epoch }: Moment): Promise<void> => {
    if (!onlineProbe || !test || !bank) return
    const found = await onlineKnn(engine, backbone, bank, test, { recipe, seed })
    if (out) appendLine(join(out, 'online.jsonl'), { step, epoch, ...found })
    onMessage?.(
      `epoch ${epoch}: kNN-${found.k} top-1 ${(100 * found.top1).toFixed(1)} % ` +
        `(${found.queries.toLocaleString('en')} test images among ${found.bank.toLocaleString('en')}, 1 clean view)`,
    )
  }

  let spent = 0
  let last = FIRST_SECONDS
  const diagnose = async ({ step, epoch }: Moment, trained: number): Promise<void> => {
    if (!out || dataset.count < 2 || !((spent + last) / trained <= diagnosisShare)) return
    const begun = performance.now()
    const { eigenvalues, warning, ...found } = await (await diagnosed()).read()
    const largest = eigenvalues.slice(0, EIGENVALUES).map((value) => Number(value.toPrecision(DIGITS)))
    appendLine(join(out, 'diagnostics.jsonl'), { step, epoch, ...found, eigenvalues: largest, warning })
    if (warning) onMessage?.(`epoch ${epoch}: ${warning}`)
    last = (performance.now() - begun) / 1000
    spent += last
  }

  return {
    async adapted(lambda) {
      const { alpha } = await (await diagnosed()).spectrum()
      return Math.fround(adaptLambda(lambda, alpha ?? NaN))
    },
    async atCheckpoint(moment, trained) {
      await readOnline(moment)
      await diagnose(moment, trained)
    },
    release: () => diagnosing?.release(),
  }
}
