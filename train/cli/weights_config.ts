/** The configuration with which weights are read, where no run describes them. */
import { recipes } from '../augment/recipe.js'
import { resolveConfig, withoutUndefined, type PartialConfig, type PretrainConfig } from '../config/config.js'
import type { FeatureInfo } from '../run/weights.js'

/** The input of torchvision's and timm's networks, for weights with their stem that do not say how they were trained. */
const imagenetInput = { imageSize: 224, mean: recipes.imagenet100.mean, std: recipes.imagenet100.std }

/** @param info the network and its input, as far as these are known; the defaults of the data set fill the gaps */
export function configOfWeights(
  info: Partial<FeatureInfo>,
  data: Pick<PartialConfig, 'data' | 'dataDir' | 'resolution' | 'resize'>,
): PretrainConfig {
  const { imageSize, mean, std, ...network } = {
    ...(info.stem === 'imagenet' && imagenetInput),
    ...withoutUndefined(info),
  }
  return resolveConfig({ ...network, ...data, augmentation: { size: imageSize, mean, std } })
}

/** How images are read, for one line: size and normalisation. */
export function describeInput({ augmentation: { size, mean } }: PretrainConfig): string {
  const normalised = mean.join() === imagenetInput.mean.join() ? ', normalised as for ImageNet' : ''
  return `read at ${size}×${size} pixels${normalised}`
}
