/** One step of pretraining as a graph: everything from bytes to updated weights. */
import {
  adam,
  gradients,
  input,
  type Assignment,
  type Engine,
  type ProgramSpec,
  type Variable,
} from '../engine/index.js'
import type { Backbone, Projector } from '../models/index.js'
import { ROW_FLOATS } from './augment/draw.js'
import { augmentViews, type DeviceImages } from './augment/views.js'
import type { PretrainConfig } from './config.js'
import { barlowTwins } from './objectives/barlow_twins.js'

/** What a step needs to know of a run. */
export type StepConfig = Pick<PretrainConfig, 'views' | 'batch' | 'augmentation' | 'lambda' | 'weightDecay' | 'bn'>

/** A step that has been recorded, as one program or several. */
export interface TrainingStep {
  /** Moments and counters of the optimiser: what a checkpoint keeps beside the network. */
  readonly state: readonly Variable[]
  /** Dispatches in one step. */
  readonly dispatches: number
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
  /** Frees all but the network and the optimiser's state. */
  destroy(): void
}

/** The optimiser of a step; however the gradients come about, `updates(gradients, rate)` applies them. */
export const stepOptimizer = (
  backbone: Backbone,
  projector: Projector,
  { weightDecay }: Pick<PretrainConfig, 'weightDecay'>,
): { parameters: Variable[]; optimizer: ReturnType<typeof adam> } => {
  const parameters = [...backbone.dict.parameters, ...projector.dict.parameters]
  return { parameters, optimizer: adam(parameters, { weightDecay }) }
}

/**
 * Views on the GPU, backbone, projector, loss, gradients, Adam, running statistics.
 *
 * @returns a program with inputs `rows` [views · batch, ROW_FLOATS] and `rate` [1] and output `loss` [1] that updates
 *   every Variable; and the optimiser's moments and counters
 */
export function describeStep(
  images: DeviceImages,
  backbone: Backbone,
  projector: Projector,
  config: StepConfig,
): { spec: ProgramSpec; state: Variable[] } {
  const { views, batch, augmentation, lambda, bn } = config
  const updates: Assignment[] = []
  const mode = { training: true, groups: bn === 'per-view' ? views : 1, updates }
  const x = augmentViews(images, input('rows', [views * batch, ROW_FLOATS]), augmentation)
  const loss = barlowTwins(projector.forward(backbone.forward(x, mode), mode), { views, lambda })
  const { parameters, optimizer } = stepOptimizer(backbone, projector, config)
  updates.push(...optimizer.updates(gradients(loss, parameters), input('rate', [1])))
  return { spec: { label: 'training step', outputs: { loss }, updates }, state: [...optimizer.state] }
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
    peakBytes: program.peakBytes,
    run: (rows, rate) => program.run({ rows, rate }),
    loss: () => program.read('loss'),
    destroy: () => program.destroy(),
  }
}
