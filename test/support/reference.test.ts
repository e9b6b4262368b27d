/** The f64 references against PyTorch. Both are independent, so a common mistake is unlikely. */
import { describe, expect, test } from 'vitest'
import { formulaTensor, normalish } from './formula.js'
import { readGoldens, readJson } from './goldens.js'
import * as reference from './reference/index.js'
import { opReference, type OpCase } from './op_cases.js'

const values = readGoldens('ops.safetensors')

describe('references agree with PyTorch', () => {
  test.each(readJson<OpCase[]>('ops.json').map((golden) => [golden.name, golden] as const))('%s', (name, golden) => {
    const inputs = Object.entries(golden.inputs).map(([key, shape]) =>
      reference.tensor64(shape, formulaTensor(`${name}/${key}`, shape)),
    )
    const r = formulaTensor(`${name}/r`, golden.output)
    const run = (x: reference.Tensor64[]) => opReference(golden, x)
    const y = run(inputs)
    expect(y.shape).toEqual(golden.output)
    expectClose(y.data, values.get(`${name}/y`)!.data, 1e-6)
    Object.keys(golden.inputs).forEach((key, which) => {
      const expected = values.get(`${name}/grad/${key}`)!.data
      const at = reference.coordinates(expected.length, 12)
      const gradient = reference.numericalGradient((x) => reference.dot(run(x), r), inputs, which, 1e-5, at)
      const top = Math.max(...expected.map(Math.abs))
      gradient.forEach((g, i) => expect(Math.abs(g - expected[at[i]]) / top, `${key}[${at[i]}]`).toBeLessThan(1e-6))
    })
  })
})

test('Barlow Twins: perfectly correlated, whitened views have no loss', () => {
  // Rows of an orthogonal design: standardising the columns changes nothing, and C is the identity.
  const design = [
    [1, 1],
    [1, -1],
    [-1, 1],
    [-1, -1],
  ]
  for (const views of [2, 3]) {
    const z = reference.tensor64([4 * views, 2], Array.from({ length: views }, () => design).flat(2))
    const unbiased = (4 * views - 1) / (4 * views)
    expect(reference.barlowTwins(z, views, 0.5)).toBeCloseTo(2 * (unbiased - 1) ** 2, 12)
  }
})

test('optimisers: one step from rest', () => {
  const gradient = Float64Array.from(normalish('optimisers', 3))
  const options = { lr: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 0, weightDecay: 0 }
  const rest = () => ({ m: new Float64Array(3), v: new Float64Array(3) })
  const w = new Float64Array(3)
  reference.adam(w, gradient, rest(), 1, options)
  w.forEach((value, i) => expect(value).toBeCloseTo(-0.1 * Math.sign(gradient[i]), 12))
  const decayed = Float64Array.of(1, 1, 1)
  reference.adamW(decayed, gradient, rest(), 1, { ...options, weightDecay: 0.5 })
  decayed.forEach((value, i) => expect(value).toBeCloseTo(0.95 - 0.1 * Math.sign(gradient[i]), 12))
  const velocity = new Float64Array(3)
  const moved = new Float64Array(3)
  reference.sgd(moved, gradient, velocity, { lr: 0.1, momentum: 0.9, weightDecay: 0 })
  reference.sgd(moved, gradient, velocity, { lr: 0.1, momentum: 0.9, weightDecay: 0 })
  moved.forEach((value, i) => expect(value).toBeCloseTo(-0.1 * 2.9 * gradient[i], 12))
})

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  const top = Math.max(...Array.from(expected, Math.abs), 1e-30)
  const worst = Math.max(...Array.from(actual, (v, i) => Math.abs(v - expected[i])))
  expect(actual.length).toBe(expected.length)
  expect(worst / top).toBeLessThan(tolerance)
}
