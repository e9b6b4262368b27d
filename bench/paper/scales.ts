/** What each scale runs: the paper's protocol, and what of it one consumer GPU or a processor can do. */
import type { PartialConfig } from '../../train/config/config.js'
import { recipeNames } from '../../train/node/recipes.js'
import type { ReadoutSpec } from '../runs/runs.js'
import type { Dataset, Scale, Setup } from './experiment.js'

/** Recipes of the paper are named here without their data set: `bt-d256-v4-half`. */
export interface Protocol {
  /** In a line, for readers. */
  summary: string
  /** What is changed of the recipes; a fraction multiplies theirs. */
  changes: PartialConfig
  /** Images of a step where the projector is varied, and where views are; the recipes' own where absent. */
  projectorBatch?: number
  viewsBatch?: number
  /** Recipes by projector width, the narrowest of each loss first; each has another with the λ that all widths share. */
  projector: readonly string[]
  /** What views are varied of, the main one first: each has recipes `-v2`, `-v4` and so on. */
  views: readonly string[]
  /** The recipe of two views with the widest projector. */
  baseline: string
  projectorReadout: ReadoutSpec
  viewsReadout: ReadoutSpec
  /** Accuracy that `time-to` waits for, in %, where the paper has one. */
  target?: number
}

const whole: ReadoutSpec = { views: 1, seeds: 1, epochs: 200, knn: true }
const averaged: ReadoutSpec = { ...whole, views: 16 }
const part: ReadoutSpec = { views: 1, seeds: 1, epochs: 100, knn: true, trainPerClass: 500, testPerClass: 500 }

const smaller: Record<Exclude<Scale, 'full'>, Protocol> = {
  tiny: {
    summary:
      'ResNet-18 of width 8, views of 16 px, 10,000 images of CIFAR-10 (20 %), 4 epochs of batches of 128; read with 5,000 labelled training and 5,000 test images',
    changes: {
      arch: 'resnet18',
      width: 8,
      zeroInitResidual: true,
      precision: 'f32',
      // The run's seed chooses the images that are left.
      fraction: 0.2,
      epochs: 4,
      checkpointEvery: 1,
      augmentation: { size: 16 },
    },
    projectorBatch: 128,
    viewsBatch: 128,
    projector: ['bt-d64', 'bt-d256', 'bt-d1024', 'vicreg-d64', 'vicreg-d1024'],
    views: ['bt-d256'],
    baseline: 'bt-d1024',
    projectorReadout: part,
    viewsReadout: part,
    target: 33,
  },
  small: {
    summary: 'ResNet-18 of width 64, CIFAR-10 at 32 px, 20 epochs of batches of 256 (projector) and 128 (views)',
    changes: { arch: 'resnet18', zeroInitResidual: true, precision: 'f32', epochs: 20, checkpointEvery: 2 },
    projectorBatch: 256,
    viewsBatch: 128,
    projector: ['bt-d64', 'bt-d256', 'bt-d1024', 'vicreg-d64', 'vicreg-d256', 'vicreg-d1024'],
    views: ['bt-d256'],
    baseline: 'bt-d1024',
    projectorReadout: whole,
    viewsReadout: whole,
    target: 75,
  },
}

/** The paper's own: all of a data set's recipes as they stand. */
const full: Record<Dataset, Omit<Protocol, 'changes' | 'projector' | 'projectorReadout'>> = {
  cifar10: {
    summary: 'ResNet-50, CIFAR-10 at 32 px, 100 epochs of batches of 512 (projector) and 128 (views): the paper’s own',
    views: ['bt-d256', 'bt-d8192', 'vicreg-d256'],
    baseline: 'bt-d8192-v2',
    viewsReadout: averaged,
    target: 80,
  },
  stl10: {
    summary: 'ResNet-50, the unlabelled images of STL-10 at 64 px, 100 epochs of batches of 64: the paper’s own',
    views: ['bt-d256'],
    baseline: 'bt-d256-v2',
    viewsReadout: averaged,
  },
  imagenet100: {
    summary:
      'ResNet-18, ImageNet-100 at 128 px, 100 epochs of batches of 2 × 256 (projector) and 2 × 128 (views): the paper’s own',
    views: ['bt-d512'],
    baseline: 'bt-d512-v2',
    viewsReadout: whole,
  },
}

const byWidth = (dataset: Dataset): string[] =>
  recipeNames().flatMap((name) => new RegExp(`^${dataset}-([a-z]+-d\\d+)$`).exec(name)?.slice(1) ?? [])

export const protocolOf = ({ scale, dataset }: Pick<Setup, 'scale' | 'dataset'>): Protocol =>
  scale === 'full'
    ? { ...full[dataset], changes: {}, projector: byWidth(dataset), projectorReadout: whole }
    : smaller[scale]
