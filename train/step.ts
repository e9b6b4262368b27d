/** One step of pretraining as a graph: everything from bytes to updated weights. */
import { adam, gradients, input, type Assignment, type ProgramSpec, type Variable } from '../engine/index.js'
import type { Backbone, Projector } from '../models/index.js'
import { ROW_FLOATS } from './augment/draw.js'
import { augmentViews, type DeviceImages } from './augment/views.js'
import type { PretrainConfig } from './config.js'
import { barlowTwins } from './objectives/barlow_twins.js'

export interface TrainingStep {
  /** Inputs `rows` [views · batch, ROW_FLOATS] and `rate` [1]; output `loss` [1]; updates every Variable. */
  spec: ProgramSpec
  /** Moments and counters of the optimiser. */
  state: Variable[]
}

/** Views on the GPU, backbone, projector, loss, gradients, Adam, running statistics. */
export function describeStep(
  images: DeviceImages,
  backbone: Backbone,
  projector: Projector,
  config: Pick<PretrainConfig, 'views' | 'batch' | 'augmentation' | 'lambda' | 'weightDecay' | 'bn'>,
): TrainingStep {
  const { views, batch, augmentation, lambda, weightDecay, bn } = config
  const updates: Assignment[] = []
  const mode = { training: true, groups: bn === 'per-view' ? views : 1, updates }
  const x = augmentViews(images, input('rows', [views * batch, ROW_FLOATS]), augmentation)
  const loss = barlowTwins(projector.forward(backbone.forward(x, mode), mode), { views, lambda })
  const parameters = [...backbone.dict.parameters, ...projector.dict.parameters]
  const optimizer = adam(parameters, { weightDecay })
  updates.push(...optimizer.updates(gradients(loss, parameters), input('rate', [1])))
  return { spec: { label: 'training step', outputs: { loss }, updates }, state: [...optimizer.state] }
}
