/** The network of a configuration: a backbone and the paper's projector. */
import { projector, resnet, type Backbone, type Projector } from '../models/index.js'
import type { PretrainConfig } from './config.js'

export function buildNetwork(
  config: Pick<PretrainConfig, 'arch' | 'width' | 'stem' | 'zeroInitResidual' | 'projectorDim' | 'seed'>,
): { backbone: Backbone; projector: Projector } {
  const { arch, width, stem, zeroInitResidual, projectorDim, seed } = config
  const backbone = resnet({ arch, width, stem, zeroInitResidual, seed })
  return { backbone, projector: projector({ features: backbone.features, dim: projectorDim, seed }) }
}
