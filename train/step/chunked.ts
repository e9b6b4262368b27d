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
 */
import {
  Arena,
  accumulate,
  assign,
  backward,
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
  /** Output `loss` [1], and `parts` of the loss; with several ranks the outputs are those of `update`. */
  readonly loss: ProgramSpec
  readonly parts?: Loss['parts']
  /** The inputs of `forward`; chunk 0 starts new sums. */
  readonly backward: ProgramSpec
  /** Input `rate` [1]; with f16 output `lossScale` [3]. */
  readonly update: ProgramSpec
  /** With several ranks: `update` does the backward pass of the last chunk too, with its inputs. */
  readonly lastIsUpdate: boolean
  readonly state: readonly Variable[]
  /** The gradient of each parameter after the backward pass of every chunk; those of the backbone come first. */
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
  const { views, viewChunk, batch } = config
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
  const [lossGradient] = gradients(loss, [embeddings], shareOfSeed(config, extras, seed))

  const sums = parameters.map((p) => variable(`${p.name}.gradient`, p.shape))
  new Arena(sums)
  const again = embed()
  const parts = backward([[again.z, takeChunk(embeddingsGradient, chunkRows, again.chunk)]], parameters)

  const probing = probe(extras, first.features)
  const rate = input('rate', [1])
  const last =
    extras.collective && lastOfRanks({ sums, parts, chunk: again.chunk, loss, lossParts, statistics }, config, extras)
  const applied = apply(last?.shared.gradients ?? sums, rate)
  const changed = [...(last?.shared.updates ?? []), ...applied.updates]
  return {
    forward: {
      label: 'forward',
      outputs: probing.outputs,
      updates: [...statistics, putChunk(embeddings, first.z, first.chunk), ...probing.updates],
    },
    loss: {
      label: 'loss',
      outputs: last ? {} : { loss, ...(lossParts && { parts: lossParts.values }) },
      updates: [assign(embeddingsGradient, lossGradient), ...(last?.kept ?? [])],
    },
    parts: lossParts,
    backward: { label: 'backward', updates: accumulate(sums, parts, again.chunk) },
    update: {
      label: last ? 'last backward and update' : 'update',
      outputs: { ...applied.outputs, ...last?.outputs },
      updates: [...changed, ...follow(network, config, changed), ...(last?.sums ?? [])],
    },
    lastIsUpdate: last !== undefined,
    state: [...state, ...stateOf(extras)],
    gradients: sums,
    scratch: [embeddings, embeddingsGradient, ...sums, ...(last?.kept.map(({ variable }) => variable) ?? [])],
  }
}

/**
 * With several ranks: the last chunk's part of the update, so that its gradients leave while others are computed. The
 * loss waits in a Variable to go with them.
 */
function lastOfRanks(
  {
    sums,
    parts,
    chunk,
    loss,
    lossParts,
    statistics,
  }: {
    sums: readonly Variable[]
    parts: readonly Value[]
    chunk: Value
    loss: Value
    lossParts: Loss['parts']
    statistics: readonly Assignment[]
  },
  config: StepConfig,
  extras: StepExtras,
) {
  const added = accumulateByBucket(sums, parts, chunk)
  const [keptLoss, keptParts] = [variable('loss', [1]), lossParts && variable('loss.parts', lossParts.values.shape)]
  const shared = sharedStep(
    {
      gradients: added.updates.map(({ value }) => value),
      loss: keptLoss,
      parts: lossParts && { names: lossParts.names, values: keptParts! },
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
    kept: [assign(keptLoss, loss), ...(keptParts ? [assign(keptParts, lossParts!.values)] : [])],
    outputs: {
      loss: scale(shared.loss, 1),
      ...(shared.parts && { parts: scale(shared.parts.values, 1) }),
    },
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
  const chunks = config.views / config.viewChunk
  const numbers = Array.from({ length: chunks }, (_, i) => Uint32Array.of(i))
  const backs = described.lastIsUpdate ? numbers.slice(0, -1) : numbers
  const judged = described.lastIsUpdate ? update : loss
  return {
    state: described.state,
    dispatches: chunks * embed.dispatches + backs.length * back.dispatches + loss.dispatches + update.dispatches,
    variants: variantsOf(programs.map(({ plan }) => plan)),
    peakBytes: chunkedPeakBytes(
      described,
      programs.map(({ plan }) => plan),
    ),
    async run({ rows, rate, labels }) {
      const part = (chunk: Uint32Array) => ({ rows: nth(rows, chunk[0], chunks), chunk })
      for (const chunk of numbers)
        await embed.run({ ...part(chunk), ...(labels && { labels: nth(labels, chunk[0], chunks) }) })
      await loss.run()
      for (const chunk of backs) await back.run(part(chunk))
      await update.run({ rate, ...(described.lastIsUpdate && part(numbers[chunks - 1])) })
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
