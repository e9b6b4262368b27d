/**
 * Gradients at a second point: sharpness-aware minimisation and the extragradient method. Both wrap any optimiser: they take
 * the place of `gradients`, and the optimiser then gets what they return.
 */
import { gradients } from './autograd.js'
import { constant, type Variable } from './leaves.js'
import { clipByGlobalNorm } from './ops/clip.js'
import { add, affine, divide, multiply } from './ops/elementwise.js'
import type { Optimizer } from './ops/optimizers.js'
import { apply, reachable, ShapeError, type Value } from './value.js'

/**
 * The same graphs with some Values replaced: everything between a replaced Value and the results is built again.
 *
 * @param values the results to build again
 * @param replaced for each Value its replacement of the same shape and type
 * @returns the new results; those that depend on no replaced Value stay as they are
 */
export function substituted(values: readonly Value[], replaced: ReadonlyMap<Value, Value>): Value[] {
  const now = new Map(replaced)
  for (const { op, inputs, attributes, outputs } of reachable(values)) {
    if (!inputs.some((v) => now.has(v))) continue
    const again = apply(
      op,
      inputs.map((v) => now.get(v) ?? v),
      attributes,
    )
    outputs.forEach((v, i) => now.set(v, again[i]))
  }
  return values.map((v) => now.get(v) ?? v)
}

export interface SecondGradientOptions {
  /** [1], a factor on the loss, as for `gradients`. */
  seed?: Value
}

/** The gradients of a loss where the parameters have other values. */
function gradientsAt(
  loss: Value,
  parameters: readonly Variable[],
  there: readonly Value[],
  { seed }: SecondGradientOptions,
): Value[] {
  const [elsewhere] = substituted([loss], new Map(parameters.map((p, i) => [p, there[i]])))
  return gradients(elsewhere, there, seed)
}

/** Keeps the quotient finite where the gradient is 0. */
const TINY = 1e-12

/**
 * Sharpness-aware minimisation, SAM (Foret et al. 2021, https://arxiv.org/abs/2010.01412): the gradient where the loss is
 * about largest within a ball around the parameters w.
 *
 *   g₁ = ∇L(w),  result = ∇L(w + ρ g₁ / ‖g₁‖),  with the norm over all parameters together
 *
 * No gradient flows through the perturbation. A step costs a second forward and backward pass.
 *
 * @param loss one element, f32
 * @param parameters on which the loss depends
 * @param radius ρ, above 0; 0.05 in most runs of its authors
 * @returns the gradients, of the parameters' shapes, for an optimiser
 */
export function sharpnessAware(
  loss: Value,
  parameters: readonly Variable[],
  { radius = 0.05, seed }: SecondGradientOptions & { radius?: number } = {},
): Value[] {
  if (!(radius > 0)) throw new ShapeError(`sharpnessAware: the radius ${radius} must be above 0`)
  const here = gradients(loss, parameters, seed)
  const { norm } = clipByGlobalNorm(here, 1)
  const factor = divide(constant([radius]), affine(norm, 1, TINY))
  const there = parameters.map((p, i) => add(p, multiply(here[i], factor)))
  return gradientsAt(loss, parameters, there, { seed })
}

/**
 * The extragradient method (Korpelevich 1976; for stochastic gradients and Adam Gidel et al. 2019,
 * https://arxiv.org/abs/1802.10551): the gradient where the optimiser's own step would lead.
 *
 *   w' = step(w, ∇L(w)),  result = ∇L(w')
 *
 * The optimiser then steps from w with the result. Its moments take only this second gradient.
 *
 * @param loss one element, f32
 * @param parameters of the optimiser
 * @param rate the learning rate [1] of the step to w'
 * @returns the gradients, of the parameters' shapes
 */
export function extragradient(
  loss: Value,
  parameters: readonly Variable[],
  optimizer: Pick<Optimizer, 'updates'>,
  rate: Value,
  options: SecondGradientOptions = {},
): Value[] {
  const next = new Map(
    optimizer.updates(gradients(loss, parameters, options.seed), rate).map(({ variable, value }) => [variable, value]),
  )
  return gradientsAt(
    loss,
    parameters,
    parameters.map((p) => next.get(p) ?? p),
    options,
  )
}
