/** The polar factor by products, against matrices whose singular values are known. */
import { expect, test } from 'vitest'
import { constant } from '../../../engine/index.js'
import { directions } from '../../../train/objectives/lejepa.js'
import { polarFactor } from '../../../train/objectives/polar.js'
import { engine } from '../../support/engine.js'
import { normalish } from '../../support/formula.js'
import { readJson } from '../../support/goldens.js'

/** Orthonormal columns [n, k] by Gram–Schmidt, in f64. */
function orthonormal(name: string, n: number, k: number): number[][] {
  const columns: number[][] = []
  for (let j = 0; j < k; j++) {
    let v = [...normalish(`${name}/${j}`, n)]
    for (let twice = 0; twice < 2; twice++)
      for (const u of columns) {
        const along = u.reduce((sum, value, i) => sum + value * v[i], 0)
        v = v.map((value, i) => value - along * u[i])
      }
    const length = Math.hypot(...v)
    columns.push(v.map((value) => value / length))
  }
  return columns
}

/** Σ f(sⱼ) uⱼ vⱼᵀ, [rows, columns]. */
const combined = (u: number[][], v: number[][], s: number[], f: (value: number) => number): number[] =>
  u[0].flatMap((_, i) => v[0].map((_, j) => s.reduce((sum, value, k) => sum + f(value) * u[k][i] * v[k][j], 0)))

test.each([
  ['equal singular values', 12, 7, (): number => 2],
  ['a wide range', 9, 14, (k: number): number => 10 ** (-k / 3)],
  ['down to 10⁻⁴ of the norm', 20, 20, (k: number): number => 0.7 ** k * (0.7 ** k > 3e-4 ? 1 : 0)],
])('%s: U Vᵀ within 10⁻³, and the nuclear norm within 10⁻⁵', async (name, rows, columns, valueOf) => {
  const k = Math.min(rows, columns)
  const values = Array.from({ length: k }, (_, i) => valueOf(i))
  const [u, v] = [orthonormal(`${name}/u`, rows, k), orthonormal(`${name}/v`, columns, k)]
  const x = combined(u, v, values, (s) => s)
  const gpu = await engine()
  const program = await gpu.compile({ outputs: { y: polarFactor(constant(x, [1, rows, columns])) } })
  await program.run()
  const y = await program.read('y')
  program.destroy()
  const expected = combined(u, v, values, (s) => (s > 0 ? 1 : 0))
  expect(Math.max(...expected.map((value, i) => Math.abs(value - y[i])))).toBeLessThan(1e-3)
  const norm = values.reduce((a, b) => a + b, 0)
  expect(Math.abs(x.reduce((sum, value, i) => sum + value * y[i], 0) / norm - 1)).toBeLessThan(1e-5)
})

test('zeros stay zeros', async () => {
  const gpu = await engine()
  const program = await gpu.compile({ outputs: { y: polarFactor(constant(new Float32Array(24), [2, 3, 4])) } })
  await program.run()
  expect([...(await program.read('y'))]).toEqual(new Array(24).fill(0))
  program.destroy()
})

test('the directions of LeJEPA are those of the goldens, and have unit length', () => {
  for (const [key, stored] of Object.entries(readJson<Record<string, number[]>>('lejepa_directions.json'))) {
    const [d, slices] = key.split('x').map(Number)
    const drawn = directions(d, slices)
    expect(Math.max(...drawn.map((value, i) => Math.abs(value - stored[i])))).toBeLessThan(1e-7)
    for (let k = 0; k < slices; k++)
      expect(Math.hypot(...Array.from({ length: d }, (_, i) => drawn[i * slices + k]))).toBeCloseTo(1, 6)
  }
})
