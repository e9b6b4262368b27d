/** The results of the quickstart: the contents of its summary.json, and the sentences and tables made from them. */
import type { Bar } from './plots.js'
import { alignedTable, duration, formatCount, percent, percentWithError } from './text.js'

/** Shares of the test images in [0, 1]. */
export interface Accuracy {
  top1: number
  /** Standard error over the test images: √(p (1 − p) / N). */
  standardError: number
  /** Standard error over the probe seeds: standard deviation / √seeds. Absent with one seed. */
  seedStandardError?: number
}

/** A network that was probed: pretrained or untrained. */
export interface Arm {
  name: string
  /** Absent for the untrained network. */
  training?: {
    views: number
    batch: number
    steps: number
    /** Wall-clock seconds of the steps, without compilation. */
    seconds: number
    viewsPerSecond: number
    /** The loss of each step, and its time in seconds from the first. */
    losses: number[]
    times: number[]
    /** Folder of the run. */
    folder: string
  }
  linear?: Accuracy
  knn20?: Accuracy
}

export interface QuickstartSummary {
  /** Start, ISO 8601. */
  date: string
  adapter: { kind: string; description: string }
  /** Seconds of the whole quickstart. */
  seconds: number
  dataset: { name: string; count: number; classes: string[] }
  network: {
    arch: string
    width: number
    parameters: number
    features: number
    imageSize: number
    projectorDim: number
    lambda: number
    lr: number
    weightDecay: number
    seed: number
  }
  /** How accuracies were read: numbers of images, views averaged per image, seeds of the probes. */
  readout: { trainCount: number; testCount: number; views: number; seeds: number[] }
  arms: Arm[]
}

/** `37.5 ± 1.1 %`, or a dash without accuracy. */
export const withError = (accuracy: Accuracy | undefined): string =>
  accuracy ? percentWithError(accuracy.top1, accuracy.standardError) : '–'

const points = (gain: number): string => (100 * Math.abs(gain)).toFixed(1)

/** One or two sentences: what pretraining gained, and whether more views gained more than noise. */
export function findings({ arms }: QuickstartSummary): string {
  const untrained = arms.find(({ training, linear }) => !training && linear)?.linear
  const trained = arms.filter(({ training, linear }) => training && linear)
  if (!untrained || trained.length === 0) return ''
  const best = trained.reduce((a, b) => (b.linear!.top1 > a.linear!.top1 ? b : a))
  const gain = best.linear!.top1 - untrained.top1
  const first =
    `The linear probe reaches ${percent(best.linear!.top1)} on the features of ${best.name}, ` +
    `${points(gain)} points ${gain < 0 ? 'below' : 'above'} the same network untrained.`
  if (trained.length < 2) return first
  const [few, many] = [...trained].sort((a, b) => a.training!.views - b.training!.views)
  const difference = many.linear!.top1 - few.linear!.top1
  const error = Math.hypot(many.linear!.standardError, few.linear!.standardError)
  const verdict =
    Math.abs(difference) > 2 * error
      ? 'more than two standard errors'
      : 'within two standard errors, so more steps are needed to tell'
  return (
    `${first} At equal compute ${many.name} are ${points(difference)} points ${difference < 0 ? 'behind' : 'ahead of'} ${few.name}: ` +
    `${verdict}.`
  )
}

/** The accuracies as bars, grouped by linear probe and kNN. */
export const bars = ({ arms }: QuickstartSummary): Bar[] =>
  (['linear', 'knn20'] as const).flatMap((kind) =>
    arms.flatMap(({ name, [kind]: accuracy }) =>
      accuracy
        ? [
            {
              group: kind === 'linear' ? 'linear probe' : 'kNN, k = 20',
              name,
              value: accuracy.top1,
              error: accuracy.standardError,
            },
          ]
        : [],
    ),
  )

/** The accuracies as a table for a terminal. */
export function terminalTable(summary: QuickstartSummary): string {
  const rows = [
    ['', 'linear probe', 'kNN-20', 'images × views', 'steps', 'time'],
    ...summary.arms.map(({ name, training: t, linear, knn20 }) => [
      name,
      withError(linear),
      withError(knn20),
      t ? `${t.batch} × ${t.views}` : '–',
      t ? formatCount(t.steps) : '–',
      t ? duration(t.seconds) : '–',
    ]),
  ]
  return alignedTable(rows).join('\n')
}
