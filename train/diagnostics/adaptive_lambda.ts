/** λ that follows the eigenspectrum during pretraining. */

const RATE = 0.001
/** Exponents between these leave λ as it is. */
const FLATTEST = 0.8
const STEEPEST = 1.2

/**
 * The next epoch's weight of the orthogonality constraint, as the research code adapts it once an epoch:
 * λ + .001 · (max(0, α − 1.2) − max(0, .8 − α)), never below 0. A spectrum that falls steeply, towards collapse, gets a
 * stronger constraint; a flat one a weaker.
 *
 * @param alpha of `powerLawExponent`; where it is NaN, λ stays
 */
export function adaptLambda(lambda: number, alpha: number): number {
  if (Number.isNaN(alpha)) return lambda
  return Math.max(0, lambda + RATE * (Math.max(0, alpha - STEEPEST) - Math.max(0, FLATTEST - alpha)))
}
