/** The training step as one program, from image bytes to updated weights. */
import {
  input,
  variantsOf,
  type Assignment,
  type BuildProgress,
  type Engine,
  type Program,
  type ProgramSpec,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { ROW_FLOATS } from '../augment/draw.js'
import type { DeviceImages } from '../augment/views.js'
import type { Network } from './network.js'
import { meansOverRanks, normalisesAcross, sharedStep, shareOfSeed } from './distributed.js'
import { forward, lossOf, rowViews } from './forward.js'
import { follow, stepOptimizer } from './optimizer.js'
import type { Loss, StepConfig, StepExtras, TrainingStep } from './training_step.js'

/**
 * The graph of a step: views, network, loss, gradients, optimiser, running statistics, moving averages.
 *
 * @returns `spec`: a program that updates every Variable. Its inputs are `rows` [rowViews · batch, ROW_FLOATS] and `rate`
 *   [1], with BYOL `targetRate` [1], with a probe `labels` [rowViews · batch] u32. Its outputs are `loss` [1], `parts` of the loss, with f16
 *   `lossScale` [3], with a probe `logits` [rowViews · batch, classes]. `state`: the Variables in addition to those of the
 *   network
 */
export function describeStep(
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  extras: StepExtras = {},
): { spec: ProgramSpec; state: readonly Variable[]; parts?: Loss['parts'] } {
  const { views, batch } = config
  const updates: Assignment[] = []
  const rows = input('rows', [rowViews(config) * batch, ROW_FLOATS])
  const across = normalisesAcross(config, extras)
  const { features, ...embeddings } = forward(images, network, config, rows, { views, updates, across })
  const own = lossOf(embeddings, config, extras)
  const { seed, state, gradientsOf, apply } = extras.optimizer ?? stepOptimizer(network, config)
  const rate = input('rate', [1])
  const found = { gradients: gradientsOf(own.loss, rate, shareOfSeed(config, extras, seed)), ...own, updates }
  const { loss, parts, ...shared } = sharedStep(found, config, extras)
  const applied = apply(shared.gradients, rate)
  updates.splice(0, Infinity, ...shared.updates, ...applied.updates)
  updates.push(...follow(network, config, updates))
  const probing = probe(extras, features)
  return {
    spec: {
      label: 'training step',
      outputs: { loss, ...(parts && { parts: parts.values }), ...applied.outputs, ...probing.outputs },
      updates: [...updates, ...probing.updates],
    },
    state: [...state, ...stateOf(extras)],
    parts,
  }
}

/** A step of the probe, if there is one: input `labels` [rows] u32, output `logits` [rows, classes]. */
export function probe(
  { probe, collective }: StepExtras,
  features: Value,
): { updates: Assignment[]; outputs: Record<string, Value> } {
  if (!probe) return { updates: [], outputs: {} }
  const labels = input('labels', [features.shape[0]], 'u32')
  const { updates, logits } = probe.attach(features, labels, collective && ((own) => meansOverRanks(own, collective)))
  return { updates, outputs: { logits } }
}

/** Reads the norm of the gradients, where `StepOptimizer.apply` has it. */
export const readsNorm = ({ clipNorm, precision }: StepConfig, update: Program): Pick<TrainingStep, 'gradientNorm'> =>
  clipNorm !== undefined && precision === 'f32' ? { gradientNorm: () => update.read('gradientNorm') } : {}

/** Builds the programs of a step. If that fails, it frees the Variables that only the step knows. */
export async function compileOrRelease(
  engine: Engine,
  specs: readonly ProgramSpec[],
  own: readonly Variable[],
  onProgress?: BuildProgress,
): Promise<Program[]> {
  try {
    return await engine.compileTogether(specs, onProgress)
  } catch (error) {
    for (const v of own) engine.release(v)
    throw error
  }
}

/** The Variables of the extras that a checkpoint keeps. */
export const stateOf = ({ lambda, probe }: StepExtras): Variable[] => [
  ...(lambda ? [lambda] : []),
  ...(probe?.state ?? []),
]

/** Records the step as one program, which keeps the activations of all views for the backward pass. */
export async function compileStep(
  engine: Engine,
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  extras: StepExtras = {},
  onProgress?: BuildProgress,
): Promise<TrainingStep> {
  const { spec, state, parts } = describeStep(images, network, config, extras)
  const [program] = await compileOrRelease(engine, [spec], state, onProgress)
  return {
    state,
    dispatches: program.dispatches,
    variants: variantsOf([program.plan]),
    peakBytes: program.peakBytes,
    run: (inputs) => program.run({ ...inputs }),
    loss: () => program.read('loss'),
    ...(parts && { parts: { names: parts.names, read: () => program.read('parts') } }),
    ...(config.precision === 'f16' && { lossScale: () => program.read('lossScale') }),
    ...readsNorm(config, program),
    ...(extras.probe && { logits: () => program.read('logits') }),
    destroy: () => program.destroy(),
  }
}
