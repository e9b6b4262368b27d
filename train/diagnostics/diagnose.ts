/** What a backbone's features look like without any labels. */
import { permutation, type Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import type { ImageDataset } from '../data/dataset.js'
import { objectives, type ObjectiveName } from '../objectives/index.js'
import { batchFor, featureExtractor } from '../readout/features.js'
import { alignment, uniformity } from './geometry.js'
import { covarianceEigenvalues, effectiveRank, powerLawExponent } from './spectrum.js'

const IMAGES = 1024
/** Effective ranks below these are taken for collapse. */
const LEAST_RANK = 2
const LEAST_SHARE = 0.01

/** Of the clean views' features. */
export interface Spectrum {
  /** Of their covariance, largest first. */
  eigenvalues: number[]
  /** Exponent of the eigenvalues' fall with their rank; absent where too few are above 0. */
  alpha?: number
  /** Of their width at most. */
  effectiveRank: number
  /** One line, where the features seem to have collapsed. */
  warning?: string
}

export interface Diagnostics extends Spectrum {
  /** Images looked at. */
  images: number
  /** Of two random views an image. */
  alignment: number
  /** Of the clean views' features. */
  uniformity: number
}

export interface DiagnoseOptions {
  recipe: AugmentationRecipe
  /** Draws the images and their random views. */
  seed: number
  /** What the backbone was trained with: whose parameter a warning names. */
  objective: ObjectiveName
  /** At most so many images; 1,024 by default. */
  images?: number
  /** Of them so many for alignment and uniformity, which compares all pairs; all by default. */
  pairedImages?: number
  /** Images at a time; by default as many as keep an activation at 64 MiB. */
  batch?: number
}

/** A diagnosis of one backbone on the same images each time, recorded once. */
export interface Diagnosis {
  spectrum(): Promise<Spectrum>
  read(): Promise<Diagnostics>
  release(): void
}

/** @throws in `spectrum` and `read`, where there are fewer than two images or a feature is not finite */
export async function diagnosis(
  engine: Engine,
  backbone: Backbone,
  dataset: ImageDataset,
  { recipe, seed, objective, images = IMAGES, pairedImages = images, batch }: DiagnoseOptions,
): Promise<Diagnosis> {
  const indices = permutation(seed, 0, dataset.count).subarray(0, images)
  const paired = indices.subarray(0, pairedImages)
  const { features: width } = backbone
  const most = batch ?? batchFor(backbone, recipe.size)
  const extractor = await featureExtractor(engine, backbone, dataset, { recipe, batch: Math.min(most, indices.length) })
  const view = (number: number, indices: Uint32Array): Promise<Float32Array> =>
    extractor.read({ seed, indices, only: [number] })
  const spectrumOf = (clean: Float32Array): Spectrum => {
    const eigenvalues = covarianceEigenvalues(clean, width)
    const alpha = powerLawExponent(eigenvalues)
    const rank = effectiveRank(eigenvalues)
    const warning = collapseWarning(rank, width, objective)
    return {
      eigenvalues: Array.from(eigenvalues),
      ...(Number.isFinite(alpha) && { alpha }),
      effectiveRank: rank,
      ...(warning !== undefined && { warning }),
    }
  }
  return {
    spectrum: async () => spectrumOf(await view(0, indices)),
    async read() {
      const [clean, first, second] = [await view(0, indices), await view(1, paired), await view(2, paired)]
      return {
        images: indices.length,
        ...spectrumOf(clean),
        alignment: alignment([first, second], width),
        uniformity: uniformity(clean.subarray(0, paired.length * width), width),
      }
    },
    release: () => extractor.release(),
  }
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
  options: DiagnoseOptions,
): Promise<Diagnostics> {
  const once = await diagnosis(engine, backbone, dataset, options)
  try {
    return await once.read()
  } finally {
    once.release()
  }
}

/**
 * A line for the user where features use so few of their dimensions that they must have collapsed.
 *
 * @param rank effective rank of the features
 * @param width of the features
 * @param objective what they were trained with
 */
export function collapseWarning(rank: number, width: number, objective: ObjectiveName): string | undefined {
  if (width < 2 || rank >= Math.max(LEAST_RANK, LEAST_SHARE * width)) return undefined
  const what = rank === 0 ? 'all images have the same ones' : `their effective rank is ${rank.toFixed(1)} of ${width}`
  const { parameter, stronger } = objectives[objective].remedy
  return `the features have collapsed (${what}): ${stronger} \`${parameter}\` or lower \`lr\``
}
