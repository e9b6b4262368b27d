/** Diagnoses a backbone's features without labels: spectrum, effective rank, alignment and uniformity. */
import { permutation, type Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import type { ImageDataset } from '../data/dataset.js'
import type { ObjectiveName } from '../objectives/index.js'
import { batchFor, featureExtractor } from '../readout/features.js'
import { collapseWarning } from './collapse.js'
import { alignment, uniformity } from './geometry.js'
import { lidar, rankMe, WIDEST } from './ranks.js'
import { covarianceEigenvalues, effectiveRank, powerLawExponent } from './spectrum.js'

const IMAGES = 1024

/** The spectrum of the features of clean views. */
export interface Spectrum {
  /** Eigenvalues of their covariance, largest first. */
  eigenvalues: number[]
  /** The exponent α of eigenvalues that fall as rank^−α; absent if too few of them are above 0. */
  alpha?: number
  /** At most the width of the features. */
  effectiveRank: number
  /** One line, if the features have collapsed. */
  warning?: string
}

/** How features lie on the unit sphere. */
export interface Geometry {
  /** Alignment of two random views per image. */
  alignment: number
  /** Uniformity of the features of clean views. */
  uniformity: number
}

/** Ranks that predict probe accuracy without labels; absent for features wider than 512, where they take too long. */
export interface Ranks {
  /** Of the features of clean views. */
  rankMe?: number
  /** Of two random views per image. */
  lidar?: number
}

export interface Diagnostics extends Spectrum, Geometry, Ranks {
  /** Number of images. */
  images: number
}

export interface DiagnoseOptions {
  recipe: AugmentationRecipe
  /** Chooses the images and draws their random views. */
  seed: number
  /** The objective that trained the backbone; a warning names its parameter. */
  objective: ObjectiveName
  /** Largest number of images; 1,024 by default. */
  images?: number
  /** Largest number of these for alignment and uniformity, which compares all pairs; all by default. */
  pairedImages?: number
  /** Images per batch; by default as many as keep an activation within 64 MiB. */
  batch?: number
}

/** A diagnosis of one backbone, recorded once and read any number of times on the same images. */
export interface Diagnosis {
  spectrum(): Promise<Spectrum>
  read(): Promise<Diagnostics>
  release(): void
}

/** @throws Error from `spectrum` and `read`, if there are fewer than two images or a feature is not finite */
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
  const spectrumOf = (clean: Float32Array, geometry: Partial<Geometry> = {}): Spectrum => {
    const eigenvalues = covarianceEigenvalues(clean, width)
    const alpha = powerLawExponent(eigenvalues)
    const rank = effectiveRank(eigenvalues)
    const warning = collapseWarning({ ...geometry, effectiveRank: rank, width }, objective)
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
      const geometry: Geometry = {
        alignment: alignment([first, second], width),
        uniformity: uniformity(clean.subarray(0, paired.length * width), width),
      }
      const ranks: Ranks = width > WIDEST ? {} : { rankMe: rankMe(clean, width), lidar: lidar([first, second], width) }
      return { images: indices.length, ...spectrumOf(clean, geometry), ...geometry, ...ranks }
    },
    release: () => extractor.release(),
  }
}

/**
 * Reads eigenspectrum, effective rank, alignment and uniformity of a backbone's features, in eval mode.
 *
 * @throws Error if there are fewer than two images, or a feature is not finite
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
