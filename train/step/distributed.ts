/**
 * What changes in a training step when several ranks share it. Each rank takes an equal share of the images of every
 * batch and has a copy of the network. The fourth way to record a step, it combines with the others: whole, chunked and
 * accumulated steps call the functions of this file where ranks exchange something.
 *
 *   forward    with `bnStatistics` global, batch-norm adds the statistics of all ranks
 *   loss       `lossStatistics` rank: the loss of this rank's images; the step's loss is the mean over the ranks.
 *              global: the loss of all images. Objectives that add d×d products add them over the ranks where d is at
 *              most the batch; for all others every rank gathers all embeddings, which are then fewer numbers.
 *   gradients  leave the device in buckets, in the order in which the backward pass finishes them, and are summed over
 *              the ranks while the backward pass goes on
 *   update     every rank applies the same sums, so that all copies of the network stay equal bit for bit
 *
 * With global statistics, N ranks take the step that one rank takes with the whole batch, up to rounding. Li et al. 2020
 * describe the buckets, https://arxiv.org/abs/2006.15704.
 */
import {
  accumulate,
  constant,
  gatheredRows,
  scale,
  summed,
  type Assignment,
  type Collective,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { ConfigError } from '../config/config_error.js'
import type { Embeddings, Objective } from '../objectives/index.js'
import type { Loss, StepConfig, StepExtras } from './training_step.js'

/** Bytes of gradients that are summed together: enough for the full speed of a network, few enough to begin early. */
export const BUCKET_BYTES = 4 * 2 ** 20

/**
 * The configuration of one rank, whose batch is its share of the whole batch.
 *
 * @throws ConfigError unless the shares are equal, or if a step has a second gradient
 */
export function configOfRank<C extends Pick<StepConfig, 'batch' | 'lossStatistics' | 'secondGradient'>>(
  config: C,
  ranks = 1,
): C {
  const { batch, lossStatistics, secondGradient } = config
  if (ranks === 1) return config
  if (secondGradient !== undefined)
    throw new ConfigError(`\`secondGradient\` ${secondGradient}: is for one rank: leave it out`)
  const share = batch / ranks
  const least = lossStatistics === 'rank' ? 2 : 1
  if (!Number.isInteger(share) || share < least) {
    const below = Math.floor(batch / ranks) * ranks
    const fitting = [below, below + ranks].filter((b) => b >= least * ranks && b !== batch)
    throw new ConfigError(
      `\`batch\` ${batch}: must be a multiple of the number of ranks, ${ranks}${share < least ? `, with at least ${least} images for each` : ''}: use \`batch\` ${fitting.length ? fitting.join(' or ') : least * ranks}`,
    )
  }
  return { ...config, batch: share }
}

/** The ranks that add their statistics in batch-norm; undefined where each has its own. */
export const normalisesAcross = ({ bnStatistics }: StepConfig, { collective }: StepExtras): Collective | undefined =>
  bnStatistics === 'global' ? collective : undefined

/** What the loss is computed of. */
export interface LossInputs {
  embeddings: Embeddings
  /** The ranks whose sums the objective adds. */
  across?: Collective
}

/** The embeddings that a rank's loss takes: its own, or those of all ranks. */
export function lossInputs(
  embeddings: Embeddings,
  { lossStatistics, batch, views }: StepConfig,
  { collective }: StepExtras,
  { adds }: Objective,
): LossInputs {
  if (!collective || lossStatistics === 'rank') return { embeddings }
  if (adds && embeddings.projection.shape[1] <= batch * collective.size) return { embeddings, across: collective }
  const gather = (z: Value): Value => gatheredRows(z, views, collective)
  const { projection, clean, prediction, target } = embeddings
  // A predictor's objective compares its output with the targets alone.
  return {
    embeddings: prediction
      ? { projection, prediction: gather(prediction), target: target && gather(target) }
      : { projection: gather(projection), ...(clean && { clean: gatheredRows(clean, 1, collective) }) },
  }
}

/** The seed for the gradients of a rank's loss, such that their sum over the ranks is that of the step's loss. */
export function shareOfSeed(
  { lossStatistics }: StepConfig,
  { collective }: StepExtras,
  seed?: Value,
): Value | undefined {
  if (!collective || lossStatistics === 'global') return seed
  return seed ? scale(seed, 1 / collective.size) : constant([1 / collective.size])
}

/** Gradients that are summed together: their indices in a list, ascending. */
export type Bucket = readonly number[]

/**
 * Cuts gradients into buckets of about `BUCKET_BYTES`.
 *
 * @returns the buckets in the order in which the backward pass finishes them
 */
export function bucketsOf(gradients: readonly Value[], most = BUCKET_BYTES): Bucket[] {
  // Later nodes of the backward pass have larger ids.
  const finished = gradients.map((_, i) => i).sort((a, b) => gradients[a].node.id - gradients[b].node.id || a - b)
  const buckets: number[][] = []
  let bytes = Infinity
  for (const i of finished) {
    if (bytes >= most) {
      buckets.push([])
      bytes = 0
    }
    buckets[buckets.length - 1].push(i)
    bytes += gradients[i].bytes
  }
  return buckets.map((bucket) => bucket.sort((a, b) => a - b))
}

/** The means of values over the ranks, in one exchange. */
export const meansOverRanks = (own: readonly Value[], collective: Collective): Value[] =>
  summed(
    own.map((value) => scale(value, 1 / collective.size)),
    collective,
  )

/** What a rank has found in a step. */
export interface Found extends Loss {
  readonly gradients: readonly Value[]
  /** The running statistics. */
  readonly updates: readonly Assignment[]
}

/**
 * What all ranks have found in a step: the sums of their gradients, and the means of what differs between them (losses
 * and running statistics, unless these have global statistics). Without other ranks it is what this rank has found.
 *
 * @param buckets of the gradients; by default as the backward pass finishes them
 */
export function sharedStep(
  found: Found,
  config: StepConfig,
  { collective }: StepExtras,
  buckets: readonly Bucket[] = bucketsOf(found.gradients),
): Found {
  if (!collective) return found
  const losses = config.lossStatistics === 'rank' ? [found.loss, ...(found.parts ? [found.parts.values] : [])] : []
  const statistics = config.bnStatistics === 'rank' ? found.updates : []
  const shares = [...losses, ...statistics.map(({ value }) => value)].map((value) => scale(value, 1 / collective.size))
  const gradients = new Array<Value>(found.gradients.length)
  const means: Value[] = []
  buckets.forEach((bucket, k) => {
    // The last bucket leaves at the end of the backward pass, and takes the rest along.
    const rest = k === buckets.length - 1 ? shares : []
    const sums = summed([...bucket.map((i) => found.gradients[i]), ...rest], collective)
    bucket.forEach((i, at) => (gradients[i] = sums[at]))
    means.push(...sums.slice(bucket.length))
  })
  const [loss = found.loss, parts] = means.splice(0, losses.length)
  return {
    gradients,
    loss,
    parts: found.parts && { names: found.parts.names, values: parts ?? found.parts.values },
    updates: statistics.length ? statistics.map(({ variable }, i) => ({ variable, value: means[i] })) : found.updates,
  }
}

/**
 * Adds the gradients of the last part of a step to the sums of the earlier parts, bucket by bucket, so that each bucket
 * can leave at once.
 *
 * @returns the updates of the sums in the order of the gradients, and the buckets
 */
export function accumulateByBucket(
  sums: readonly Variable[],
  gradients: readonly Value[],
  index: Value,
): { updates: Assignment[]; buckets: Bucket[] } {
  const updates = new Array<Assignment>(sums.length)
  const buckets = bucketsOf(gradients)
  for (const bucket of buckets) {
    const added = accumulate(
      bucket.map((i) => sums[i]),
      bucket.map((i) => gradients[i]),
      index,
      { early: true },
    )
    bucket.forEach((i, at) => (updates[i] = added[at]))
  }
  return { updates, buckets }
}
