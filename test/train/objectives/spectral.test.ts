/** The spectral objective on a circle with all augmentations as views: its minimum has a closed form. */
import { expect, test } from 'vitest'
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
import { spectral } from '../../../train/objectives/spectral.js'
import type { LossParts } from '../../../train/objectives/views.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

const [POINTS, REACH, BETA, STEPS, RATE] = [9, 1, 0.6, 400, 0.1]
const VIEWS = 2 * REACH + 1

/** View a of point b is the point b + a − REACH: [m·N, N]. */
function shifts(): Float32Array {
  const matrix = new Float32Array(VIEWS * POINTS * POINTS)
  for (let a = 0; a < VIEWS; a++)
    for (let b = 0; b < POINTS; b++) matrix[(a * POINTS + b) * POINTS + ((b + a - REACH + POINTS) % POINTS)] = 1
  return matrix
}

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

/** Eigenvalue of the mean over the views. */
const eigenvalue = (k: number): number =>
  (1 + 2 * Array.from({ length: REACH }, (_, j) => Math.cos((2 * Math.PI * k * (j + 1)) / POINTS)).reduce((a, b) => a + b, 0)) / VIEWS // prettier-ignore

/**
 * The mean over the views has λ² of an eigenfunction's squared scale s, and the variance of the views about it is the rest,
 * s (1 − λ²). So the eigenfunction adds s (1 − λ²) + β (s − 1)² to the loss.
 */
const closedForm = (k: number): number => Math.max(0, 1 - (1 - eigenvalue(k) ** 2) / (2 * BETA))

test('gradient descent converges to the closed form of the squared scales and of the loss', async () => {
  const on = await engine()
  const table = variable('table', [POINTS, POINTS], () => {
    const random = new RandomStream(3, Purpose.weights)
    return Float32Array.from({ length: POINTS * POINTS }, () => 0.3 * random.normal())
  })
  const loss = spectral(matmul(constant(shifts(), [VIEWS * POINTS, POINTS]), table), { views: VIEWS, beta: BETA })
  const coefficients = scale(matmul(constant(basis(), [POINTS, POINTS]), table), 1 / POINTS)
  // The gradient of a mean over N points is N times smaller in the table than in function space.
  const next = subtract(table, scale(gradients(loss, [table])[0], RATE * POINTS))
  const program = await on.compile({
    updates: [assign(table, next)],
    outputs: { loss, energies: sum(square(coefficients), [1]) },
  })
  try {
    for (let step = 0; step < STEPS; step++) await program.run()
    const energies = await program.read('energies')
    const [value] = await program.read('loss')
    const expected = Array.from({ length: POINTS }, (_, row) => closedForm(Math.ceil(row / 2)))
    expect(expected.slice(-4).every((s) => s < 1)).toBe(true)
    energies.forEach((s, row) => expect(Math.abs(s - expected[row]), `row ${row}`).toBeLessThan(1e-3))
    const least = expected.reduce((total, s, row) => {
      const λ = eigenvalue(Math.ceil(row / 2))
      return total + s * (1 - λ * λ) + BETA * (s - 1) ** 2
    }, 0)
    expect(Math.abs(value - least)).toBeLessThan(1e-4)
  } finally {
    program.destroy()
    on.release(table)
  }
})

test.each([
  ['more rows than columns', 2, 5, 3],
  ['more columns than rows', 3, 2, 17],
])('the loss and its parts equal the definition in f64: %s', async (_, views, batch, d) => {
  const on = await engine()
  const rows = views * batch
  const z = formulaTensor('spectral/z', [rows, d])
  const parts: LossParts = {}
  const loss = spectral(input('z', [rows, d]), { views, beta: BETA }, parts)
  const program = await on.compile({ outputs: { loss, ...(parts as Record<string, Value>) } })
  await program.run({ z })
  const at = (row: number, k: number): number => z[row * d + k]
  let [invariance, orthogonality] = [0, 0]
  for (let k = 0; k < d; k++) {
    for (let b = 0; b < batch; b++) {
      const values = Array.from({ length: views }, (_, a) => at(a * batch + b, k))
      const centre = values.reduce((sum, v) => sum + v, 0) / views
      invariance += values.reduce((sum, v) => sum + (centre - v) ** 2, 0) / rows
    }
    for (let l = 0; l < d; l++) {
      let product = 0
      for (let row = 0; row < rows; row++) product += (at(row, k) * at(row, l)) / rows
      orthogonality += BETA * (product - (k === l ? 1 : 0)) ** 2
    }
  }
  expectClose('invariance', await program.read('invariance'), [invariance], 1e-5)
  expectClose('orthogonality', await program.read('orthogonality'), [orthogonality], 1e-5)
  expectClose('loss', await program.read('loss'), [invariance + orthogonality], 1e-5)
  program.destroy()
})
