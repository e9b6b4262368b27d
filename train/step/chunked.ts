/**
 * The exact training step in chunks of views. Memory holds the activations of one chunk, whatever the number of views;
 * only embeddings and rows grow with that number.
 *
 *   1. forward    for each chunk: draw its views, compute and keep their embeddings z, update running statistics
 *   2. loss       L(z) and ∂L/∂z of the embeddings of all views
 *   3. backward   for each chunk: repeat its views and its forward pass, add (∂L/∂z)ᵀ ∂z/∂w to the gradients
 *   4. update     the optimiser, with the summed gradients
 *
 * This is exact because per-view batch-norm makes a view's embeddings independent of other views. A step costs one more
 * forward pass. Gao et al. 2021, https://arxiv.org/abs/2101.06983, split contrastive batches in the same way.
 *
 * With `accumulate`, 1 to 3 run for each micro-batch, and the update takes the mean of their gradients.
 */
import {
  accumulate,
  assign,
  backward,
  gradientAccumulation,
  gradients,
  input,
  putChunk,
  scale,
  sharedPeakBytes,
  takeChunk,
  variable,
  variantsOf,
  type Assignment,
  type BuildProgress,
  type Engine,
  type Plan,
  type ProgramSpec,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { ROW_FLOATS } from '../augment/draw.js'
import type { DeviceImages } from '../augment/views.js'
import type { Network } from './network.js'
import { nth } from './accumulated.js'
import { accumulateByBucket, normalisesAcross, sharedStep, shareOfSeed } from './distributed.js'
import { forward, lossOf } from './forward.js'
import { follow, stepOptimizer } from './optimizer.js'
import type { Loss, StepConfig, StepExtras, TrainingStep } from './training_step.js'
import { compileOrRelease, probe, readsNorm, stateOf } from './whole.js'

export type ChunkedConfig = StepConfig & { viewChunk: number }

/** The programs of a step, and the Variables through which they pass their results on. */
export interface ChunkedStep {
  /** Inputs `rows` [chunk · batch, ROW_FLOATS] and `chunk` [1] u32, the number of the chunk. */
  readonly forward: ProgramSpec
  /**
   * Output `loss` [1], and `parts` of the loss. With several ranks or micro-batches the outputs are those of `update`;
   * with micro-batches there is an input `index` [1] u32, the number of the micro-batch.
   */
  readonly loss: ProgramSpec
  readonly parts?: Loss['parts']
  /** The inputs of `forward`, and `part` [1] u32, the number of the chunk among those of all micro-batches: 0 starts new sums. */
  readonly backward: ProgramSpec
  /** Input `rate` [1]; with f16 output `lossScale` [3]. */
  readonly update: ProgramSpec
  /** With several ranks: `update` does the backward pass of the last chunk too, with its inputs. */
  readonly lastIsUpdate: boolean
  /** The program that has the outputs `loss` and `parts`. */
  readonly judged: 'loss' | 'update'
  readonly state: readonly Variable[]
  /** The mean gradient of each parameter after the backward pass of every chunk; those of the backbone come first. */
  readonly gradients: readonly Variable[]
  /** What lives from program to program, but not from step to step: embeddings, their gradient, `gradients`. */
  readonly scratch: readonly Variable[]
}

/** The four programs. `viewChunk` must divide `views` and `bn` must be 'per-view'; `resolveConfig` checks both. */
export function describeChunkedStep(
  images: DeviceImages,
  network: Network,
  config: ChunkedConfig,
  extras: StepExtras = {},
): ChunkedStep {
  const { views, viewChunk, batch, accumulate: count } = config
  const chunkRows = viewChunk * batch
  /** The embeddings of a chunk. With `updates`, the running statistics are updated too. */
  const embed = (updates?: Assignment[]) => {
    const rows = input('rows', [chunkRows, ROW_FLOATS])
    const options = { views: viewChunk, updates, across: normalisesAcross(config, extras) }
    const { features, projection: z } = forward(images, network, config, rows, options)
    return { features, z, chunk: input('chunk', [1], 'u32') }
  }
  const statistics: Assignment[] = []
  const first = embed(statistics)
  const shape = [views * batch, first.z.shape[1]]
  const embeddings = variable('embeddings', shape)
  const embeddingsGradient = variable('embeddings.gradient', shape)

  const { loss, parts: lossParts } = lossOf({ projection: embeddings }, config, extras)
  const { parameters, seed, state, apply } = extras.optimizer ?? stepOptimizer(network, config)
  const { mean: sums, seed: shareOfMean, add } = gradientAccumulation(parameters, count)
  const ranks = shareOfSeed(config, extras, seed)
  const [lossGradient] = gradients(loss, [embeddings], count > 1 ? shareOfMean(ranks) : ranks)

  const again = { ...embed(), part: input('part', [1], 'u32') }
  const parts = backward([[again.z, takeChunk(embeddingsGradient, chunkRows, again.chunk)]], parameters)

  const probing = probe(extras, first.features)
  const rate = input('rate', [1])
  // With several micro-batches or ranks the loss waits in a Variable until the update.
  const kept = count > 1 || extras.collective ? keptLoss({ loss, parts: lossParts }, count) : undefined
  const last =
    extras.collective && lastOfRanks({ sums, parts, part: again.part, statistics }, kept!.loss, config, extras)
  const applied = apply(last?.shared.gradients ?? sums, rate)
  const changed = [...(last?.shared.updates ?? []), ...applied.updates]
  const outputsOf = ({ loss, parts }: Loss) => ({ loss, ...(parts && { parts: parts.values }) })
  return {
    forward: {
      label: 'forward',
      outputs: probing.outputs,
      updates: [...statistics, putChunk(embeddings, first.z, first.chunk), ...probing.updates],
    },
    loss: {
      label: 'loss',
      outputs: kept ? {} : outputsOf({ loss, parts: lossParts }),
      updates: [assign(embeddingsGradient, lossGradient), ...(kept?.updates ?? [])],
    },
    parts: lossParts,
    backward: { label: 'backward', updates: add(parts, again.part) },
    update: {
      label: last ? 'last backward and update' : 'update',
      outputs: { ...applied.outputs, ...(kept && outputsOf(copied(last?.shared ?? kept.loss))) },
      updates: [...changed, ...follow(network, config, changed), ...(last?.sums ?? [])],
    },
    lastIsUpdate: last !== undefined,
    judged: kept ? 'update' : 'loss',
    state: [...state, ...stateOf(extras)],
    gradients: sums,
    scratch: [embeddings, embeddingsGradient, ...sums, ...(kept?.updates.map(({ variable }) => variable) ?? [])],
  }
}

/** Variables for the mean loss of the micro-batches and its parts. With several, the number of each is the input `index`. */
function keptLoss({ loss, parts }: Loss, count: number): { loss: Loss; updates: Assignment[] } {
  const found = [loss, ...(parts ? [parts.values] : [])]
  const [keptLoss, keptParts] = found.map(({ shape }, i) => variable(i ? 'loss.parts' : 'loss', shape))
  const kept = [keptLoss, ...(parts ? [keptParts] : [])]
  return {
    loss: { loss: keptLoss, parts: parts && { names: parts.names, values: keptParts } },
    updates:
      count === 1
        ? kept.map((variable, i) => assign(variable, found[i]))
        : accumulate(
            kept,
            found.map((value) => scale(value, 1 / count)),
            input('index', [1], 'u32'),
          ),
  }
}

/** A loss whose values may be Variables, as outputs of a program. */
const copied = ({ loss, parts }: Loss): Loss => ({
  loss: scale(loss, 1),
  parts: parts && { names: parts.names, values: scale(parts.values, 1) },
})

/** With several ranks: the last chunk's part of the update, so that its gradients leave while others are computed. */
function lastOfRanks(
  {
    sums,
    parts,
    part,
    statistics,
  }: Record<'sums', readonly Variable[]> & {
    parts: readonly Value[]
    part: Value
    statistics: readonly Assignment[]
  },
  kept: Loss,
  config: StepConfig,
  extras: StepExtras,
) {
  const added = accumulateByBucket(sums, parts, part)
  const shared = sharedStep(
    {
      gradients: added.updates.map(({ value }) => value),
      ...kept,
      // The forward passes have updated the running statistics.
      updates: statistics.map(({ variable }) => ({ variable, value: variable })),
    },
    config,
    extras,
    added.buckets,
  )
  return {
    shared: { ...shared, updates: config.bnStatistics === 'rank' ? shared.updates : [] },
    sums: added.updates,
  }
}

/** Records the four programs, which share the memory of their activations. */
export async function compileChunkedStep(
  engine: Engine,
  images: DeviceImages,
  network: Network,
  config: ChunkedConfig,
  extras: StepExtras = {},
  onProgress?: BuildProgress,
): Promise<TrainingStep> {
  const described = describeChunkedStep(images, network, config, extras)
  const specs = [described.forward, described.loss, described.backward, described.update]
  const programs = await compileOrRelease(engine, specs, [...described.state, ...described.scratch], onProgress)
  const [embed, loss, back, update] = programs
  const { accumulate: count } = config
  const chunks = config.views / config.viewChunk
  const total = count * chunks
  const backs = total - Number(described.lastIsUpdate)
  const judged = described.judged === 'update' ? update : loss
  return {
    state: described.state,
    dispatches: total * embed.dispatches + count * loss.dispatches + backs * back.dispatches + update.dispatches,
    variants: variantsOf(programs.map(({ plan }) => plan)),
    peakBytes: chunkedPeakBytes(
      described,
      programs.map(({ plan }) => plan),
    ),
    async run({ rows, rate, labels }) {
      const inputsOf = (part: number) => ({
        rows: nth(rows, part, total),
        chunk: Uint32Array.of(part % chunks),
      })
      for (let index = 0; index < count; index++) {
        const numbers = Array.from({ length: chunks }, (_, chunk) => index * chunks + chunk)
        for (const part of numbers)
          await embed.run({ ...inputsOf(part), ...(labels && { labels: nth(labels, part, total) }) })
        await loss.run(count > 1 ? { index: Uint32Array.of(index) } : {})
        for (const part of numbers) if (part < backs) await back.run({ ...inputsOf(part), part: Uint32Array.of(part) })
      }
      await update.run({
        rate,
        ...(described.lastIsUpdate && { ...inputsOf(total - 1), part: Uint32Array.of(total - 1) }),
      })
    },
    loss: () => judged.read('loss'),
    ...(described.parts && { parts: { names: described.parts.names, read: () => judged.read('parts') } }),
    ...(config.precision === 'f16' && { lossScale: () => update.read('lossScale') }),
    ...readsNorm(config, update),
    ...(extras.probe && { logits: () => embed.read('logits') }),
    destroy() {
      for (const program of programs) program.destroy()
      for (const v of described.scratch) engine.release(v)
    },
  }
}

/** Bytes in addition to the network, the optimiser's state and the data set: the programs' memory and `scratch`. */
export const chunkedPeakBytes = ({ scratch }: Pick<ChunkedStep, 'scratch'>, plans: readonly Plan[]): number =>
  sharedPeakBytes(plans) + scratch.reduce((sum, { bytes }) => sum + bytes, 0)
