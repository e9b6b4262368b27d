/** The networks of a configuration: what is trained, and the moving averages of it. */
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
  /** BYOL's, behind the projector. */
  readonly predictor?: Predictor
  /** With a predictor: the moving average whose projections are the targets. */
  readonly target?: Pick<Network, 'backbone' | 'projector'>
  /** With `emaRate`: the moving average of the backbone, running statistics included, for the readout. */
  readonly average?: Backbone
}

/** The parts that are trained. */
export const trainedDicts = ({ backbone, projector, predictor }: Network): StateDict[] =>
  [backbone, projector, predictor].flatMap((part) => (part ? [part.dict] : []))

/** The moving averages. */
export const followingDicts = ({ target, average }: Network): StateDict[] =>
  [target?.backbone, target?.projector, average].flatMap((part) => (part ? [part.dict] : []))

/** Averages start equal to what they follow. */
export function buildNetwork(
  config: Pick<
    PretrainConfig,
    | 'arch'
    | 'width'
    | 'stem'
    | 'stemRelu'
    | 'zeroInitResidual'
    | 'projectorDim'
    | 'projectorDepth'
    | 'predictorHidden'
    | 'objective'
    | 'emaRate'
    | 'seed'
  >,
): Network {
  const { arch, width, stem, stemRelu, zeroInitResidual, seed } = config
  const { projectorDim: dim, projectorDepth: depth, predictorHidden: hidden, objective, emaRate } = config
  const backboneOf = (prefix: string): Backbone =>
    resnet({ arch, width, stem, stemRelu, zeroInitResidual, seed, prefix })
  const pairOf = (prefix: string) => {
    const backbone = backboneOf(prefix)
    return { backbone, projector: projector({ features: backbone.features, dim, depth, seed, prefix }) }
  }
  return {
    ...pairOf(''),
    ...(objectives[objective].needs === 'predictor' && {
      predictor: predictor({ dim, hidden, seed }),
      target: pairOf('target.'),
    }),
    ...(emaRate !== undefined && { average: backboneOf('average.') }),
  }
}
