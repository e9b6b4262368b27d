/** The tables that `npm run probe` prints. */
import type { Diagnostics } from '../diagnostics/diagnose.js'
import type { CorruptedAccuracy } from '../readout/corrupted.js'
import type { Accuracies, Readout } from '../readout/readout.js'
import { alignedTable, describeViews, formatCount, percentWithError } from '../report/text.js'
import { asCommandLine } from './common.js'

/** What one backbone's readouts give. */
export interface Figures extends Omit<Readout, 'knn'> {
  knn20: Accuracies
  knn200: Accuracies
  diagnostics: Diagnostics
  /** The linear probe on corrupted test images. */
  corrupted?: CorruptedAccuracy[]
  /** After fine-tuning, read with one clean view. */
  tuned?: Accuracies
}

export interface Row {
  name: string
  figures: Figures
}

/** The accuracies as a table that fits 80 columns, followed by how they were read and what ± means. */
export function accuracyTable(rows: readonly Row[]): string {
  const tuning = rows.some(({ figures }) => figures.tuned)
  const methods: (readonly [name: string, of: (figures: Figures) => Accuracies | undefined])[] = [
    ['linear', ({ linear }) => linear],
    ['kNN-20', ({ knn20 }) => knn20],
    ['kNN-200', ({ knn200 }) => knn200],
    ...(tuning ? [['fine-tuned', ({ tuned }: Figures) => tuned] as const] : []),
  ]
  const cell = (read: Accuracies | undefined, top: 1 | 5): string =>
    !read
      ? '–'
      : top === 1
        ? percentWithError(read.top1, read.standardError, 2)
        : percentWithError(read.top5, read.top5StandardError, 2)
  // With at most five classes top-5 is always 100 %.
  const tops = rows.every(({ figures }) => methods.every(([, of]) => (of(figures)?.top5 ?? 1) === 1))
    ? ([1] as const)
    : ([1, 5] as const)
  const lines = alignedTable([
    ['', ...rows.map(({ name }) => name)],
    ...methods.flatMap(([name, of]) =>
      tops.map((top) => [`${name} top-${top}`, ...rows.map(({ figures }) => cell(of(figures), top))]),
    ),
  ])
  const { views, linear } = rows[0].figures
  const seeds = linear.perSeed.length
  const overSeeds = rows.map((r) => (100 * (r.figures.linear.seedStandardError ?? 0)).toFixed(2)).join(' and ')
  return [
    ...lines,
    `Read with ${describeViews(views)} per image${tuning ? ', fine-tuned with 1 clean view' : ''}. ` +
      `± is one standard error over the test images` +
      (seeds > 1 ? `; the standard error of linear top-1 over the ${seeds} probe seeds is ${overSeeds} points.` : '.'),
  ].join('\n')
}

/** The linear probe on corrupted test images as a table, with the mean over the corruptions. */
export function corruptedTable(rows: readonly Row[], severity: number): string {
  const percent = (share: number): string => `${(100 * share).toFixed(2)} %`
  const lists = rows.map(({ figures }) => figures.corrupted ?? [])
  const means = lists.map((list) => list.reduce((sum, { top1 }) => sum + top1, 0) / list.length)
  const lines = alignedTable([
    ['linear top-1', ...rows.map(({ name }) => name)],
    ...lists[0].map(({ corruption }, i) => [corruption, ...lists.map((list) => percent(list[i].top1))]),
    ['mean', ...means.map(percent)],
  ])
  return [...lines, `On corrupted test images, severity ${severity}, read with 1 clean view each.`].join('\n')
}

/** Spectrum and geometry of the features as a table, followed by the images that they were read from. */
export function diagnosticsTable(rows: readonly Row[], width: number): string {
  const lines = alignedTable([
    ['', 'spectrum α', 'effective rank', 'RankMe', 'LiDAR', 'alignment', 'uniformity'],
    ...rows.map(({ name, figures: { diagnostics: d } }) => [
      name,
      d.alpha?.toFixed(3) ?? '–',
      `${d.effectiveRank.toFixed(1)} of ${width}`,
      d.rankMe?.toFixed(1) ?? '–',
      d.lidar?.toFixed(1) ?? '–',
      d.alignment.toFixed(4),
      d.uniformity.toFixed(3),
    ]),
  ])
  const { images } = rows[0].figures.diagnostics
  const warnings = rows.flatMap(({ name, figures: { diagnostics } }) =>
    diagnostics.warning ? [`Warning, ${name}: ${asCommandLine(diagnostics.warning)}`] : [],
  )
  return [
    ...lines,
    `From the features of ${formatCount(images)} test images with 1 clean view each; alignment and LiDAR from 2 random views each.`,
    ...warnings,
  ].join('\n')
}
