/** What each scale runs: the paper's protocol, and what of it one consumer GPU or a processor can do. */
import { ConfigError, type PartialConfig } from '../../train/config.js'
import type { ReadoutSpec } from '../runs.js'
import type { Scale } from './experiment.js'

export interface Protocol {
  /** In a line, for readers. */
  summary: string
  base: PartialConfig
  /** Images of a step where the projector is varied, and where views are. */
  projectorBatch: number
  viewsBatch: number
  /** Projector widths that are compared, ascending, as far as the paper has a λ; VICReg's where they are fewer. */
  widths: readonly number[]
  vicregWidths?: readonly number[]
  /** Views that are compared. */
  views: readonly number[]
  /** Projector width where views are compared. */
  viewsWidth: number
  projectorReadout: ReadoutSpec
  viewsReadout: ReadoutSpec
  /** Accuracy that `time-to` waits for, in %. */
  target: number
}

const whole: ReadoutSpec = { views: 1, seeds: 1, epochs: 200, knn: true }
const part: ReadoutSpec = { views: 1, seeds: 1, epochs: 100, knn: true, trainPerClass: 500, testPerClass: 500 }

export const protocols: Record<Scale, Protocol> = {
  tiny: {
    summary:
      'ResNet-18 of width 8, views of 16 px, 10,000 images of CIFAR-10 (20 %), 4 epochs of batches of 128; read with 5,000 labelled training and 5,000 test images',
    // The run's seed chooses the images that are left.
    base: { arch: 'resnet18', width: 8, fraction: 0.2, epochs: 4, checkpointEvery: 1, augmentation: { size: 16 } },
    projectorBatch: 128,
    viewsBatch: 128,
    widths: [64, 256, 1024],
    vicregWidths: [64, 1024],
    views: [2, 4, 8],
    viewsWidth: 256,
    projectorReadout: part,
    viewsReadout: part,
    target: 33,
  },
  small: {
    summary: 'ResNet-18 of width 64, CIFAR-10 at 32 px, 20 epochs of batches of 256 (projector) and 128 (views)',
    base: { arch: 'resnet18', width: 64, epochs: 20, checkpointEvery: 2 },
    projectorBatch: 256,
    viewsBatch: 128,
    widths: [64, 256, 1024],
    views: [2, 4, 8],
    viewsWidth: 256,
    projectorReadout: whole,
    viewsReadout: whole,
    target: 75,
  },
  full: {
    summary: 'ResNet-50, CIFAR-10 at 32 px, 100 epochs of batches of 512 (projector) and 128 (views): the paper’s own',
    base: { arch: 'resnet50', width: 64, epochs: 100, checkpointEvery: 5, precision: 'f16', zeroInitResidual: false },
    projectorBatch: 512,
    viewsBatch: 128,
    widths: [64, 128, 256, 512, 768, 1024, 1536, 2048, 2304, 2560, 3072, 4096, 6144, 8192],
    views: [2, 4, 8],
    viewsWidth: 256,
    projectorReadout: whole,
    viewsReadout: { ...whole, views: 16 },
    target: 80,
  },
}

/** The paper's λ by projector width, CIFAR-10, two views. */
const barlowTwins: Record<number, number> = {
  64: 0.04,
  128: 0.04,
  256: 0.02,
  512: 0.01,
  768: 0.002,
  1024: 0.002,
  1536: 0.001,
  2048: 0.001,
  2304: 0.001,
  2560: 0.0008,
  3072: 0.001,
  4096: 0.0004,
  6144: 0.001,
  8192: 0.0008,
}
const vicreg: Record<number, number> = { 64: 20, 128: 20, 256: 25, 512: 25, 1024: 25, 2048: 75, 4096: 200, 8192: 800 }

export type Loss = 'barlow-twins' | 'vicreg'

/** λ of each loss by width, and the one that the paper's baseline keeps for every width. */
export const lambdas: Record<Loss, { best: Record<number, number>; fixed: number }> = {
  'barlow-twins': { best: barlowTwins, fixed: 0.0004 },
  vicreg: { best: vicreg, fixed: 750 },
}

/** The paper's λ of Barlow Twins by views, data fraction (of what two views see) and width; two views otherwise. */
const byViews: Record<number, Record<string, number>> = {
  256: { '2@1': 0.02, '4@1': 0.01, '8@1': 0.01, '4@0.5': 0.01, '8@0.25': 0.006 },
  8192: { '2@1': 0.0008, '4@1': 0.0004, '8@1': 0.0004, '4@0.5': 0.0008, '8@0.25': 0.0004 },
}

/** @throws ConfigError where the paper has none */
export function lambdaOf(width: number, views: number, share: number): number {
  const found = byViews[width]?.[`${views}@${share}`] ?? (views === 2 && share === 1 ? barlowTwins[width] : undefined)
  if (found === undefined)
    throw new ConfigError(`the paper has no λ for ${views} views on ${100 * share} % of the data at d = ${width}`)
  return found
}
