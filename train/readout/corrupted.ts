/** A linear probe on corrupted test images: how much of its accuracy stays when images differ from the training images. */
import type { Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import { corrupted, corruptionNames, type CorruptionName } from '../data/corruptions.js'
import { inMemory, type ImageDataset } from '../data/dataset.js'
import { extractFeatures } from './features.js'
import { accuracies, applyLinear, type LinearProbe } from './linear_probe.js'

const SEED = 1

/** Share of the test images with one corruption whose label has the largest logit, with one clean view each. */
export interface CorruptedAccuracy {
  corruption: CorruptionName
  top1: number
}

/** @param severity 1 to 5 */
export async function readCorrupted(
  engine: Engine,
  backbone: Backbone,
  test: ImageDataset,
  { weight, bias }: LinearProbe,
  { recipe, severity }: { recipe: AugmentationRecipe; severity: number },
): Promise<CorruptedAccuracy[]> {
  const clean = await inMemory(test)
  const list: CorruptedAccuracy[] = []
  for (const corruption of corruptionNames) {
    const images = corrupted(clean, corruption, severity, SEED)
    const features = await extractFeatures(engine, backbone, images, { recipe, seed: SEED })
    const { top1 } = accuracies(applyLinear(features, backbone.features, weight, bias), images.labels)
    list.push({ corruption, top1 })
  }
  return list
}
