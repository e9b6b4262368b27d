/** What a backbone's features look like without any labels. */
import { permutation, type Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import type { ImageDataset } from '../data/dataset.js'
import { extractFeatures } from '../readout/features.js'
import { alignment, uniformity } from './geometry.js'
import { covarianceEigenvalues, effectiveRank, powerLawExponent } from './spectrum.js'

const IMAGES = 1024
/** Effective ranks below these are taken for collapse. */
const LEAST_RANK = 2
const LEAST_SHARE = 0.01

export interface Diagnostics {
  /** Images looked at. */
  images: number
  /** Of the covariance of the clean views' features, largest first. */
  eigenvalues: number[]
  /** Exponent of the eigenvalues' fall with their rank; absent where too few are above 0. */
  alpha?: number
  /** Of the clean views' features, of their width at most. */
  effectiveRank: number
  /** Of two random views an image. */
  alignment: number
  /** Of the clean views' features. */
  uniformity: number
  /** One line, where the features seem to have collapsed. */
  warning?: string
}

export interface DiagnoseOptions {
  recipe: AugmentationRecipe
  /** Draws the images and their random views. */
  seed: number
  /** At most so many images; 1,024 by default. */
  images?: number
}

/**
 * Eigenspectrum, effective rank, alignment and uniformity of the backbone's features in eval mode, on some images.
 *
 * @throws where there are fewer than two images, or a feature is not finite
 */
export async function diagnose(
  engine: Engine,
  backbone: Backbone,
  dataset: ImageDataset,
  { recipe, seed, images = IMAGES }: DiagnoseOptions,
): Promise<Diagnostics> {
  const indices = permutation(seed, 0, dataset.count).subarray(0, images)
  const read = (only: number): Promise<Float32Array> =>
    extractFeatures(engine, backbone, dataset, { recipe, seed, indices, only: [only] })
  const [clean, first, second] = [await read(0), await read(1), await read(2)]
  const { features: width } = backbone
  const eigenvalues = covarianceEigenvalues(clean, width)
  const alpha = powerLawExponent(eigenvalues)
  const rank = effectiveRank(eigenvalues)
  const warning = collapseWarning(rank, width)
  return {
    images: indices.length,
    eigenvalues: Array.from(eigenvalues),
    ...(Number.isFinite(alpha) && { alpha }),
    effectiveRank: rank,
    alignment: alignment([first, second], width),
    uniformity: uniformity(clean, width),
    ...(warning !== undefined && { warning }),
  }
}

/**
 * A line for the user where features use so few of their dimensions that they must have collapsed.
 *
 * @param rank effective rank of the features
 * @param width of the features
 */
export function collapseWarning(rank: number, width: number): string | undefined {
  if (width < 2 || rank >= Math.max(LEAST_RANK, LEAST_SHARE * width)) return undefined
  const what = rank === 0 ? 'all images have the same ones' : `their effective rank is ${rank.toFixed(1)} of ${width}`
  return `the features have collapsed (${what}): raise --lambda or lower --lr`
}
