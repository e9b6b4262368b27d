/** Weights files: what their metadata says of the network and its input. */
import { toFloat32, type SafetensorsTensor, type StateDict } from '../../models/index.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import { LARGE_RMS, rmsOf } from '../diagnostics/weight_health.js'

/** Tensors by torchvision's names, and the name of their file for messages. */
interface Weights {
  tensors: Readonly<Record<string, SafetensorsTensor>>
  source: string
}

/**
 * @returns a warning in one line, if a parameter of the network has values far beyond those of a trained network
 */
export function unusualWeights(dict: StateDict, { tensors, source }: Weights): string | undefined {
  let largest = { name: '', rms: 0 }
  for (const [name, { trainable }] of dict.entries) {
    const rms = trainable ? rmsOf(toFloat32(tensors[name])) : 0
    if (rms > largest.rms) largest = { name, rms }
  }
  return largest.rms > LARGE_RMS
    ? `${source}: '${largest.name}' has a root mean square of ${largest.rms.toPrecision(2)}; below ${LARGE_RMS} is usual: the training of these weights may have diverged`
    : undefined
}

/** What a network's features depend on in addition to its weights. */
export interface FeatureInfo {
  arch: PretrainConfig['arch']
  width: number
  stem: PretrainConfig['stem']
  stemRelu: boolean
  /** Height and width of a clean view, in pixels. */
  imageSize: number
  /** How pixels were normalised. */
  mean: AugmentationRecipe['mean']
  std: AugmentationRecipe['std']
}

export function featureInfoOf({ arch, width, stem, stemRelu, augmentation }: PretrainConfig): FeatureInfo {
  const { size: imageSize, mean, std } = augmentation
  return { arch, width, stem, stemRelu, imageSize, mean, std }
}

/** The metadata of a weights file. */
export const featureMetadata = (info: FeatureInfo): Record<string, string> =>
  Object.fromEntries(
    Object.entries(info).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )

/**
 * Reads the metadata of a weights file. It is complete if `pretrain` wrote the file, and empty if another program did.
 *
 * @throws ConfigError in one line if an entry cannot be read
 */
export function featureInfoIn(metadata: Readonly<Record<string, string>>, file: string): Partial<FeatureInfo> {
  const found: Record<string, unknown> = {}
  for (const name of ['arch', 'width', 'stem', 'stemRelu', 'imageSize', 'mean', 'std'] as const) {
    const text = metadata[name] as string | undefined
    if (text === undefined) continue
    try {
      found[name] = name === 'arch' || name === 'stem' ? text : JSON.parse(text)
    } catch {
      throw new ConfigError(`${file}: its metadata has ${name} '${text}', which cannot be read: the file is damaged`)
    }
  }
  return found
}
