/** What changes from step to step, as pure functions of the step: the learning rate, and the rate of BYOL's target. */

export interface Schedule {
  /** The learning rate at its highest. */
  lr: number
  /** 'constant', or 'cosine' (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983) down to floor · lr. */
  shape: 'constant' | 'cosine'
  /** Steps over which the rate rises linearly to lr, before the shape begins. */
  warmupSteps: number
  /** Steps of the whole run. */
  steps: number
  /** Share of lr at which the cosine ends, from 0 to 1. */
  floor: number
}

/**
 * The learning rate of a step. The first step of a warm-up of w steps has lr / w, its last has lr. The cosine begins at lr
 * and would reach the floor one step after the run's last; it stays there.
 *
 * @param step counted from 0
 */
export function learningRate(step: number, { lr, shape, warmupSteps, steps, floor }: Schedule): number {
  if (step < warmupSteps) return (lr * (step + 1)) / warmupSteps
  if (shape === 'constant') return lr
  return lr * (floor + (1 - floor) * halfCosine((step - warmupSteps) / (steps - warmupSteps)))
}

/**
 * The rate of the moving average that makes BYOL's targets (Grill et al. 2020): 1 − (1 − base) · (1 + cos(π step / steps)) / 2,
 * from base to 1.
 *
 * @param step counted from 0
 */
export const targetRate = (step: number, steps: number, base = 0.99): number =>
  1 - (1 - base) * halfCosine(step / steps)

/** From 1 at 0 to 0 at 1, and there beyond it. */
const halfCosine = (progress: number): number => (1 + Math.cos(Math.PI * Math.min(1, progress))) / 2
