/** One step of each optimiser on plain arrays, in place, as PyTorch defines it. `step` counts from 1. */

export interface AdamState {
  m: Float64Array
  v: Float64Array
}

export interface AdamOptions {
  lr: number
  beta1: number
  beta2: number
  epsilon: number
  weightDecay: number
}

function adamUpdate(w: Float64Array, g: Float64Array, state: AdamState, step: number, options: AdamOptions): void {
  const { lr, beta1, beta2, epsilon } = options
  for (let i = 0; i < w.length; i++) {
    state.m[i] = beta1 * state.m[i] + (1 - beta1) * g[i]
    state.v[i] = beta2 * state.v[i] + (1 - beta2) * g[i] ** 2
    const mHat = state.m[i] / (1 - beta1 ** step)
    const vHat = state.v[i] / (1 - beta2 ** step)
    w[i] = w[i] - (lr * mHat) / (Math.sqrt(vHat) + epsilon)
  }
}

/** Adam, with weight decay added to the gradient. */
export function adam(
  w: Float64Array,
  gradient: Float64Array,
  state: AdamState,
  step: number,
  options: AdamOptions,
): void {
  adamUpdate(
    w,
    gradient.map((g, i) => g + options.weightDecay * w[i]),
    state,
    step,
    options,
  )
}

/** AdamW: the weights decay by lr * weightDecay, separately from the gradient. */
export function adamW(
  w: Float64Array,
  gradient: Float64Array,
  state: AdamState,
  step: number,
  options: AdamOptions,
): void {
  for (let i = 0; i < w.length; i++) w[i] = w[i] * (1 - options.lr * options.weightDecay)
  adamUpdate(w, gradient, state, step, options)
}

/**
 * SGD with momentum: v = momentum v + g + weightDecay w (v starts as 0); w -= lr v, or lr (g + momentum v) for
 * Nesterov.
 */
export function sgd(
  w: Float64Array,
  gradient: Float64Array,
  velocity: Float64Array,
  {
    lr,
    momentum,
    weightDecay,
    nesterov = false,
  }: { lr: number; momentum: number; weightDecay: number; nesterov?: boolean },
): void {
  for (let i = 0; i < w.length; i++) {
    const g = gradient[i] + weightDecay * w[i]
    velocity[i] = momentum * velocity[i] + g
    w[i] = w[i] - lr * (nesterov ? g + momentum * velocity[i] : velocity[i])
  }
}

/**
 * LARS: v = momentum v + q (g + weightDecay w), w -= lr v, with q = coefficient |w| / |g + weightDecay w|, or 1 where
 * either norm is 0. Exempt tensors have q = 1 and no weight decay.
 */
export function lars(
  w: Float64Array,
  gradient: Float64Array,
  velocity: Float64Array,
  {
    lr,
    momentum,
    weightDecay,
    coefficient,
    exempt,
  }: { lr: number; momentum: number; weightDecay: number; coefficient: number; exempt: boolean },
): void {
  const g = gradient.map((v, i) => v + (exempt ? 0 : weightDecay * w[i]))
  const [top, bottom] = [Math.hypot(...w), Math.hypot(...g)]
  const q = exempt || top === 0 || bottom === 0 ? 1 : (coefficient * top) / bottom
  for (let i = 0; i < w.length; i++) {
    velocity[i] = momentum * velocity[i] + q * g[i]
    w[i] -= lr * velocity[i]
  }
}
