/** Readouts during pretraining: a linear probe within the training step, and nearest neighbours at checkpoints. */
import {
  Purpose,
  RandomStream,
  adam,
  constant,
  crossEntropy,
  gradients,
  matmul,
  permutation,
  stopGradient,
  variable,
  type Assignment,
  type Collective,
  type Engine,
  type Value,
  type Variable,
} from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import { cleanRecipe, type AugmentationRecipe } from '../augment/recipe.js'
import type { ImageDataset } from '../data/dataset.js'
import { batchFor, featureExtractor } from './features.js'
import { classified, neighbourSearch } from './knn.js'
import { refuseUnlabelled } from './labelled_features.js'
import { LABEL_SMOOTHING, LEARNING_RATE, WEIGHT_DECAY } from './linear_probe.js'

/** Default numbers of training images to search and of test images to classify. */
const BANK = 5000
const QUERIES = 1000
const K = 20

export interface OnlineProbe {
  /** Weights, moments and step counter of the probe, which a checkpoint saves. */
  readonly state: readonly Variable[]
  /**
   * Adds the probe to a training step without changing that step.
   *
   * @param h features of the step, [rows, D]
   * @param labels [rows] u32; row view · B + b has the label of image b
   * @param reduce the gradients of a step of several ranks, from those of this rank
   * @returns updates for the program, and the logits [rows, classes] before the updates. `accuracies` compares these with
   *   the labels: an accuracy on augmented training views in training mode, for monitoring and not for reporting
   */
  attach(
    h: Value,
    labels: Value,
    reduce?: (gradients: readonly Value[]) => readonly Value[],
  ): { updates: Assignment[]; logits: Value }
}

/** A linear probe with the initial weights, optimiser and loss of `linearProbe`. It takes one step in each training step. */
export function onlineProbe({
  features,
  classes,
  seed,
}: {
  features: number
  classes: number
  seed: number
}): OnlineProbe {
  const bound = 1 / Math.sqrt(features)
  const stream = new RandomStream(seed, Purpose.readout)
  const drawn = Float32Array.from({ length: (features + 1) * classes }, () => stream.uniform(-bound, bound))
  const weight = variable('online_probe.weight', [features, classes], drawn.slice(0, features * classes))
  const bias = variable('online_probe.bias', [classes], drawn.slice(features * classes))
  const optimizer = adam([weight, bias], { weightDecay: WEIGHT_DECAY })
  return {
    state: [weight, bias, ...optimizer.state],
    attach(h, labels, reduce = (own) => own) {
      const logits = matmul(stopGradient(h), weight, { bias })
      const loss = crossEntropy(logits, labels, { labelSmoothing: LABEL_SMOOTHING })
      return { updates: optimizer.updates(reduce(gradients(loss, [weight, bias])), constant([LEARNING_RATE])), logits }
    },
  }
}

export interface OnlineKnn {
  /** Share of the test images whose prediction is their label, from one clean view each. */
  top1: number
  k: number
  /** Numbers of training images searched and of test images classified. */
  bank: number
  queries: number
  views: 1
}

/** Nearest neighbours that are read again and again, with programs that are recorded once. */
export interface OnlineNeighbours {
  /** Reads the present weights of the backbone. */
  read(): Promise<OnlineKnn>
  release(): void
}

export interface NeighboursOptions {
  recipe: AugmentationRecipe
  seed: number
  /** Most training images that are searched, and most test images that are classified. */
  bank?: number
  queries?: number
  /** The ranks that share the images. */
  collective?: Collective
}

/** Images per batch, at most: few, because their memory is held beside that of the training step. */
const BATCH = 64

/**
 * Nearest neighbours on fixed subsets that the seed chooses: a fast figure to monitor a run.
 *
 * @throws Error in one line if a set has no labels
 */
export async function onlineNeighbours(
  engine: Engine,
  backbone: Backbone,
  train: ImageDataset,
  test: ImageDataset,
  { recipe, seed, bank = BANK, queries = QUERIES, collective }: NeighboursOptions,
): Promise<OnlineNeighbours> {
  const held: { release(): void }[] = []
  const release = (): void => {
    for (const each of held.splice(0)) each.release()
  }
  const keep = <T extends { release(): void }>(each: T): T => {
    held.push(each)
    return each
  }
  const chosen = async (dataset: ImageDataset, most: number) => {
    refuseUnlabelled(dataset)
    const indices = permutation(seed, 0, dataset.count).subarray(0, most)
    const batch = Math.min(BATCH, batchFor(backbone, cleanRecipe(recipe).size), indices.length)
    const extractor = keep(await featureExtractor(engine, backbone, dataset, { recipe, batch, collective }))
    const labels = Uint32Array.from(indices, (i) => dataset.labels[i])
    return { labels, read: () => extractor.read({ seed, indices }) }
  }
  try {
    const [rows, wanted] = [await chosen(train, bank), await chosen(test, queries)]
    const [rowCount, queryCount] = [rows.labels.length, wanted.labels.length]
    const sizes = { rows: rowCount, queries: queryCount, width: backbone.features, k: K, collective }
    const neighbours = keep(await neighbourSearch(engine, sizes))
    const classes = Math.max(train.classes.length, test.classes.length)
    return {
      async read() {
        const found = await neighbours.search(await rows.read(), await wanted.read())
        const [{ top1 }] = classified(found, rows.labels, wanted.labels, { classes, ks: [K] })
        return { top1, k: K, bank: rowCount, queries: queryCount, views: 1 }
      },
      release,
    }
  } catch (error) {
    release()
    throw error
  }
}
