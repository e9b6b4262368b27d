/** What a step does with gradients: loss scaling, clipping, the optimiser and the moving averages. */
import {
  adam,
  adamW,
  clipByGlobalNorm,
  constant,
  dynamicLossScale,
  ema,
  extragradient,
  gradients as gradientsHere,
  input,
  lars,
  sgd,
  sharpnessAware,
  type Assignment,
  type Optimizer,
  type Value,
  type Variable,
} from '../../engine/index.js'
import { trainedDicts, type Network } from './network.js'
import type { StepConfig, StepOptimizer } from './training_step.js'

export type OptimizerConfig = Pick<
  StepConfig,
  'optimizer' | 'momentum' | 'weightDecay' | 'clipNorm' | 'precision' | 'secondGradient' | 'radius'
>

export function stepOptimizer(
  network: Pick<Network, 'backbone' | 'projector' | 'predictor'>,
  config: OptimizerConfig,
): StepOptimizer {
  const { clipNorm, precision } = config
  const parameters = trainedDicts(network).flatMap((dict) => dict.parameters)
  const optimizer = optimizerOf(parameters, config)
  const { state, updates } = optimizer
  const gradientsOf = (loss: Value, rate: Value, seed?: Value): Value[] =>
    config.secondGradient === 'sam'
      ? sharpnessAware(loss, parameters, { radius: config.radius, seed })
      : config.secondGradient === 'extragradient'
        ? extragradient(loss, parameters, optimizer, rate, { seed })
        : gradientsHere(loss, parameters, seed)
  if (precision === 'f32')
    return {
      parameters,
      state,
      gradientsOf,
      apply(gradients, rate) {
        const clipping = clipNorm === undefined ? undefined : clipByGlobalNorm(gradients, clipNorm)
        const outputs: Record<string, Value> = clipping ? { gradientNorm: clipping.norm } : {}
        return { updates: updates(gradients, rate, clipping), outputs }
      },
    }
  const scale = dynamicLossScale()
  return {
    parameters,
    gradientsOf,
    seed: scale.seed,
    state: [...state, scale.state],
    apply(gradients, rate) {
      const judged = scale.judge(gradients)
      const clipping = clipNorm === undefined ? judged : clipByGlobalNorm(gradients, clipNorm, judged)
      return {
        updates: [...updates(gradients, rate, clipping), judged.update],
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
 * The updates of a network's moving averages after a step. BYOL's target follows only the parameters, at the rate of
 * the input `targetRate` [1]; `average` follows the running statistics too. Frozen values are equal in all copies.
 *
 * @param updates of the network in the same program; the averages follow the updated values
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
    const statistics = ({ dict }: typeof backbone) =>
      [...dict.entries.values()].filter((e) => !e.trainable && !e.frozen)
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
