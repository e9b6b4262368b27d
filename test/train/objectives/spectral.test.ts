/**
 * The spectral objective on a circle of points that augmentations shift. There T is a matrix, and all draws of m views can
 * be listed.
 */
import { describe, expect, test } from 'vitest'
import {
  assign,
  constant,
  gradients,
  input,
  matmul,
  Purpose,
  RandomStream,
  scale,
  square,
  subtract,
  sum,
  variable,
  type Value,
} from '../../../engine/index.js'
import { estimators, spectral, type Estimator } from '../../../train/objectives/spectral.js'
import { objectives, resolveObjective } from '../../../train/objectives/index.js'
import type { LossParts } from '../../../train/objectives/views.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

const [POINTS, WIDTH, BETA] = [7, 3, 0.6]
/** An augmentation shifts a point by one of these, each with the same probability. */
const SHIFTS = [-1, 0, 1]

/** Every sequence of m shifts. */
const draws = (m: number): number[][] =>
  m === 0 ? [[]] : draws(m - 1).flatMap((rest) => SHIFTS.map((shift) => [...rest, shift]))

const shifted = (point: number, by: number): number => (point + by + POINTS) % POINTS

/** The point of each row: every point under every draw of m views; view-major. */
function rowsOf(m: number): { views: number[]; clean: number[]; batch: number } {
  const all = draws(m).flatMap((draw) => Array.from({ length: POINTS }, (_, point) => ({ draw, point })))
  return {
    views: Array.from({ length: m }, (_, a) => all.map(({ draw, point }) => shifted(point, draw[a]))).flat(),
    clean: all.map(({ point }) => point),
    batch: all.length,
  }
}

/** Function values at points, [points, WIDTH], row-major. */
const at = (table: ArrayLike<number>, points: readonly number[]): Float32Array =>
  Float32Array.from(points.flatMap((point) => Array.from({ length: WIDTH }, (_, k) => table[point * WIDTH + k])))

/** (1/N) ‖T F − F‖² with T as a matrix, in f64. */
function exactInvariance(table: ArrayLike<number>): number {
  let total = 0
  for (let point = 0; point < POINTS; point++)
    for (let k = 0; k < WIDTH; k++) {
      const averaged = SHIFTS.reduce((s, by) => s + table[shifted(point, by) * WIDTH + k], 0) / SHIFTS.length
      total += (averaged - table[point * WIDTH + k]) ** 2 / POINTS
    }
  return total
}

/** The mean over points of the variance of a view of the point, in f64. */
function varianceOfView(table: ArrayLike<number>): number {
  let total = 0
  for (let point = 0; point < POINTS; point++)
    for (let k = 0; k < WIDTH; k++) {
      const values = SHIFTS.map((by) => table[shifted(point, by) * WIDTH + k])
      const centre = values.reduce((a, b) => a + b) / values.length
      total += values.reduce((s, v) => s + (v - centre) ** 2, 0) / values.length / POINTS
    }
  return total
}

async function invarianceOf(estimator: Estimator, m: number, table: Float32Array): Promise<number> {
  const { views, clean, batch } = rowsOf(m)
  const parts: LossParts = {}
  const z = input('z', [m * batch, WIDTH])
  const f = input('f', [batch, WIDTH])
  const loss = spectral(z, f, { views: m, beta: BETA, estimator }, parts)
  const program = await (await engine()).compile({ outputs: { loss, invariance: parts.invariance } })
  try {
    await program.run({ z: at(table, views), ...(estimator !== 'views' && { f: at(table, clean) }) })
    return (await program.read('invariance'))[0]
  } finally {
    program.destroy()
  }
}

describe('the mean over all draws of m views', () => {
  const table = formulaTensor('spectral/table', [POINTS, WIDTH])
  const exact = exactInvariance(table)
  const variance = varianceOfView(table)

  test.each([2, 3, 4])('m = %i: split has no bias', async (m) => {
    expectClose('invariance', [await invarianceOf('split', m, table)], [exact], 1e-5)
  })
  test.each([2, 3, 4])('m = %i: clean adds the variance of a view / m', async (m) => {
    expectClose('invariance', [await invarianceOf('clean', m, table)], [exact + variance / m], 1e-5)
  })
  test.each([2, 3, 4])('m = %i: views has the unbiased variance of the views instead, and grows', async (m) => {
    expectClose('invariance', [await invarianceOf('views', m, table)], [(1 - 1 / m) * variance], 1e-5)
  })
})

test.each([5, 17])('the constraint is β ‖zᵀ z / rows − I‖², for width %i and 12 rows', async (width) => {
  const [batch, views] = [6, 2]
  const rows = batch * views
  const parts: LossParts = {}
  const z = input('z', [rows, width])
  spectral(z, undefined, { views, beta: BETA, estimator: 'views' }, parts)
  const program = await (await engine()).compile({ outputs: { orthogonality: parts.orthogonality } })
  const data = formulaTensor('spectral/constraint', [rows, width])
  await program.run({ z: data })
  let expected = 0
  for (let i = 0; i < width; i++)
    for (let j = 0; j < width; j++) {
      let sum = 0
      for (let r = 0; r < rows; r++) sum += (data[r * width + i] * data[r * width + j]) / rows
      expected += BETA * (sum - Number(i === j)) ** 2
    }
  expectClose('constraint', await program.read('orthogonality'), [expected], 1e-5)
  program.destroy()
})

/** Eigenvalue of T for frequency k. */
const eigenvalue = (k: number): number =>
  SHIFTS.reduce((total, by) => total + Math.cos((2 * Math.PI * k * by) / POINTS), 0) / SHIFTS.length

/** Rows with mean square 1 on the points: the constant, then the cosine and sine of each frequency. */
function basis(): Float32Array {
  const rows = new Float32Array(POINTS * POINTS).fill(1, 0, POINTS)
  for (let k = 1; k <= (POINTS - 1) / 2; k++)
    for (let i = 0; i < POINTS; i++) {
      const angle = (2 * Math.PI * k * i) / POINTS
      rows[(2 * k - 1) * POINTS + i] = Math.SQRT2 * Math.cos(angle)
      rows[2 * k * POINTS + i] = Math.SQRT2 * Math.sin(angle)
    }
  return rows
}

/** A matrix that takes the points of the rows out of a table [POINTS, …]. */
function selection(points: readonly number[]): Value {
  const matrix = new Float32Array(points.length * POINTS)
  points.forEach((point, row) => (matrix[row * POINTS + point] = 1))
  return constant(matrix, [points.length, POINTS])
}

/** What an eigenfunction of squared scale 1 adds to the mean invariance over all draws of two views. */
const costs: Record<Estimator, (λ: number) => number> = {
  split: (λ) => (1 - λ) ** 2,
  clean: (λ) => (1 - λ) ** 2 + (1 - λ ** 2) / 2,
  views: (λ) => (1 - λ ** 2) / 2,
}

test.each(estimators)('gradient descent with %s converges to the closed form of its functional', async (estimator) => {
  const on = await engine()
  const table = variable('table', [POINTS, POINTS], () => {
    const random = new RandomStream(3, Purpose.weights)
    return Float32Array.from({ length: POINTS * POINTS }, () => 0.3 * random.normal())
  })
  const { views, clean } = rowsOf(2)
  const loss = spectral(matmul(selection(views), table), matmul(selection(clean), table), {
    ...{ views: 2, beta: BETA, estimator },
  })
  const coefficients = scale(matmul(constant(basis(), [POINTS, POINTS]), table), 1 / POINTS)
  // The gradient of a mean over N points is N times smaller in the table than in function space.
  const next = subtract(table, scale(gradients(loss, [table])[0], 0.1 * POINTS))
  const program = await on.compile({
    updates: [assign(table, next)],
    outputs: { loss, energies: sum(square(coefficients), [1]) },
  })
  try {
    for (let step = 0; step < 400; step++) await program.run()
    const energies = await program.read('energies')
    const cost = (row: number): number => costs[estimator](eigenvalue(Math.ceil(row / 2)))
    const expected = Array.from({ length: POINTS }, (_, row) => Math.max(0, 1 - cost(row) / (2 * BETA)))
    expect(expected.slice(-2).every((s) => s < 0.7)).toBe(true)
    energies.forEach((s, row) => expect(Math.abs(s - expected[row]), `row ${row}`).toBeLessThan(2e-3))
    const least = expected.reduce((total, s, row) => total + s * cost(row) + BETA * (s - 1) ** 2, 0)
    expect(Math.abs((await program.read('loss'))[0] - least)).toBeLessThan(1e-4)
  } finally {
    program.destroy()
    on.release(table)
  }
})

test('split is the default, and an estimator without its clean images is refused', () => {
  expect(resolveObjective('spectral', 2)).toEqual({ beta: 0.5, estimator: 'split' })
  const projection = input('z', [8, 3])
  expect(() => objectives.spectral.build({ projection }, 2, { beta: 1, estimator: 'clean' })).toThrow(
    'spectral: estimator clean needs clean images [4, 3], not none',
  )
  const clean = input('f', [8, 3])
  expect(() => objectives.spectral.build({ projection, clean }, 2, { beta: 1, estimator: 'split' })).toThrow(
    'not [8, 3]',
  )
})
