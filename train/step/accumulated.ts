/**
 * The training step over several micro-batches, whose gradients are averaged: a larger batch in the memory of a small
 * one.
 *
 * The objectives and batch-norm compare the images of a batch with each other. This is therefore not the step of one
 * large batch: every micro-batch has its own statistics, as every GPU has in the paper's runs on two GPUs.
 */
import {
  accumulate,
  gradientAccumulation,
  gradients,
  input,
  scale,
  sharedPeakBytes,
  variable,
  variantsOf,
  type Assignment,
  type BuildProgress,
  type Engine,
  type ProgramSpec,
  type Variable,
} from '../../engine/index.js'
import { ROW_FLOATS } from '../augment/draw.js'
import type { DeviceImages } from '../augment/views.js'
import type { Network } from './network.js'
import { accumulateByBucket, normalisesAcross, sharedStep, shareOfSeed } from './distributed.js'
import { forward, lossOf, rowViews } from './forward.js'
import { follow, stepOptimizer } from './optimizer.js'
import type { Loss, StepConfig, StepExtras, TrainingStep } from './training_step.js'
import { compileOrRelease, probe, readsNorm, stateOf } from './whole.js'

/** The two programs of a step, and the Variables through which the first passes its results to the second. */
export interface AccumulatedStep {
  /**
   * Inputs `rows` [rowViews · batch, ROW_FLOATS] and `index` [1] u32, the number of the micro-batch; 0 starts a new mean.
   */
  readonly micro: ProgramSpec
  /** Input `rate` [1] (with BYOL `targetRate` [1] too); outputs `loss` [1] and `parts`, the means, and with f16 `lossScale` [3]. */
  readonly update: ProgramSpec
  /** With several ranks: `update` computes the last micro-batch too, with the inputs of `micro`, so that its gradients leave while others are computed. */
  readonly lastIsUpdate: boolean
  readonly parts?: Loss['parts']
  readonly state: readonly Variable[]
  /** The means of the gradients, of the loss and of its parts. */
  readonly scratch: readonly Variable[]
}

export function describeAccumulatedStep(
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  extras: StepExtras = {},
): AccumulatedStep {
  const { views, batch, accumulate: count } = config
  const { parameters, seed, state, apply } = extras.optimizer ?? stepOptimizer(network, config)
  const averaged = gradientAccumulation(parameters, count)
  const index = input('index', [1], 'u32')
  const updates: Assignment[] = []
  const rows = input('rows', [rowViews(config) * batch, ROW_FLOATS])
  const across = normalisesAcross(config, extras)
  const { features, ...embeddings } = forward(images, network, config, rows, { views, updates, across })
  const { loss, parts } = lossOf(embeddings, config, extras)
  const meanLoss = variable('loss.mean', [1])
  const found = gradients(loss, parameters, averaged.seed(shareOfSeed(config, extras, seed)))
  const meanParts = parts && variable('parts.mean', parts.values.shape)
  const losses = accumulate([meanLoss], [scale(loss, 1 / count)], index)
  if (meanParts) losses.push(...accumulate([meanParts], [scale(parts.values, 1 / count)], index))
  const probing = probe(extras, features)
  const micro = { label: 'micro-batch', outputs: probing.outputs }
  const own = [...updates, ...losses, ...probing.updates]
  const rest = {
    state: [...state, ...stateOf(extras)],
    parts,
    scratch: [...averaged.mean, meanLoss, ...(meanParts ? [meanParts] : [])],
  }
  const rate = input('rate', [1])
  if (extras.collective) {
    const { updates: sums, buckets } = accumulateByBucket(averaged.mean, found, index)
    const [total, totalParts] = losses.map(({ value }) => value)
    const last = {
      gradients: sums.map(({ value }) => value),
      loss: total,
      parts: parts && { names: parts.names, values: totalParts },
      updates,
    }
    const shared = sharedStep(last, config, extras, buckets)
    const applied = apply(shared.gradients, rate)
    const all = [...shared.updates, ...applied.updates]
    return {
      ...rest,
      micro: { ...micro, updates: [...own, ...averaged.add(found, index)] },
      update: {
        label: 'last micro-batch and update',
        outputs: {
          ...probing.outputs,
          loss: scale(shared.loss, 1),
          ...(shared.parts && { parts: scale(shared.parts.values, 1) }),
          ...applied.outputs,
        },
        updates: [...all, ...follow(network, config, all), ...losses, ...sums, ...probing.updates],
      },
      lastIsUpdate: true,
    }
  }
  const applied = apply(averaged.mean, rate)
  return {
    ...rest,
    micro: { ...micro, updates: [...own, ...averaged.add(found, index)] },
    update: {
      label: 'update',
      outputs: { loss: scale(meanLoss, 1), ...(meanParts && { parts: scale(meanParts, 1) }), ...applied.outputs },
      updates: [...applied.updates, ...follow(network, config, applied.updates)],
    },
    lastIsUpdate: false,
  }
}

/** Records both programs, which share the memory of their activations. */
export async function compileAccumulatedStep(
  engine: Engine,
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  extras: StepExtras = {},
  onProgress?: BuildProgress,
): Promise<TrainingStep> {
  const described = describeAccumulatedStep(images, network, config, extras)
  const own = [...described.state, ...described.scratch]
  const programs = await compileOrRelease(engine, [described.micro, described.update], own, onProgress)
  const [micro, update] = programs
  const plans = programs.map(({ plan }) => plan)
  const { accumulate: count } = config
  const numbers = Array.from({ length: count }, (_, i) => Uint32Array.of(i))
  return {
    state: described.state,
    dispatches: (described.lastIsUpdate ? count - 1 : count) * micro.dispatches + update.dispatches,
    variants: variantsOf(plans),
    peakBytes: sharedPeakBytes(plans) + described.scratch.reduce((sum, { bytes }) => sum + bytes, 0),
    async run({ rows, labels, ...rates }) {
      const part = (index: Uint32Array) => ({
        ...{ rows: nth(rows, index[0], count), index },
        ...(labels && { labels: nth(labels, index[0], count) }),
      })
      for (const index of described.lastIsUpdate ? numbers.slice(0, -1) : numbers) await micro.run(part(index))
      await update.run({ ...rates, ...(described.lastIsUpdate && part(numbers[count - 1])) })
    },
    loss: () => update.read('loss'),
    ...(described.parts && { parts: { names: described.parts.names, read: () => update.read('parts') } }),
    ...(config.precision === 'f16' && { lossScale: () => update.read('lossScale') }),
    ...readsNorm(config, update),
    ...(extras.probe && { logits: () => (described.lastIsUpdate ? update : micro).read('logits') }),
    destroy() {
      for (const program of programs) program.destroy()
      for (const v of described.scratch) engine.release(v)
    },
  }
}

/** Part `i` of an array that is cut into `parts` equal parts. */
export function nth<A extends Float32Array | Uint32Array>(array: A, i: number, parts: number): A {
  const length = array.length / parts
  return array.subarray(i * length, (i + 1) * length) as A
}
