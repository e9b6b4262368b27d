/** One step of pretraining as a graph: everything from bytes to updated weights. */
import {
  adam,
  cast,
  dynamicLossScale,
  gradients,
  input,
  variantsOf,
  type Assignment,
  type Engine,
  type ProgramSpec,
  type Value,
  type Variable,
} from '../engine/index.js'
import type { Backbone, Projector } from '../models/index.js'
import { ROW_FLOATS } from './augment/draw.js'
import { augmentViews, type DeviceImages } from './augment/views.js'
import type { PretrainConfig } from './config.js'
import { barlowTwins } from './objectives/barlow_twins.js'

/** What a step needs to know of a run. */
export type StepConfig = Pick<
  PretrainConfig,
  'views' | 'batch' | 'augmentation' | 'lambda' | 'weightDecay' | 'bn' | 'precision'
>

/** A step that has been recorded, as one program or several. */
export interface TrainingStep {
  /** Moments and counters of the optimiser: what a checkpoint keeps beside the network. */
  readonly state: readonly Variable[]
  /** Dispatches in one step. */
  readonly dispatches: number
  /** The kernels chosen for its products, as `Engine.variants` takes them. */
  readonly variants: ReadonlyMap<string, string>
  /** Bytes beside the network, the optimiser's state and the data set. */
  readonly peakBytes: number
  /**
   * Takes a step; returns once it is submitted.
   *
   * @param rows [views · batch, ROW_FLOATS] as `drawViews` makes them
   * @param rate [1], the learning rate
   */
  run(rows: Float32Array, rate: Float32Array): Promise<void>
  /** The loss [1] of the latest step that was submitted. */
  loss(): Promise<Float32Array>
  /** With f16: [3], the loss scale after that step, clean steps since it changed, and steps skipped so far. */
  lossScale?(): Promise<Float32Array>
  /** Frees all but the network and the optimiser's state. */
  destroy(): void
}

/** Views as the backbone takes them: what is computed from f16 is stored in f16. */
export const stepViews = (
  images: DeviceImages,
  rows: Value,
  { augmentation, precision }: Pick<StepConfig, 'augmentation' | 'precision'>,
): Value => {
  const x = augmentViews(images, rows, augmentation)
  return precision === 'f16' ? cast(x, 'f16') : x
}

/** The optimiser of a step, however the gradients come about. */
export interface StepOptimizer {
  readonly parameters: readonly Variable[]
  /** What `gradients` of the loss take as their seed: the loss scale, with f16. */
  readonly seed?: Value
  /** Moments, counters and the loss scale. */
  readonly state: readonly Variable[]
  /** Applies gradients; with f16 the output `lossScale` is what `TrainingStep.lossScale` reads. */
  apply(gradients: readonly Value[], rate: Value): { updates: Assignment[]; outputs: Record<string, Value> }
}

export function stepOptimizer(
  backbone: Backbone,
  projector: Projector,
  { weightDecay, precision }: Pick<StepConfig, 'weightDecay' | 'precision'>,
): StepOptimizer {
  const parameters = [...backbone.dict.parameters, ...projector.dict.parameters]
  const { state, updates } = adam(parameters, { weightDecay })
  if (precision === 'f32')
    return { parameters, state, apply: (gradients, rate) => ({ updates: updates(gradients, rate), outputs: {} }) }
  const scale = dynamicLossScale()
  return {
    parameters,
    seed: scale.seed,
    state: [...state, scale.state],
    apply(gradients, rate) {
      const judged = scale.judge(gradients)
      return { updates: [...updates(gradients, rate, judged), judged.update], outputs: { lossScale: judged.next } }
    },
  }
}

/**
 * Views on the GPU, backbone, projector, loss, gradients, Adam, running statistics.
 *
 * @returns a program with inputs `rows` [views · batch, ROW_FLOATS] and `rate` [1] and output `loss` [1] (and
 *   `lossScale` [3] with f16) that updates every Variable; and the optimiser's moments and counters
 */
export function describeStep(
  images: DeviceImages,
  backbone: Backbone,
  projector: Projector,
  config: StepConfig,
): { spec: ProgramSpec; state: readonly Variable[] } {
  const { views, batch, lambda, bn } = config
  const updates: Assignment[] = []
  const mode = { training: true, groups: bn === 'per-view' ? views : 1, updates }
  const x = stepViews(images, input('rows', [views * batch, ROW_FLOATS]), config)
  const loss = barlowTwins(projector.forward(backbone.forward(x, mode), mode), { views, lambda })
  const { parameters, seed, state, apply } = stepOptimizer(backbone, projector, config)
  const applied = apply(gradients(loss, parameters, seed), input('rate', [1]))
  updates.push(...applied.updates)
  return { spec: { label: 'training step', outputs: { loss, ...applied.outputs }, updates }, state }
}

/** Records the step as one program, which keeps all views' activations for the backward pass. */
export async function compileStep(
  engine: Engine,
  images: DeviceImages,
  backbone: Backbone,
  projector: Projector,
  config: StepConfig,
  onProgress?: (done: number, total: number) => void,
): Promise<TrainingStep> {
  const { spec, state } = describeStep(images, backbone, projector, config)
  const program = await engine.compile(spec, onProgress)
  return {
    state,
    dispatches: program.dispatches,
    variants: variantsOf([program.plan]),
    peakBytes: program.peakBytes,
    run: (rows, rate) => program.run({ rows, rate }),
    loss: () => program.read('loss'),
    ...(config.precision === 'f16' && { lossScale: () => program.read('lossScale') }),
    destroy: () => program.destroy(),
  }
}
