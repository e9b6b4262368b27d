/** Activations stored as f16: every op that accepts them against its f64 reference, and overflow. */
import { describe, expect, test } from 'vitest'
import {
  add,
  batchNorm,
  batchNormInference,
  cast,
  conv2d,
  gather,
  globalAveragePool,
  gradients,
  input,
  matmul,
  maxPool2d,
  multiply,
  multiplyWhere,
  placeRows,
  relu,
  scale,
  sliceRows,
  square,
  subtract,
  sum,
  variable,
  type Value,
} from '../../../engine/index.js'
import { checkOp, expectClose, runGraph, type OpCheck } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import * as reference from '../../support/reference/index.js'

const half = (x: Value): Value => cast(x, 'f16')
const single = (x: Value): Value => cast(x, 'f32')

/** The nearest number that is exact in f16, so that only the results of the op itself are rounded. */
function rounded(v: number): number {
  const ulp = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(v) || 1))) - 10)
  return Math.round(v / ulp) * ulp
}

/** As `checkOp`. Half an ulp of f16 is 2⁻¹¹ ≈ 5·10⁻⁴ of a number, and each gradient is rounded twice. */
function checkHalf<K extends string>(name: string, check: OpCheck<K>): void {
  const { domain = (v) => v } = check
  checkOp(`f16 ${name}`, {
    ...check,
    domain: (v, key) => rounded(domain(v, key)),
    tolerance: check.tolerance ?? 6e-4,
    gradientTolerance: check.gradientTolerance ?? 1.5e-3,
  })
}

const offered = (await engine()).target.f16

describe.skipIf(!offered)('f16', () => {
  for (const [x, w, stride, padding] of [
    [[3, 7, 5, 5], [3, 3, 5, 17], 1, 1],
    [[2, 8, 8, 8], [3, 3, 8, 16], 2, 1],
    [[3, 5, 7, 17], [1, 1, 17, 5], 2, 0],
    [[2, 7, 9, 4], [3, 3, 4, 8], 1, 1],
    [[3, 5, 4, 3], [3, 3, 3, 32], 2, 1],
  ] as [number[], number[], number, number][])
    checkHalf(`conv2d [${x}] * [${w}], stride ${stride}`, {
      inputs: { x, w },
      build: (v) => single(conv2d(half(v.x), v.w, { stride, padding })),
      reference: (t) => reference.conv2d(t.x, t.w, { stride, padding }),
    })

  checkHalf('matmul', {
    inputs: { a: [7, 17], b: [17, 5] },
    build: (v) => single(matmul(half(v.a), half(v.b))),
    reference: (t) => reference.matmul(t.a, t.b, {}),
  })

  // The gradient in an operand of f32 is f32: it is not rounded to f16.
  for (const [transposeA, transposeB] of [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])
    checkHalf(`matmul with f32 weights, transposed ${transposeA}, ${transposeB}`, {
      inputs: { a: transposeA ? [17, 7] : [7, 17], b: transposeB ? [5, 17] : [17, 5] },
      build: (v) => single(matmul(half(v.a), v.b, { transposeA, transposeB })),
      reference: (t) => reference.matmul(t.a, t.b, { transposeA, transposeB }),
    })

  const nearOne = (value: number, name: string) => (name === 'scale' ? 1 + 0.3 * value : value)
  for (const [x, groups] of [
    [[3, 5, 3, 17], 1],
    [[6, 3, 3, 5], 3],
    [[2, 9, 7, 4], 2],
  ] as [number[], number][]) {
    const c = [x[3]]
    for (const isRelu of [false, true]) {
      checkHalf(`batchNorm [${x}], ${groups} groups${isRelu ? ', relu' : ''}`, {
        inputs: { x, scale: c, shift: c },
        domain: nearOne,
        build: (v) => single(batchNorm(half(v.x), v.scale, v.shift, { groups, relu: isRelu }).y),
        reference: (t) => reference.batchNorm(t.x, t.scale, t.shift, { groups, relu: isRelu }).y,
      })
      checkHalf(`batchNorm [${x}], ${groups} groups, residual${isRelu ? ', relu' : ''}`, {
        inputs: { x, scale: c, shift: c, residual: x },
        domain: nearOne,
        build: (v) =>
          single(batchNorm(half(v.x), v.scale, v.shift, { groups, relu: isRelu, residual: half(v.residual) }).y),
        reference: (t) => reference.batchNorm(t.x, t.scale, t.shift, { groups, relu: isRelu, residual: t.residual }).y,
      })
    }
  }

  test('batchNorm keeps f32 statistics, and batchNormInference returns f16', async () => {
    const shape = [6, 3, 5, 17]
    const data = formulaTensor('f16 statistics/x', shape).map((v) => rounded(v + 20))
    const ones = new Float32Array(17).fill(1)
    const [one, shift] = [input('scale', [17]), input('shift', [17])]
    const x = half(input('x', shape))
    const { mean, variance } = batchNorm(x, one, shift)
    const y = single(batchNormInference(x, mean, variance, one, shift, { relu: true, residual: x }))
    const read = await runGraph({ mean, variance, y }, { x: data, scale: ones, shift: ones })
    const [t, c] = [reference.tensor64(shape, data), reference.tensor64([17], ones)]
    const expected = reference.batchNorm(t, c, c, { residual: t, relu: true })
    expectClose('mean', read['mean'], expected.mean.data, 1e-6)
    expectClose('variance', read['variance'], expected.variance.data, 1e-5)
    expectClose('value', read['y'], expected.y.data, 6e-4)
  })

  for (const [x, size, stride, padding] of [
    [[3, 9, 7, 5], 3, 2, 1],
    [[1, 8, 8, 17], 3, 2, 1],
    [[3, 5, 6, 3], 2, 2, 0],
  ] as [number[], number, number, number][])
    checkHalf(`maxPool2d [${x}], size ${size}, stride ${stride}`, {
      inputs: { x },
      build: (v) => single(maxPool2d(half(v.x), { size, stride, padding })),
      reference: (t) => reference.maxPool2d(t.x, { size, stride, padding }),
    })

  for (const x of [
    [3, 5, 3, 17],
    [3, 4, 4, 8],
  ])
    checkHalf(`globalAveragePool [${x}], whose result is f32`, {
      inputs: { x },
      build: (v) => globalAveragePool(half(v.x)),
      reference: (t) => reference.globalAveragePool(t.x),
      tolerance: 1e-5,
    })

  const elementwise: [string, (a: Value, b: Value) => Value, (a: number, b: number) => number][] = [
    ['add', add, (a, b) => a + b],
    ['subtract', subtract, (a, b) => a - b],
    ['multiply', multiply, (a, b) => a * b],
    ['relu and scale', (a, b) => add(relu(a), scale(b, 3)), (a, b) => Math.max(a, 0) + 3 * b],
    ['square', (a, b) => add(square(a), b), (a, b) => a * a + b],
  ]
  for (const [name, build, f] of elementwise)
    checkHalf(name, {
      inputs: { a: [3, 7, 5], b: [3, 7, 5] },
      build: (v) => single(build(half(v.a), half(v.b))),
      reference: (t) =>
        reference.tensor64(
          t.a.shape,
          t.a.data.map((a, i) => f(a, t.b.data[i])),
        ),
      tolerance: 1e-3,
      gradientTolerance: 3e-3,
    })

  test('rows are read and written at any offset', async () => {
    const x = formulaTensor('f16 rows', [7, 3, 5]).map(rounded)
    const part = sliceRows(half(input('x', [7, 3, 5])), 2, 3)
    const read = await runGraph({ part: single(part), placed: single(placeRows(part, 5, 1)) }, { x })
    const expected = x.subarray(30, 75)
    expect(read['part']).toEqual(expected)
    expect(read['placed']).toEqual(Float32Array.from([...new Array(15).fill(0), ...expected, ...new Array(15).fill(0)]))
  })

  test('the gradient of a sum of branches is added in f16', async () => {
    const x = input('x', [3, 5])
    const h = half(x)
    const [g] = gradients(sum(single(add(multiplyWhere(h, h), scale(h, 2)))), [x])
    const read = await runGraph({ g }, { x: Float32Array.from({ length: 15 }, (_, i) => i - 7) })
    expect([...read['g']]).toEqual(Array.from({ length: 15 }, (_, i) => (i - 7 > 0 ? 3 : 2)))
  })

  describe('a number too large for f16', () => {
    const given = Float32Array.of(65504, -65504, 65505, -1e30, Infinity, NaN, 1e-9, 2 ** -24)
    const found = [65504, -65504, Infinity, Infinity, Infinity, Infinity, 0, 2 ** -24]

    test('is stored as an infinity', async () => {
      const x = input('x', [8])
      const read = await runGraph({ y: single(half(x)), sum: single(add(half(x), half(x))) }, { x: given })
      // WGSL lets an adapter flush denormals; the software drivers do not.
      if ((await engine()).target.adapterClass === 'gpu' && read['y'][7] === 0) found[7] = 0
      expect([...read['y']]).toEqual(found)
      expect([...read['sum']].slice(0, 2)).toEqual([Infinity, Infinity])
    })

    /** The gradients of a small part of a network, for a loss so large that they overflow. */
    const shape = [2, 6, 6, 8]
    const parts: [string, (x: Value, w: Value) => Value][] = [
      ['conv2d', (x, w) => conv2d(conv2d(x, w, { padding: 1 }), w, { padding: 1 })],
      ['batchNorm', (x, w) => conv2d(normal(conv2d(x, w, { padding: 1 })), w, { padding: 1 })],
      ['maxPool2d', (x, w) => conv2d(maxPool2d(conv2d(x, w, { padding: 1 }), { size: 2 }), w, { padding: 1 })],
    ]
    const normal = (x: Value): Value =>
      batchNorm(x, input('scale', [8]), input('shift', [8]), { relu: true, residual: x }).y

    test.each(parts)('in a gradient through %s reaches the gradient of the weights', async (name, build) => {
      const [x, w] = [input('x', shape), input('w', [3, 3, 8, 8])]
      const y = build(half(x), w)
      const loss = sum(multiply(single(y), input('seed', y.shape)))
      const [g] = gradients(loss, [w])
      const ones = new Float32Array(8).fill(1)
      const data = {
        x: formulaTensor('f16 overflow/x', shape),
        w: formulaTensor('f16 overflow/w', [3, 3, 8, 8]),
        ...(name === 'batchNorm' ? { scale: ones, shift: ones } : {}),
      }
      const seeds = formulaTensor('f16 overflow/seed', y.shape)
      const run = async (factor: number) =>
        (await runGraph({ g }, { ...data, seed: seeds.map((v) => factor * v) }))['g']
      expect((await run(1)).every(Number.isFinite)).toBe(true)
      // The seed itself does not overflow, but intermediate gradients do.
      expect((await run(21000)).every(Number.isFinite)).toBe(false)
    })
  })

  test('errors for unsupported uses of f16 are one line', async () => {
    const x = half(input('x', [3, 5]))
    expect(() => input('x', [3], 'f16')).toThrow(/^input 'x': must be f32 or u32/)
    expect(() => variable('v', [3], undefined, 'f16')).toThrow(/^variable 'v': must be f32 or u32/)
    expect(() => add(x, input('y', [3, 5]))).toThrow(/^add: operands are f16 and f32: cast/)
    expect(() => add(x, half(input('y', [5])))).toThrow(/^add with broadcasting: takes f32, not f16 \[3, 5\]/)
    expect(() => gather(x, input('i', [2], 'u32'))).toThrow(/^gather: takes f32, not f16/)
    expect(() => cast(input('i', [2], 'u32'), 'f16')).toThrow(/^cast: takes f32 or f16, not u32/)
    const four = input('x4', [2, 3, 3, 8])
    const vector = input('c', [8])
    expect(() => batchNorm(four, vector, half(vector))).toThrow(/^batchNorm: takes f32, not f16/)
    expect(() => batchNorm(four, vector, vector, { residual: half(four) })).toThrow(/residual is f16 and x f32/)
    await expect((await engine()).compile({ outputs: { x } })).rejects.toThrow(/output 'x' is f16: cast it to f32/)
  })
})

test('planning a cast for an adapter without f16 is an error', async () => {
  const gpu = await engine()
  const without = Object.create(gpu, { target: { value: { ...gpu.target, f16: false } } }) as typeof gpu
  const y = cast(cast(input('x', [4]), 'f16'), 'f32')
  expect(() => without.plan({ outputs: { y } })).toThrow(/^cast: the adapter has no f16 \(shader-f16\): use f32/)
})
