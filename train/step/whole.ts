/** One step of pretraining as a graph: everything from bytes to updated weights. */
import {
  gradients,
  input,
  variantsOf,
  type Assignment,
  type Engine,
  type Program,
  type ProgramSpec,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { ROW_FLOATS } from '../augment/draw.js'
import type { DeviceImages } from '../augment/views.js'
import type { Network } from './network.js'
import { forward, lossOf } from './forward.js'
import { follow, stepOptimizer } from './optimizer.js'
import type { StepConfig, StepExtras, TrainingStep } from './training_step.js'

/**
 * Views on the GPU, network, loss, gradients, optimiser, running statistics, moving averages.
 *
 * @returns a program with inputs `rows` [views · batch, ROW_FLOATS] and `rate` [1] (`targetRate` [1] with BYOL, `labels`
 *   [views · batch] with a probe) and output `loss` [1] (`lossScale` [3] with f16, `logits` with a probe) that updates
 *   every Variable; and what it keeps beside the network
 */
export function describeStep(
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  extras: StepExtras = {},
): { spec: ProgramSpec; state: readonly Variable[] } {
  const { views, batch } = config
  const updates: Assignment[] = []
  const rows = input('rows', [views * batch, ROW_FLOATS])
  const { features, ...embeddings } = forward(images, network, config, rows, { views, updates })
  const loss = lossOf(embeddings, config, extras)
  const { parameters, seed, state, apply } = stepOptimizer(network, config)
  const applied = apply(gradients(loss, parameters, seed), input('rate', [1]))
  updates.push(...applied.updates)
  updates.push(...follow(network, config, updates))
  const probing = probe(extras, features)
  return {
    spec: {
      label: 'training step',
      outputs: { loss, ...applied.outputs, ...probing.outputs },
      updates: [...updates, ...probing.updates],
    },
    state: [...state, ...stateOf(extras)],
  }
}

/** A step of the probe, where there is one: input `labels` [rows] u32, output `logits`. */
export function probe(
  { probe }: StepExtras,
  features: Value,
): { updates: Assignment[]; outputs: Record<string, Value> } {
  if (!probe) return { updates: [], outputs: {} }
  const { updates, logits } = probe.attach(features, input('labels', [features.shape[0]], 'u32'))
  return { updates, outputs: { logits } }
}

/** Builds a step's programs; where that fails, Variables that nobody else knows of are freed. */
export async function compileOrRelease(
  engine: Engine,
  specs: readonly ProgramSpec[],
  own: readonly Variable[],
  onProgress?: (done: number, total: number) => void,
): Promise<Program[]> {
  try {
    return await engine.compileTogether(specs, onProgress)
  } catch (error) {
    for (const v of own) engine.release(v)
    throw error
  }
}

/** What a checkpoint keeps of the extras. */
export const stateOf = ({ lambda, probe }: StepExtras): Variable[] => [
  ...(lambda ? [lambda] : []),
  ...(probe?.state ?? []),
]

/** Records the step as one program, which keeps all views' activations for the backward pass. */
export async function compileStep(
  engine: Engine,
  images: DeviceImages,
  network: Network,
  config: StepConfig,
  extras: StepExtras = {},
  onProgress?: (done: number, total: number) => void,
): Promise<TrainingStep> {
  const { spec, state } = describeStep(images, network, config, extras)
  const [program] = await compileOrRelease(engine, [spec], state, onProgress)
  return {
    state,
    dispatches: program.dispatches,
    variants: variantsOf([program.plan]),
    peakBytes: program.peakBytes,
    run: (inputs) => program.run({ ...inputs }),
    loss: () => program.read('loss'),
    ...(config.precision === 'f16' && { lossScale: () => program.read('lossScale') }),
    ...(extras.probe && { logits: () => program.read('logits') }),
    destroy: () => program.destroy(),
  }
}
