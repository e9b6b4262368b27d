/** What a run reads at its checkpoints: kNN accuracy and the spectrum of the features, which also adapts λ. */
import type { Collective, Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import { adaptLambda } from '../diagnostics/adaptive_lambda.js'
import { diagnosis, type Diagnosis } from '../diagnostics/diagnose.js'
import { onlineNeighbours, type OnlineNeighbours } from '../readout/online.js'
import { appendLine, readLines } from './metrics.js'
import type { RunStore } from './store.js'

/** Features up to this width are diagnosed on more images: the eigenvalues of wider features take long. */
const NARROW = 512
const IMAGES = 1024
const IMAGES_OF_WIDE = 512
/** The number of these images that are compared pair by pair. */
const PAIRED_IMAGES = 256
/** Images per batch: few, because their memory is held in addition to the step's. */
const BATCH = 64
/** Assumed time of the first diagnosis, which includes compilation. */
const FIRST_SECONDS = 1
/** The number of eigenvalues that are recorded: those that the exponent is fitted to. */
const EIGENVALUES = 100
const DIGITS = 6

export interface ReadingOptions {
  engine: Engine
  backbone: Backbone
  dataset: ImageDataset
  config: PretrainConfig
  /** With `onlineProbe`: the labelled images that neighbours are searched among, and the images that they classify. */
  bank?: ImageDataset
  test?: ImageDataset
  /** Where lines are written. */
  out?: RunStore
  /** The ranks that share the reading of features. */
  collective?: Collective
  /** Share of the training time that diagnoses may take. */
  diagnosisShare: number
  onMessage?(line: string): void
}

/** Where a run stands. */
export interface Moment {
  step: number
  epoch: number
}

export interface CheckpointReadings {
  /** λ for the next epoch, from the spectrum of clean views. */
  adaptedLambda(lambda: number): Promise<number>
  /** @param trained training time of this call in seconds; a diagnosis that would take too large a share is skipped */
  atCheckpoint(moment: Moment, trained: number): Promise<void>
  /** Whether a checkpoint was saved, but not read: the process was killed in between. */
  areMissing(moment: Moment): Promise<boolean>
  release(): void
}

export function checkpointReadings({
  engine,
  backbone,
  dataset,
  config,
  bank,
  test,
  out,
  collective,
  diagnosisShare,
  onMessage,
}: ReadingOptions): CheckpointReadings {
  const { augmentation: recipe, seed, objective, onlineProbe } = config
  const wide = backbone.features > NARROW
  const images = wide ? IMAGES_OF_WIDE : IMAGES
  const options = { recipe, seed, objective, images, pairedImages: PAIRED_IMAGES, batch: BATCH }
  let recorded: Diagnosis | undefined
  const recordedDiagnosis = async (): Promise<Diagnosis> =>
    (recorded ??= await diagnosis(engine, backbone, dataset, options))

  let neighbours: OnlineNeighbours | undefined
  const readOnline = async ({ step, epoch }: Moment): Promise<void> => {
    if (!onlineProbe || !test || !bank) return
    neighbours ??= await onlineNeighbours(engine, backbone, bank, test, { recipe, seed, collective })
    const found = await neighbours.read()
    if (out) await appendLine(out, 'online.jsonl', { step, epoch, ...found })
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
    const { eigenvalues, warning, ...found } = await (await recordedDiagnosis()).read()
    const largest = eigenvalues.slice(0, EIGENVALUES).map((value) => Number(value.toPrecision(DIGITS)))
    await appendLine(out, 'diagnostics.jsonl', { step, epoch, ...found, eigenvalues: largest, warning })
    if (warning) onMessage?.(`epoch ${epoch}: ${warning}`)
    last = (performance.now() - begun) / 1000
    spent += last
  }

  return {
    async adaptedLambda(lambda) {
      const { alpha } = await (await recordedDiagnosis()).spectrum()
      return Math.fround(adaptLambda(lambda, alpha ?? NaN))
    },
    async atCheckpoint(moment, trained) {
      await readOnline(moment)
      await diagnose(moment, trained)
    },
    async areMissing({ step }) {
      if (!out || !onlineProbe || !test || !bank) return false
      return !(await readLines(out, 'online.jsonl')).some((line) => line.step === step)
    },
    release() {
      recorded?.release()
      neighbours?.release()
    },
  }
}
