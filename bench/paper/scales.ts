/** What each scale runs: the paper's protocol, or as much of it as one consumer GPU or a processor can run. */
import type { PartialConfig } from '../../train/config/config.js'
import { recipeNames } from '../../train/recipes/index.js'
import type { ReadoutSpec } from '../runs/cached_runs.js'
import type { Dataset, Scale, Setup } from './experiment.js'

/** Names of recipes leave out the data set: `bt-d256-v4-half`. */
export interface Protocol {
  /** One line for readers. */
  summary: string
  /** Changes to the recipes. A fraction multiplies the recipe's fraction. */
  changes: PartialConfig
  /** Batch of the runs that vary the projector; the recipe's batch if absent. */
  projectorBatch?: number
  /** Batch of the runs that vary the views; the recipe's batch if absent. */
  viewsBatch?: number
  /** Recipes by projector width, the narrowest of each loss first. Each has a second recipe with the fixed λ. */
  projector: readonly string[]
  /** Families of recipes `-v2`, `-v4` and so on that vary the views, the main family first. */
  views: readonly string[]
  /** The recipe with two views and the widest projector. */
  baseline: string
  projectorReadout: ReadoutSpec
  viewsReadout: ReadoutSpec
  /**
   * The first seed. At `tiny` seeds 1 to 3 were the pilot from which the numbers of seeds follow, so they are not used
   * again.
   */
  firstSeed: number
  /**
   * Times come from steps that are measured in turn, not from the clocks of the runs. On a processor, other work would
   * slow some runs down and not others.
   */
  timedInTurn: boolean
  /**
   * Further changes for the comparison of shares of the images, which needs runs that lack images and not steps: two
   * views of all images have converged in the last third.
   */
  converged?: PartialConfig
  /** Accuracy in % to which `time-to` measures the time; absent if the paper has none. */
  target?: number
}

const whole: ReadoutSpec = { views: 1, seeds: 1, epochs: 200, knn: true }
const averaged: ReadoutSpec = { ...whole, views: 16 }
const part: ReadoutSpec = { views: 1, seeds: 1, epochs: 100, knn: true, trainPerClass: 500 }

const smaller: Record<Exclude<Scale, 'full'>, Protocol> = {
  tiny: {
    summary:
      'ResNet-18 of width 8, views of 16 px, 10,000 images of CIFAR-10 (20 %), 4 epochs, batch 128; readout with 5,000 labelled training images and all 10,000 test images',
    changes: {
      arch: 'resnet18',
      width: 8,
      zeroInitResidual: true,
      precision: 'f32',
      // The seed of a run chooses its images.
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
    firstSeed: 4,
    timedInTurn: true,
    converged: { fraction: 0.05, epochs: 60, checkpointEvery: 10, batch: 64 },
    target: 33,
  },
  small: {
    summary: 'ResNet-18 of width 64, CIFAR-10 at 32 px, 20 epochs, batch 256 (projector) and 128 (views)',
    changes: { arch: 'resnet18', zeroInitResidual: true, precision: 'f32', epochs: 20, checkpointEvery: 2 },
    projectorBatch: 256,
    viewsBatch: 128,
    projector: ['bt-d64', 'bt-d256', 'bt-d1024', 'vicreg-d64', 'vicreg-d256', 'vicreg-d1024'],
    views: ['bt-d256'],
    baseline: 'bt-d1024',
    projectorReadout: whole,
    viewsReadout: whole,
    firstSeed: 1,
    timedInTurn: false,
    target: 75,
  },
}

/** The paper's own protocol: all recipes of a data set, unchanged. */
const full: Record<Dataset, Pick<Protocol, 'summary' | 'views' | 'baseline' | 'viewsReadout' | 'target'>> = {
  cifar10: {
    summary: 'ResNet-50, CIFAR-10 at 32 px, 100 epochs, batch 512 (projector) and 128 (views): the paper’s protocol',
    views: ['bt-d256', 'bt-d8192', 'vicreg-d256'],
    baseline: 'bt-d8192-v2',
    viewsReadout: averaged,
    target: 80,
  },
  stl10: {
    summary:
      'ResNet-50, the unlabelled images of STL-10 at 64 px, 100 epochs, batch 400 (projector) and 100 (views): the paper’s protocol',
    views: ['bt-d256'],
    baseline: 'bt-d8192-v2',
    viewsReadout: averaged,
  },
  imagenet100: {
    summary:
      'ResNet-18, ImageNet-100 at 128 px, 100 epochs, batch 2 × 256 (projector) and 2 × 128 (views): the paper’s protocol',
    views: ['bt-d512'],
    baseline: 'bt-d8192-v2',
    viewsReadout: whole,
  },
}

/** The recipes that vary the projector width. */
const projectorRecipes = (dataset: Dataset): string[] =>
  recipeNames().flatMap((name) => new RegExp(`^${dataset}-((?:bt|vicreg)-d\\d+)$`).exec(name)?.slice(1) ?? [])

export const protocolOf = ({ scale, dataset }: Pick<Setup, 'scale' | 'dataset'>): Protocol =>
  scale === 'full'
    ? {
        ...full[dataset],
        changes: { fidelity: 'research-code' },
        projector: projectorRecipes(dataset),
        projectorReadout: whole,
        firstSeed: 1,
        timedInTurn: false,
      }
    : smaller[scale]
