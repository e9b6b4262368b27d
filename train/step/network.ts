/** The networks of a configuration: the trained ones and their moving averages. */
import {
  predictor,
  projector,
  resnet,
  type Backbone,
  type Predictor,
  type Projector,
  type StateDict,
} from '../../models/index.js'
import type { PretrainConfig } from '../config/config.js'
import { objectives } from '../objectives/index.js'

export interface Network {
  readonly backbone: Backbone
  readonly projector: Projector
  /** BYOL and FastSiam: follows the projector. */
  readonly predictor?: Predictor
  /** BYOL: the moving average of the network, whose projections are the targets. */
  readonly target?: Pick<Network, 'backbone' | 'projector'>
  /** With `emaRate`: the moving average of the backbone with its running statistics, for the readout. */
  readonly average?: Backbone
}

/** The trained parts. */
export const trainedDicts = ({ backbone, projector, predictor }: Network): StateDict[] =>
  [backbone, projector, predictor].flatMap((part) => (part ? [part.dict] : []))

/** The trained backbone and its moving averages. */
export const backbonesOf = ({ backbone, target, average }: Network): Backbone[] =>
  [backbone, target?.backbone, average].flatMap((one) => (one ? [one] : []))

/** The moving averages. */
export const followingDicts = ({ target, average }: Network): StateDict[] =>
  [target?.backbone, target?.projector, average].flatMap((part) => (part ? [part.dict] : []))

/** Builds the networks. Moving averages start equal to the networks that they follow. */
export function buildNetwork(
  config: Pick<
    PretrainConfig,
    | 'arch'
    | 'width'
    | 'stem'
    | 'stemRelu'
    | 'zeroInitResidual'
    | 'initialWeights'
    | 'freezeStages'
    | 'gateBudget'
    | 'projectorDim'
    | 'projectorDepth'
    | 'predictorHidden'
    | 'predictorNorm'
    | 'objective'
    | 'emaRate'
    | 'seed'
  >,
): Network {
  const { arch, width, stem, stemRelu, zeroInitResidual, initialWeights = 'he', freezeStages, seed } = config
  const { projectorDim: dim, projectorDepth: depth, predictorHidden: hidden, predictorNorm: norm } = config
  const { objective, emaRate, gateBudget } = config
  const gates = gateBudget !== undefined
  const { needs } = objectives[objective]
  const backboneOf = (prefix: string): Backbone =>
    resnet({ arch, width, stem, stemRelu, zeroInitResidual, initialWeights, freezeStages, gates, seed, prefix })
  const pairOf = (prefix: string) => {
    const backbone = backboneOf(prefix)
    return { backbone, projector: projector({ features: backbone.features, dim, depth, seed, prefix }) }
  }
  return {
    ...pairOf(''),
    ...(needs && { predictor: predictor({ dim, hidden, norm, seed }) }),
    ...(needs === 'target' && { target: pairOf('target.') }),
    ...(emaRate !== undefined && { average: backboneOf('average.') }),
  }
}
