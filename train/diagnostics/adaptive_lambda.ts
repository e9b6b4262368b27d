/** Adapts λ to the eigenspectrum of the features during pretraining. */

const RATE = 0.001
/** Exponents between these do not change λ. */
const FLATTEST = 0.8
const STEEPEST = 1.2

/**
 * The weight of the orthogonality constraint in the next epoch, as the paper's research code adapts it: λ + 0.001 ·
 * (max(0, α − 1.2) − max(0, 0.8 − α)), at least 0. A steep spectrum, which is close to collapse, gets a stronger
 * constraint; a flat one gets a weaker constraint.
 *
 * @param alpha from `powerLawExponent`; NaN does not change λ
 */
export function adaptLambda(lambda: number, alpha: number): number {
  if (Number.isNaN(alpha)) return lambda
  return Math.max(0, lambda + RATE * (Math.max(0, alpha - STEEPEST) - Math.max(0, FLATTEST - alpha)))
}
