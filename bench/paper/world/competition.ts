/**
 * The gradient flow of the idealised loss where d functions compete for more eigenfunctions than d. In the basis of the
 * eigenfunctions, with coefficients C [modes, d] and eigenvalues λ:
 *
 *   dC/dt = −2 (1 − λ)² C − 4β C (CᵀC − I)
 *
 * The functions with eigenvalue 0 are many. Only their products count, so d modes with the same products stand for them.
 */
import { Matrix } from 'ml-matrix'
import { Purpose, RandomStream } from '../../../engine/index.js'
import { effectiveRankOf, principalCosines } from './spans.js'

export interface FlowOptions {
  beta: number
  /** Number of functions d. */
  width: number
  /** Standard deviation of the initial coefficients. */
  initial: number
  /** Number of eigenfunctions with eigenvalue 0. */
  nullModes: number
  /** Length of a step, in units of the time of the flow. */
  step: number
  /** Last time. */
  until: number
  /** Number of readings, with equal ratios of their times. */
  readings: number
  seed: number
}

export interface FlowReading {
  time: number
  effectiveRank: number
  /** cos² of the principal angles between the span and the d dominant eigenfunctions, largest first. */
  cosines: number[]
  /** Share of the functions' mean square in each of the d dominant eigenfunctions. */
  shares: number[]
  /** Mean square of the functions, ‖C‖² / d. */
  energy: number
}

/** @param eigenvalues largest first, without that of the constant function */
export function flow(
  eigenvalues: ArrayLike<number>,
  { beta, width, initial, nullModes, step, until, readings, seed }: FlowOptions,
): FlowReading[] {
  const costs = [...Array.from(eigenvalues, (λ) => (1 - λ) ** 2), ...Array.from({ length: width }, () => 1)]
  const modes = costs.length
  const random = new RandomStream(seed, Purpose.weights)
  const C = Float64Array.from({ length: modes * width }, () => initial * random.normal())
  // The products of many random coefficients are their number times the identity.
  C.fill(0, eigenvalues.length * width)
  for (let k = 0; k < width; k++) C[(eigenvalues.length + k) * width + k] = initial * Math.sqrt(nullModes)
  const list: FlowReading[] = []
  const first = step
  const timeOf = (i: number): number => first * (until / first) ** (i / (readings - 1))
  const steps = Math.round(until / step)
  for (let at = 1; at <= steps; at++) {
    advance(C, costs, width, beta, step)
    if (at * step >= timeOf(list.length) - step / 2 && list.length < readings) {
      list.push(reading(at * step, C, modes, width))
      while (list.length < readings && timeOf(list.length) <= at * step + step / 2) list.push(list[list.length - 1])
    }
  }
  return list.filter((one, i) => i === 0 || one !== list[i - 1])
}

function advance(C: Float64Array, costs: readonly number[], width: number, beta: number, step: number): void {
  const modes = costs.length
  const excess = new Float64Array(width * width)
  for (let k = 0; k < width; k++)
    for (let l = 0; l < width; l++) {
      let product = 0
      for (let i = 0; i < modes; i++) product += C[i * width + k] * C[i * width + l]
      excess[k * width + l] = product - (k === l ? 1 : 0)
    }
  const row = new Float64Array(width)
  for (let i = 0; i < modes; i++) {
    for (let k = 0; k < width; k++) row[k] = C[i * width + k]
    for (let k = 0; k < width; k++) {
      let pull = 0
      for (let l = 0; l < width; l++) pull += row[l] * excess[l * width + k]
      C[i * width + k] -= step * (2 * costs[i] * row[k] + 4 * beta * pull)
    }
  }
}

function reading(time: number, C: Float64Array, modes: number, width: number): FlowReading {
  const matrix = Matrix.from1DArray(modes, width, C)
  const energies = Array.from({ length: modes }, (_, i) => matrix.getRow(i).reduce((sum, c) => sum + c * c, 0))
  const total = energies.reduce((a, b) => a + b, 0)
  return {
    time,
    effectiveRank: effectiveRankOf(matrix),
    cosines: principalCosines(matrix),
    shares: energies.slice(0, width).map((energy) => energy / total),
    energy: total / width,
  }
}
