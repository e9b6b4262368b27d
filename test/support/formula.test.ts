import { expect, test } from 'vitest'
import { fnv1a, formulaParameter, formulaTensor, uniform } from './formula.js'
import { readJson } from './goldens.js'

const golden = readJson<{
  fnv1a: Record<string, number>
  uniform: Record<string, number[]>
  parameters: Record<string, { shape: number[]; first: number[]; sum: number }>
  tensor: { name: string; shape: number[]; values: number[] }
}>('formula.json')

test('the formula gives the numbers from which the golden files were made', () => {
  for (const [name, hash] of Object.entries(golden.fnv1a)) {
    expect(fnv1a(name), name).toBe(hash)
    expect([...uniform(name, 5)], name).toEqual(golden.uniform[name])
  }
  for (const [name, { shape, first, sum }] of Object.entries(golden.parameters)) {
    const values = formulaParameter(name, shape)
    expect([...values.subarray(0, 5)], name).toEqual(first)
    expect(
      values.reduce((total, v) => total + v, 0),
      name,
    ).toBeCloseTo(sum, 9)
  }
  const { name, shape, values } = golden.tensor
  expect([...formulaTensor(name, shape)]).toEqual(values)
})
