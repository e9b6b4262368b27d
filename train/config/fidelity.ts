/**
 * `fidelity: research-code`: what the paper's research code runs, as far as it differs from good practice. Each difference is
 * an option of its own too. The facts are from https://github.com/kumarkrishna/fastssl, branches `main` and
 * `arna/imagenet-try`, and from the loaders that it uses (FFCV, FFCV-SSL, OpenCV).
 *
 * Not repeated: its loaders round pixels to bytes after resizing and after the colour jitter, and its autocast computes in
 * f16 what this engine stores in f16.
 */
import { recipes } from '../augment/recipe.js'

export const fidelities = ['research-code'] as const

/** Differences of every objective. */
const common = {
  /** It never sets weights, so they are PyTorch's defaults, and no batch-norm scale starts at 0. */
  initialWeights: 'pytorch',
  zeroInitResidual: false,
  /** It removes the ReLU of the stem together with the max-pool. */
  stemRelu: false,
  /** It stacks all views before the network. */
  bn: 'joint',
  /** Its loaders keep the last batch. */
  lastBatch: 'keep',
} as const

/** Differences of BYOL: one direction, a constant rate, and no batch-norm in the predictor. */
const ofPredictor = { symmetric: false, targetRate: 0.99, targetSchedule: 'constant', predictorNorm: false } as const

/** Differences of ImageNet-100: crops come from whole files of up to 500 pixels. Packed, they take 0.75 MB each. */
const ofFolder = { resize: 'whole', resolution: 500 } as const

/** The options that the switch decides. */
export const fidelityFields: readonly string[] = [common, ofPredictor, ofFolder].flatMap((some) => Object.keys(some))

/** The values of these options. @param predictor whether the objective has a predictor */
export const fidelityOptions = (data: string, predictor: boolean) => ({
  ...common,
  ...(predictor && ofPredictor),
  ...(data === 'folder' && ofFolder),
})

/** The augmentation as the research code runs it, where it has one; otherwise the same. */
export function recipeOfFidelity(recipe: string): string {
  const own = `${recipe}-research-code`
  return Object.hasOwn(recipes, own) ? own : recipe
}
