/** LeJEPA (Balestriero & LeCun 2025, https://arxiv.org/abs/2511.08544): SIGReg and the views' distance from their mean. */
import {
  add,
  constant,
  cos,
  matmul,
  mean,
  multiply,
  Purpose,
  RandomStream,
  reshape,
  scale,
  sin,
  square,
  subtract,
  sumProducts,
  type Value,
} from '../../engine/index.js'
import { byView, distanceFromMean, type LossParts } from './views.js'

/** The points t at which characteristic functions are compared: 16 steps from 0 to 3; both are 1 at 0. */
const STEPS = 16
const LARGEST = 3

/**
 * SIGReg compares the distribution of each view's embeddings with a standard normal one, along directions a of unit length:
 * the statistic of Epps and Pulley, with the trapezoidal rule. z is neither normalised nor standardised; z̄ is the mean over
 * the views.
 *
 *   T(a) = B ∫ |(1/B) Σ_b exp(i t aᵀz_b) − exp(−t²/2)|² exp(−t²/2) dt, t from −3 to 3
 *   loss = λ · mean T over views and directions + (1 − λ) · (1/(mBd)) Σᵢ ‖zᵢ − z̄‖²
 *
 * The directions are drawn once. The authors draw new ones in each step.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @param options `lambda`: weight of SIGReg, .02 in the authors' minimal example; `slices`: number of directions
 * @param parts takes the parts `gaussianity` and `invariance`
 * @returns the loss, a scalar [1]
 */
export function lejepa(
  z: Value,
  { views, lambda, slices }: { views: number; lambda: number; slices: number },
  parts: LossParts = {},
): Value {
  const { each, batch: B, width: d } = byView('lejepa', z, views)
  const along = matmul(z, constant(directions(d, slices), [d, slices]))
  const points = Array.from({ length: STEPS }, (_, i) => ((i + 1) * LARGEST) / STEPS)
  const turned = multiply(reshape(along, [views, B, slices, 1]), constant(points, [STEPS]))
  const normal = constant(
    points.map((t) => Math.exp((-t * t) / 2)),
    [STEPS],
  )
  const distance = add(square(subtract(mean(cos(turned), [1]), normal)), square(mean(sin(turned), [1])))
  // Twice the integral over t from 0; the last point has half a step.
  const weights = points.map((t, i) => ((i + 1 < STEPS ? 2 : 1) * LARGEST * Math.exp((-t * t) / 2)) / STEPS)
  const statistic = scale(sumProducts(distance, constant(weights, [STEPS])), B / (views * slices))
  parts.gaussianity = scale(statistic, lambda)
  parts.invariance = scale(distanceFromMean(each), (1 - lambda) / (views * B * d))
  return add(parts.gaussianity, parts.invariance)
}

/** Columns of unit length, uniform on the sphere: [d, slices]. */
export function directions(d: number, slices: number): Float32Array<ArrayBuffer> {
  const stream = new RandomStream(0, Purpose.weights, d, slices)
  const drawn = Float32Array.from({ length: d * slices }, () => stream.normal())
  for (let k = 0; k < slices; k++) {
    const length = Math.hypot(...Array.from({ length: d }, (_, i) => drawn[i * slices + k]))
    for (let i = 0; i < d; i++) drawn[i * slices + k] /= length
  }
  return drawn
}
