/** The forward pass: from drawn rows to the loss of the objective. */
import {
  add,
  cast,
  placeRows,
  scale,
  sliceRows,
  type Assignment,
  type Collective,
  type Value,
} from '../../engine/index.js'
import { gateBudget, type Mode } from '../../models/index.js'
import { augmentCrops, type DeviceImages } from '../augment/views.js'
import { cropGroups } from '../augment/recipe.js'
import { objectiveOptions, takesClean } from '../config/config.js'
import { objectives, type Embeddings, type LossParts } from '../objectives/index.js'
import { lossInputs } from './distributed.js'
import type { Network } from './network.js'
import type { Loss, StepConfig, StepExtras } from './training_step.js'

export interface ForwardOptions {
  /** The number of views among the rows, without the clean view. */
  views: number
  /** Collects the updates of the running statistics; without it they are not updated. */
  updates?: Assignment[]
  /** The ranks whose rows share the statistics of batch-norm. */
  across?: Collective
}

/**
 * Makes views and sends them through the network.
 *
 * If views have several sizes, the backbone takes one size after another, with batch statistics over the rows of that
 * size. Its running statistics come from the largest size. The projector takes all views together.
 *
 * If the objective takes the clean image, it goes through the network as one more view, after the others.
 *
 * @param rows [rowViews(config) · B, ROW_FLOATS]
 * @returns the features of all rows, view-major, the embeddings that the objective takes, and with `gateBudget` the gates
 */
export function forward(
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  rows: Value,
  { views, updates, across }: ForwardOptions,
): Embeddings & { features: Value; gates: Value[] } {
  const { bn, precision, augmentation } = config
  const gates: Value[] = []
  const mode = (of: number, collect?: Assignment[]): Mode => ({
    training: true,
    groups: bn === 'per-view' ? of : 1,
    updates: collect,
    across,
  })
  // Ops on f16 values store their results in f16.
  const clean = takesClean(config)
  const all = views + Number(clean)
  const made = augmentCrops(images, rows, augmentation, views, clean)
  const sizes = made.map((x) => (precision === 'f16' ? cast(x, 'f16') : x))
  const counts = cropGroups(augmentation, views, clean).map((group) => group.views)
  // The running statistics come from the largest size: it is the closest to what eval mode reads.
  const largest = sizes.reduce((best, { shape }, i) => (shape[1] > sizes[best].shape[1] ? i : best), 0)
  const embed = ({ backbone, projector }: Pick<Network, 'backbone' | 'projector'>, collect?: Assignment[]) => {
    const features = concatenated(
      sizes.flatMap((x, i) => {
        const updating = i === largest ? collect : undefined
        if (config.gateBudget === undefined) return [backbone.forward(x, mode(counts[i], updating))]
        // The first half of the views goes through the dense network, the others go through the sparse one.
        const dense = Math.ceil(counts[i] / 2)
        const view = x.shape[0] / counts[i]
        const some = (first: number, count: number): Value => sliceRows(x, first * view, count * view)
        return [
          backbone.forward(some(0, dense), mode(dense, updating)),
          ...(dense < counts[i]
            ? [backbone.forward(some(dense, counts[i] - dense), { ...mode(counts[i] - dense), gates })]
            : []),
        ]
      }),
    )
    return { features, projection: projector.forward(features, mode(all, collect)) }
  }
  const { features, projection } = embed(network, updates)
  const batch = rows.shape[0] / all
  return {
    features,
    gates,
    projection: clean ? sliceRows(projection, 0, views * batch) : projection,
    ...(clean && { clean: sliceRows(projection, views * batch, batch) }),
    prediction: network.predictor?.forward(projection, mode(views, updates)),
    // The target network never runs in eval mode, so its running statistics are not updated.
    target: network.target && embed(network.target).projection,
  }
}

/** The views of an image that a step has rows for: with the clean view, where the objective takes it. */
export const rowViews = (config: StepConfig): number => config.views + Number(takesClean(config))

/** Weight of the term that holds the gates at their budget: a deviation of 0.1 costs 1. */
const GATE_WEIGHT = 100

/**
 * The loss of a configuration's objective: of this rank's images, or with `lossStatistics` global of all images. With
 * gates, their budget is one more part.
 */
export function lossOf(own: Embeddings & { gates?: Value[] }, config: StepConfig, extras: StepExtras): Loss {
  const { lambda } = extras
  const objective = objectives[config.objective]
  const { build, changing } = objective
  const { embeddings, across } = lossInputs(own, config, extras, objective)
  const options = objectiveOptions(config)
  const parts: LossParts = {}
  const changed = lambda && changing ? { ...options, [changing]: lambda } : options
  const objectiveLoss = build(embeddings, config.views, changed, parts, { across })
  const budget =
    own.gates?.length && config.gateBudget !== undefined
      ? scale(gateBudget(own.gates, config.gateBudget), GATE_WEIGHT)
      : undefined
  const loss = budget ? add(objectiveLoss, budget) : objectiveLoss
  if (budget && Object.keys(parts).length > 0) parts.gates = budget
  const names = Object.keys(parts)
  return { loss, ...(names.length > 0 && { parts: { names, values: concatenated(Object.values(parts)) } }) }
}

/** Tensors one after another along the first dimension. */
function concatenated(parts: readonly Value[]): Value {
  const rows = parts.reduce((sum, { shape }) => sum + shape[0], 0)
  let start = 0
  return parts
    .map((part) => {
      const placed = parts.length > 1 ? placeRows(part, rows, start) : part
      start += part.shape[0]
      return placed
    })
    .reduce(add)
}
