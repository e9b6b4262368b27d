/**
 * Learning dynamics on a circle, where everything is known in closed form. Augmentations rotate a point by U[−a, a], and
 * functions on the circle have mean zero. The eigenfunctions of the averaging operator T are cos kθ and sin kθ, with
 * eigenvalue λₖ = sin(ka) / (ka). Gradient descent on
 *
 *   (1/N) ‖T F − F‖² + β ‖Fᵀ F / N − I‖²
 *
 * leads each eigenfunction to the squared scale max(0, 1 − (1 − λₖ)² / (2β)).
 */
import {
  Purpose,
  RandomStream,
  add,
  assign,
  constant,
  crossCorrelation,
  gradients,
  matmul,
  orthogonalityLoss,
  scale,
  square,
  subtract,
  sum,
  variable,
  type Engine,
} from '../../../engine/index.js'
import { mean } from '../../report/statistics.js'

/** Largest rotation of the augmentations, in radians: a. */
export const ROTATION = 0.4
/** Standard deviation of the initial function values. */
export const INITIAL = 0.01

/** One training by gradient descent. */
export interface Setting {
  name: string
  beta: number
  /** Length of a step of gradient descent in function space, in units of the time of the gradient flow. */
  step: number
  /** Number of times at which the scales are read. */
  readings: number
  /** Steps between two readings. */
  stride: number
}

/** λₖ = sin(ka) / (ka) */
export const eigenvalue = (k: number): number => Math.sin(k * ROTATION) / (k * ROTATION)

/** The squared scale of the eigenfunctions of frequency k at the minimum of the loss. */
export const closedForm = (k: number, beta: number): number => Math.max(0, 1 - (1 - eigenvalue(k)) ** 2 / (2 * beta))

/** Rows cos kθ and sin kθ with mean square 1 on N points, [N − 1, N]. Row 2(k − 1) is the cosine of frequency k. */
function basis(points: number): Float32Array {
  const rows = new Float32Array((points - 1) * points)
  for (let k = 1; k <= (points - 1) / 2; k++)
    for (let i = 0; i < points; i++) {
      const angle = (2 * Math.PI * k * i) / points
      rows[2 * (k - 1) * points + i] = Math.SQRT2 * Math.cos(angle)
      rows[(2 * k - 1) * points + i] = Math.SQRT2 * Math.sin(angle)
    }
  return rows
}

/** Σₖ f(k) · (projection on frequency k), k ≥ 1, [N, N]. */
function circulant(points: number, f: (k: number) => number): Float32Array {
  const frequencies = (points - 1) / 2
  const matrix = new Float32Array(points * points)
  for (let i = 0; i < points; i++)
    for (let j = 0; j < points; j++) {
      let total = 0
      for (let k = 1; k <= frequencies; k++)
        total += f(k) * (2 / points) * Math.cos((2 * Math.PI * k * (i - j)) / points)
      matrix[i * points + j] = total
    }
  return matrix
}

/** At each time the mean squared scale of the two eigenfunctions of each frequency, from k = 1. */
export interface Trajectory {
  times: number[]
  /** [time][frequency − 1] */
  scales: number[][]
}

/**
 * Gradient descent on a table of function values [N, N − 1], which has a column for each eigenfunction.
 *
 * @param points N, odd
 * @param onReading called after each reading with the number of readings
 */
export async function descend(
  engine: Engine,
  points: number,
  seed: number,
  { beta, step, readings, stride }: Setting,
  onReading?: (done: number) => void,
): Promise<Trajectory> {
  const width = points - 1
  const table = variable('table', [points, width], () => {
    const random = new RandomStream(seed, Purpose.weights)
    return Float32Array.from({ length: points * width }, () => INITIAL * random.normal())
  })
  const operator = (f: (k: number) => number) => constant(circulant(points, f), [points, points])
  // This projection removes the mean of the functions.
  const z = matmul(
    operator(() => 1),
    table,
  )
  const averaged = matmul(operator(eigenvalue), table)
  const invariance = scale(sum(square(subtract(averaged, z))), 1 / points)
  const loss = add(invariance, scale(orthogonalityLoss(crossCorrelation(z, z)), beta))
  const [gradient] = gradients(loss, [table])
  const coefficients = scale(matmul(constant(basis(points), [width, points]), z), 1 / points)
  // The loss is a mean over N points, so its gradient in the table is N times smaller than in function space.
  const next = subtract(table, scale(gradient, step * points))
  const program = await engine.compile({
    label: 'dynamics',
    updates: [assign(table, next)],
    outputs: { scales: sum(square(coefficients), [1]) },
  })
  const result: Trajectory = { times: [], scales: [] }
  try {
    for (let at = 0; at < readings * stride; at++) {
      await program.run()
      if (at % stride) continue
      const each = await program.read('scales')
      result.times.push(at * step)
      result.scales.push(Array.from({ length: width / 2 }, (_, k) => (each[2 * k] + each[2 * k + 1]) / 2))
      onReading?.(at / stride + 1)
    }
    return result
  } finally {
    program.destroy()
    engine.release(table)
  }
}

/** The time at which each frequency reaches half of its final squared scale, by linear interpolation. */
export function halfTimes({ times, scales }: Trajectory, frequencies: readonly number[]): number[] {
  return frequencies.map((k) => {
    const energies = scales.map((at) => at[k - 1])
    const half = energies[energies.length - 1] / 2
    const after = energies.findIndex((energy) => energy >= half)
    if (after === 0) return times[0]
    const share = (half - energies[after - 1]) / (energies[after] - energies[after - 1])
    return times[after - 1] + share * (times[after] - times[after - 1])
  })
}

/** (largest − smallest) / mean: 0 if all values are equal. */
export function relativeSpread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / mean(values)
}

/** The largest difference between a final squared scale and its closed form. */
export const largestError = ({ scales }: Trajectory, beta: number): number =>
  Math.max(...scales[scales.length - 1].map((value, i) => Math.abs(value - closedForm(i + 1, beta))))
