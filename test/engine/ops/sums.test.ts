/** Sums of squares and of products, as one pass over the larger tensor, and factors that cost no kernel. */
import { describe, expect, test } from 'vitest'
import {
  add,
  affine,
  constant,
  expand,
  gradients,
  input,
  matmul,
  multiply,
  multiplyAffine,
  multiplyWhere,
  orthogonalityLoss,
  scale,
  subtract,
  sum,
  sumProducts,
  sumSquares,
  type Target,
  type Value,
} from '../../../engine/index.js'
import { checkOp, expectClose } from '../../support/check.js'
import { engineFor } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import * as reference from '../../support/reference/index.js'

describe('sumProducts', () => {
  const cases: [a: number[], b: number[], axes?: number[]][] = [
    [[3, 5, 8], [5, 8], [1]],
    [
      [3, 5, 8],
      [3, 1, 8],
    ],
    [[3, 5, 8], [3, 1, 8], [0]],
    [[3, 5, 8], [3, 1, 8], [1]],
    [[3, 5, 7], [1, 5, 7], [1]],
    [[3, 5, 7], [3, 5, 1], [2]],
    [[3, 5, 8], [5, 1], [0]],
    [
      [7, 3, 5],
      [7, 1, 5],
      [0, 2],
    ],
    [[6], [4, 6], [1]],
    [
      [5, 1],
      [1, 17],
    ],
    [[5, 3], [1]],
    [[130, 9], [130, 9], [0]],
    [[3, 5], [3, 5], []],
  ]
  for (const [a, b, axes] of cases)
    checkOp(`[${a}], [${b}] over ${axes ? `axes ${axes}` : 'all'}`, {
      inputs: { a, b },
      build: (v) => sumProducts(v.a, v.b, axes),
      reference: (t) => reference.sum(reference.multiply(t.a, t.b), axes),
    })
})

describe('sumSquares', () => {
  for (const [x, axes, minus] of [
    [[3, 5, 8], [1], 0],
    [[3, 5, 7], undefined, 1],
    [[130, 12], [0], -0.5],
    [[2, 3, 5, 3], [1, 2], 0.25],
    [[3, 5], [], 1],
  ] as [number[], number[] | undefined, number][])
    checkOp(`[${x}] − ${minus} over ${axes ? `axes ${axes}` : 'all'}`, {
      inputs: { x },
      build: (v) => sumSquares(v.x, axes, { minus }),
      reference: (t) => reference.sum(reference.square(reference.affine(t.x, 1, -minus)), axes),
    })
})

checkOp('multiplyAffine: (p·a + q)·b', {
  inputs: { a: [3, 5, 8], b: [5, 1] },
  build: ({ a, b }) => multiplyAffine(a, b, -1.5, 0.25),
  reference: ({ a, b }) => reference.multiply(reference.affine(a, -1.5, 0.25), b),
})

/** Sums on another target, with their gradients, against f64. */
test.each([
  ['in the kernels of a GPU', { adapterClass: 'gpu' }],
  ['cut to small bindings', { maxBindingBytes: 20480 }],
  ['cut, in the kernels of a GPU', { adapterClass: 'gpu', maxBindingBytes: 20480 }],
] as [string, Partial<Target>][])('%s', async (_, target) => {
  const shapes = { x: [8, 64, 16], w: [64, 16], v: [8, 1, 16] }
  const given = Object.fromEntries(Object.entries(shapes).map(([name, s]) => [name, formulaTensor(`sums/${name}`, s)]))
  const values = Object.fromEntries(Object.entries(shapes).map(([name, s]) => [name, input(name, s)]))
  const build = ({ x, w, v }: Record<string, Value>): Record<string, Value> => ({
    rows: sumProducts(x, w, [1]),
    columns: sumProducts(x, v, [0]),
    all: sumProducts(x, x),
    squares: sumSquares(x, undefined, { minus: 0.5 }),
    byRow: sumSquares(x, [2]),
  })
  const outputs = build(values)
  const total = Object.values(outputs).reduce<Value>((all, y) => add(all, sum(y)), sum(values['w']))
  const [dx, dw, dv] = gradients(total, [values['x'], values['w'], values['v']])
  const program = await (await engineFor(target)).compile({ outputs: { ...outputs, dx, dw, dv } })
  await program.run(given)

  const { x, w, v } = given
  const at = (i: number) => ({ view: Math.floor(i / 1024), place: i % 1024, column: i % 16 })
  const sums = { rows: new Float64Array(128), columns: new Float64Array(1024), byRow: new Float64Array(512) }
  const expected = {
    ...sums,
    all: [0],
    squares: [0],
    dx: new Float64Array(8192),
    dw: w.map(() => 1),
    dv: new Float64Array(128),
  }
  x.forEach((n, i) => {
    const { view, place, column } = at(i)
    expected.rows[16 * view + column] += n * w[place]
    expected.columns[place] += n * v[16 * view + column]
    expected.byRow[Math.floor(i / 16)] += n * n
    expected.all[0] += n * n
    expected.squares[0] += (n - 0.5) ** 2
    expected.dx[i] = w[place] + v[16 * view + column] + 2 * n + 2 * (n - 0.5) + 2 * n
    expected.dw[place] += n
    expected.dv[16 * view + column] += n
  })
  for (const [name, numbers] of Object.entries(expected)) expectClose(name, await program.read(name), numbers, 1e-5)
  program.destroy()
})

describe('dispatches', () => {
  const count = async (outputs: Record<string, Value>): Promise<number> =>
    (await engineFor({})).plan({ outputs }).dispatches.length
  const [x, w] = [input('x', [3, 5, 8]), input('w', [5, 8])]

  test.each<[string, Value, number]>([
    ['a factor of a sum', scale(sum(x, [1]), 3), 1],
    ['a factor of a factor', scale(affine(x, 2, 0), 3), 1],
    ['a factor of a product', scale(multiply(x, w), 3), 1],
    ['a factor of a difference of sums', scale(subtract(sumSquares(x, [1]), sumProducts(x, w, [1])), 3), 3],
    ['a factor of a loss', scale(orthogonalityLoss(input('c', [5, 5])), 3), 2],
    ['a repeated operand', multiply(x, expand(w, [3, 5, 8])), 1],
  ])('%s', async (_, value, dispatches) => {
    expect(await count({ value })).toBe(dispatches)
  })

  test('the gradient of a loss of zᵀz is one product', async () => {
    const z = input('z', [8, 12])
    const loss = orthogonalityLoss(matmul(z, z, { transposeA: true }))
    const { dispatches } = (await engineFor({})).plan({ outputs: { dz: gradients(loss, [z])[0] } })
    expect(dispatches.filter(({ op }) => op === 'matmul').map(({ kernel }) => kernel)).toHaveLength(2)
  })
})

checkOp('factors that other nodes take up have their gradients', {
  inputs: { x: [3, 5, 8], w: [5, 8] },
  build: ({ x, w }) =>
    scale(add(scale(sum(multiplyWhere(x, expand(w, [3, 5, 8]))), 2), scale(sumProducts(scale(x, 3), w), -0.5)), 4),
  reference: ({ x, w }) => {
    const kept = { shape: x.shape, data: x.data.map((v, i) => (w.data[i % 40] > 0 ? v : 0)) }
    const product = reference.sum(reference.multiply(x, w))
    return reference.affine(
      reference.add(reference.affine(reference.sum(kept), 2, 0), reference.affine(product, -1.5, 0)),
      4,
      0,
    )
  },
})

for (const transposed of ['transposeA', 'transposeB'])
  checkOp(`a product with itself, ${transposed}, in a symmetric and in another function`, {
    inputs: { z: [5, 7] },
    build: ({ z }) => {
      const c = matmul(z, z, { [transposed]: true })
      const size = c.shape[0]
      return add(
        sumSquares(c, undefined, { minus: 0.5 }),
        sumProducts(c, matmul(constant(formulaTensor('sums/a', [size, size]), [size, size]), c)),
      )
    },
    reference: ({ z }) => {
      const c = reference.matmul(z, z, { transposeA: false, transposeB: false, [transposed]: true })
      const size = c.shape[0]
      const a = reference.tensor64([size, size], formulaTensor('sums/a', [size, size]))
      const squares = reference.sum(reference.square(reference.affine(c, 1, -0.5)))
      const product = reference.matmul(a, c, { transposeA: false, transposeB: false })
      return reference.add(squares, reference.sum(reference.multiply(c, product)))
    },
  })
