/** Log-determinants and their gradients, against f64 elimination with pivots. */
import { describe, expect, test } from 'vitest'
import { input, logDeterminant, matmul, add, constant, scale, type Value } from '../../../engine/index.js'
import { checkOp, expectClose, runOp } from '../../support/check.js'
import { engineFor } from '../../support/engine.js'
import { normalish } from '../../support/formula.js'
import { tensor64, type Tensor64 } from '../../support/reference/index.js'

/** ln |det| of [n, d, d] by Gaussian elimination with pivots. */
function reference(a: Tensor64): Tensor64 {
  const d = a.shape[a.shape.length - 1]
  const n = a.data.length / d ** 2
  return tensor64(
    [n],
    Array.from({ length: n }, (_, m) => {
      const rows = Array.from({ length: d }, (_, i) => [...a.data.slice((m * d + i) * d, (m * d + i + 1) * d)])
      let sum = 0
      for (let k = 0; k < d; k++) {
        const best = rows.slice(k).reduce((at, row, i) => (Math.abs(row[k]) > Math.abs(rows[at][k]) ? k + i : at), k)
        ;[rows[k], rows[best]] = [rows[best], rows[k]]
        sum += Math.log(Math.abs(rows[k][k]))
        for (let i = k + 1; i < d; i++) {
          const factor = rows[i][k] / rows[k][k]
          for (let j = k; j < d; j++) rows[i][j] -= factor * rows[k][j]
        }
      }
      return sum
    }),
  )
}

const identity = (d: number): Value =>
  constant(
    Float32Array.from({ length: d * d }, (_, i) => (i % (d + 1) === 0 ? 1 : 0)),
    [1, d, d],
  )

describe('I + c xᵀx, as the coding rate has it', () => {
  for (const [n, rows, d, factor] of [
    [1, 3, 1, 1],
    [3, 5, 7, 0.5],
    [2, 9, 11, 4],
  ])
    checkOp(`[${n}, ${rows}, ${d}] · ${factor}`, {
      inputs: { x: [n, rows, d] },
      build: ({ x }) => logDeterminant(add(scale(matmul(x, x, { transposeA: true }), factor), identity(d))),
      reference: ({ x }) => {
        const data: number[] = []
        for (let m = 0; m < n; m++)
          for (let i = 0; i < d; i++)
            for (let j = 0; j < d; j++) {
              let sum = i === j ? 1 : 0
              for (let r = 0; r < rows; r++)
                sum += factor * x.data[(m * rows + r) * d + i] * x.data[(m * rows + r) * d + j]
              data.push(sum)
            }
        return reference(tensor64([n, d, d], data))
      },
    })
})

// 420 rows take two dispatches.
test.each([66, 420])(
  'of %i rows and a condition number in the thousands: the value, and the gradient as the inverse',
  async (d) => {
    const rows = d + 4
    const x = normalish(`logDeterminant/${d}`, rows * d)
    const a = new Float32Array(d * d)
    for (let i = 0; i < d; i++)
      for (let j = 0; j <= i; j++) {
        let sum = i === j ? d / 330 : 0
        for (let r = 0; r < rows; r++) sum += x[r * d + i] * x[r * d + j]
        a[i * d + j] = a[j * d + i] = sum
      }
    const { value, gradients } = await runOp({ a: [d, d] }, ({ a: v }) => logDeterminant(v), { a }, Float32Array.of(1))
    const [expected] = reference(tensor64([1, d, d], Array.from(a))).data
    expect(Math.abs(value[0] / expected - 1)).toBeLessThan(1e-5)
    let worst = 0
    for (let i = 0; i < d; i++)
      for (let j = 0; j < d; j++) {
        let product = 0
        for (let k = 0; k < d; k++) product += a[i * d + k] * gradients.a[k * d + j]
        worst = Math.max(worst, Math.abs(product - (i === j ? 1 : 0)))
      }
    expect(worst).toBeLessThan(1e-3)
  },
)

test('more matrices than workgroups in one dimension', async () => {
  const engine = await engineFor({ maxWorkgroupsPerDimension: 3 })
  const a = Float32Array.from({ length: 7 }, (_, i) => 1 + i)
  const program = await engine.compile({ outputs: { y: logDeterminant(constant(a, [7, 1, 1])) } })
  await program.run()
  expectClose('logarithms', await program.read('y'), a.map(Math.log), 1e-6)
  program.destroy()
})

test.each([
  [1, 2, 2, 1],
  [1, 1, 1, 1],
  [-1, 0, 0, 1],
  [NaN, 0, 0, 1],
])('a matrix that is not positive definite gives NaN, and not a wrong number: %d %d %d %d', async (...numbers) => {
  const a = Float32Array.from(numbers)
  const { value } = await runOp({ a: [2, 2] }, ({ a: v }) => logDeterminant(v), { a }, Float32Array.of(1))
  expect(value[0]).toBeNaN()
})

test('shapes that do not fit are refused', () => {
  expect(() => logDeterminant(input('a', [2, 3]))).toThrow(/^logDeterminant: takes a square matrix/)
  expect(() => logDeterminant(input('a', [1025, 1025]))).toThrow(
    'logDeterminant: matrices [1025, 1025] have more than 1024 rows',
  )
})
