/** How many steps a run has, and what changes from step to step: the learning rate, and the rate of BYOL's target. */
import type { PretrainConfig } from '../config/config.js'

/** The steps of a run. */
export interface RunLength {
  imagesPerStep: number
  /** Images of an epoch's last step, where the epoch keeps its last partial batch and has one. */
  imagesOfLastStep?: number
  stepsPerEpoch: number
  /** Steps of the whole run. */
  steps: number
}

/** Fewest images of a forward pass: the objectives compare images with each other. */
const LEAST_BATCH = 2

/**
 * An epoch drops its last partial batch unless `lastBatch` is 'keep'. A kept one is split equally among the micro-batches;
 * images that are left over are dropped, and all of them if a micro-batch would have a single image.
 *
 * @param images that the run trains on
 */
export function runLength(
  {
    batch,
    accumulate,
    epochs,
    steps,
    lastBatch,
  }: Pick<PretrainConfig, 'batch' | 'accumulate' | 'epochs' | 'steps' | 'lastBatch'>,
  images: number,
): RunLength {
  const imagesPerStep = batch * accumulate
  const whole = Math.floor(images / imagesPerStep)
  const last = lastBatch === 'keep' ? Math.floor((images - whole * imagesPerStep) / accumulate) : 0
  const keeps = last >= LEAST_BATCH
  const stepsPerEpoch = whole + (keeps ? 1 : 0)
  return {
    imagesPerStep,
    ...(keeps && { imagesOfLastStep: last * accumulate }),
    stepsPerEpoch,
    steps: Math.min(steps ?? Infinity, epochs * stepsPerEpoch),
  }
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
 * 1 − (1 − base) · (1 + cos(π step / steps)) / 2. With 'constant' it stays at base.
 *
 * @param step counted from 0
 */
export const targetRate = (
  step: number,
  steps: number,
  base = 0.99,
  shape: 'cosine' | 'constant' = 'cosine',
): number => (shape === 'constant' ? base : 1 - (1 - base) * halfCosine(step / steps))

/** (1 + cos(π progress)) / 2: falls from 1 at 0 to 0 at 1 and stays there. */
const halfCosine = (progress: number): number => (1 + Math.cos(Math.PI * Math.min(1, progress))) / 2
