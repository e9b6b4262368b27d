/** What a step does with gradients: loss scale, clipping, the optimiser, and the moving averages that follow it. */
import {
  adam,
  adamW,
  clipByGlobalNorm,
  constant,
  dynamicLossScale,
  ema,
  input,
  lars,
  sgd,
  type Assignment,
  type Optimizer,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { trainedDicts, type Network } from './network.js'
import type { StepConfig } from './training_step.js'

export interface StepOptimizer {
  readonly parameters: readonly Variable[]
  /** What `gradients` of the loss take as their seed: the loss scale, with f16. */
  readonly seed?: Value
  /** Moments, counters and the loss scale. */
  readonly state: readonly Variable[]
  /** Applies gradients; with f16 the output `lossScale` is what `TrainingStep.lossScale` reads. */
  apply(gradients: readonly Value[], rate: Value): { updates: Assignment[]; outputs: Record<string, Value> }
}

export type OptimizerConfig = Pick<StepConfig, 'optimizer' | 'momentum' | 'weightDecay' | 'clipNorm' | 'precision'>

export function stepOptimizer(
  network: Pick<Network, 'backbone' | 'projector' | 'predictor'>,
  config: OptimizerConfig,
): StepOptimizer {
  const { clipNorm, precision } = config
  const parameters = trainedDicts(network).flatMap((dict) => dict.parameters)
  const { state, updates } = optimizerOf(parameters, config)
  const clipped = (gradients: readonly Value[], unscaling?: Parameters<typeof clipByGlobalNorm>[2]) =>
    clipNorm === undefined ? unscaling : clipByGlobalNorm(gradients, clipNorm, unscaling)
  if (precision === 'f32')
    return {
      parameters,
      state,
      apply: (gradients, rate) => ({ updates: updates(gradients, rate, clipped(gradients)), outputs: {} }),
    }
  const scale = dynamicLossScale()
  return {
    parameters,
    seed: scale.seed,
    state: [...state, scale.state],
    apply(gradients, rate) {
      const judged = scale.judge(gradients)
      return {
        updates: [...updates(gradients, rate, clipped(gradients, judged)), judged.update],
        outputs: { lossScale: judged.next },
      }
    },
  }
}

function optimizerOf(
  parameters: readonly Variable[],
  { optimizer, momentum, weightDecay }: Pick<OptimizerConfig, 'optimizer' | 'momentum' | 'weightDecay'>,
): Optimizer {
  switch (optimizer) {
    case 'adam':
      return adam(parameters, { weightDecay })
    case 'adamw':
      return adamW(parameters, { weightDecay })
    case 'sgd':
      return sgd(parameters, { momentum, weightDecay })
    case 'lars':
      return lars(parameters, { momentum, weightDecay })
  }
}

/**
 * The moving averages of a network after a step. BYOL's target follows the parameters alone, at the rate of the input
 * `targetRate` [1]; `average` follows running statistics too.
 *
 * @param updates of the network in the same program; what they do not update is followed as it is
 */
export function follow(network: Network, { emaRate }: StepConfig, updates: readonly Assignment[]): Assignment[] {
  const { backbone, projector, target, average } = network
  const next = new Map(updates.map(({ variable, value }) => [variable, value]))
  const after = (variables: readonly Variable[]): Value[] => variables.map((v) => next.get(v) ?? v)
  const list: Assignment[] = []
  if (target) {
    const rate = input('targetRate', [1])
    list.push(...ema(target.backbone.dict.parameters, after(backbone.dict.parameters), rate))
    list.push(...ema(target.projector.dict.parameters, after(projector.dict.parameters), rate))
  }
  if (average && emaRate !== undefined) {
    const rate = constant([emaRate])
    const statistics = ({ dict }: typeof backbone) => [...dict.entries.values()].filter((e) => !e.trainable)
    list.push(...ema(average.dict.parameters, after(backbone.dict.parameters), rate))
    list.push(
      ...ema(
        statistics(average).map((e) => e.variable),
        after(statistics(backbone).map((e) => e.variable)),
        rate,
      ),
    )
  }
  return list
}
