/** How many steps a run has, and what changes from step to step: the learning rate, and the rate of BYOL's target. */
import type { PretrainConfig } from '../config/config.js'

/** The steps of a run. Epochs drop the last partial batch. */
export interface RunLength {
  imagesPerStep: number
  stepsPerEpoch: number
  /** Steps of the whole run. */
  steps: number
}

/** @param images that the run trains on */
export function runLength(
  { batch, accumulate, epochs, steps }: Pick<PretrainConfig, 'batch' | 'accumulate' | 'epochs' | 'steps'>,
  images: number,
): RunLength {
  const imagesPerStep = batch * accumulate
  const stepsPerEpoch = Math.floor(images / imagesPerStep)
  return { imagesPerStep, stepsPerEpoch, steps: Math.min(steps ?? Infinity, epochs * stepsPerEpoch) }
}

export interface Schedule {
  /** The highest learning rate. */
  lr: number
  /** 'constant', or 'cosine' (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983) down to floor · lr. */
  shape: 'constant' | 'cosine'
  /** Steps over which the rate rises linearly to lr before the shape begins. */
  warmupSteps: number
  /** Steps of the whole run. */
  steps: number
  /** Share of lr at which the cosine ends, from 0 to 1. */
  floor: number
}

/** The schedule of a run's learning rate. */
export const scheduleOf = (
  { lr, schedule: shape, warmupEpochs, lrFloor }: PretrainConfig,
  { stepsPerEpoch, steps }: RunLength,
): Schedule => ({ lr, shape, warmupSteps: Math.round(warmupEpochs * stepsPerEpoch), steps, floor: lrFloor ?? 1 })

/**
 * The learning rate of a step. The first step of a warm-up of w steps has lr / w, its last step has lr. The cosine
 * begins at lr and reaches its floor one step after the last step of the run; then it stays there.
 *
 * @param step counted from 0
 */
export function learningRate(step: number, { lr, shape, warmupSteps, steps, floor }: Schedule): number {
  if (step < warmupSteps) return (lr * (step + 1)) / warmupSteps
  if (shape === 'constant') return lr
  return lr * (floor + (1 - floor) * halfCosine((step - warmupSteps) / (steps - warmupSteps)))
}

/**
 * The rate of the moving average that makes BYOL's targets (Grill et al. 2020). It rises from base to 1:
 * 1 − (1 − base) · (1 + cos(π step / steps)) / 2.
 *
 * @param step counted from 0
 */
export const targetRate = (step: number, steps: number, base = 0.99): number =>
  1 - (1 - base) * halfCosine(step / steps)

/** (1 + cos(π progress)) / 2: falls from 1 at 0 to 0 at 1 and stays there. */
const halfCosine = (progress: number): number => (1 + Math.cos(Math.PI * Math.min(1, progress))) / 2
