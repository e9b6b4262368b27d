import { describe, expect, test } from 'vitest'
import { batchNorm, batchNormInference, input } from '../../../engine/index.js'
import { checkOp, expectClose, runGraph } from '../../support/check.js'
import { formulaTensor } from '../../support/formula.js'
import * as reference from '../../support/reference/index.js'

/** Scales near 1, so that some values are on each side of the ReLU's kink, as in a network. */
const domain = (value: number, name: string) => (name === 'scale' ? 1 + 0.3 * value : value)

describe('batchNorm', () => {
  const shapes: [shape: number[], groups: number][] = [
    [[3, 5, 3, 17], 1],
    [[1, 7, 5, 3], 1],
    [[3, 1, 1, 130], 1],
    [[7, 5], 1],
    // One row more than whole strips have.
    [[65, 17], 1],
    [[6, 3, 3, 5], 3],
    [[6, 1, 1, 17], 2],
    [[3, 3, 3, 130], 3],
    [[2, 17, 15, 4], 2],
  ]
  for (const [x, groups] of shapes) {
    const c = [x.at(-1)!]
    checkOp(`[${x}], ${groups} groups`, {
      inputs: { x, scale: c, shift: c },
      domain,
      build: (v) => batchNorm(v.x, v.scale, v.shift, { groups }).y,
      reference: (t) => reference.batchNorm(t.x, t.scale, t.shift, { groups }).y,
    })
  }
  for (const [x, groups] of [
    [[3, 5, 3, 17], 1],
    [[6, 3, 3, 5], 3],
  ] as const) {
    const c = [x[3]]
    checkOp(`[${x}], ${groups} groups, relu`, {
      inputs: { x: [...x], scale: c, shift: c },
      domain,
      build: (v) => batchNorm(v.x, v.scale, v.shift, { groups, relu: true }).y,
      reference: (t) => reference.batchNorm(t.x, t.scale, t.shift, { groups, relu: true }).y,
    })
    for (const relu of [false, true])
      checkOp(`[${x}], ${groups} groups, residual${relu ? ', relu' : ''}`, {
        inputs: { x: [...x], scale: c, shift: c, residual: [...x] },
        domain,
        build: (v) => batchNorm(v.x, v.scale, v.shift, { groups, relu, residual: v.residual }).y,
        reference: (t) => reference.batchNorm(t.x, t.scale, t.shift, { groups, relu, residual: t.residual }).y,
      })
  }

  test('returns the mean and the biased variance of each group', async () => {
    const shape = [6, 3, 5, 17]
    // Values far from zero, for which a variance from sums of squares would suffer from cancellation.
    const data = formulaTensor('statistics/x', shape).map((v) => v + 1000)
    const one = input('scale', [17])
    const { mean, variance } = batchNorm(input('x', shape), one, input('shift', [17]), { groups: 3 })
    const ones = new Float32Array(17).fill(1)
    const read = await runGraph({ mean, variance }, { x: data, scale: ones, shift: ones })
    const c = reference.tensor64([17], ones)
    const expected = reference.batchNorm(reference.tensor64(shape, data), c, c, { groups: 3 })
    expectClose('mean', read['mean'], expected.mean.data, 1e-6)
    expectClose('variance', read['variance'], expected.variance.data, 1e-4)
  })

  test('errors for a single row and for wrong shapes name the op', () => {
    const c = input('c', [5])
    expect(() => batchNorm(input('x', [1, 5]), c, c)).toThrow(/batchNorm.*\[1, 5\]/)
    expect(() => batchNorm(input('x', [1, 1, 1, 5]), c, c)).toThrow(/batchNorm.*\[1, 1, 1, 5\]/)
    expect(() => batchNorm(input('x', [3, 1, 1, 5]), c, c, { groups: 3 })).toThrow(/batchNorm.*\[3, 1, 1, 5\]/)
    expect(() => batchNorm(input('x', [4, 2, 2, 5]), c, c, { groups: 3 })).toThrow(/batchNorm.*\[4, 2, 2, 5\]/)
    expect(() => batchNorm(input('x', [4, 2, 2, 3]), c, c)).toThrow(/batchNorm.*\[5\].*\[4, 2, 2, 3\]/)
    expect(() => batchNorm(input('x', [4, 5]), c, c, { residual: input('r', [3, 5]) })).toThrow(
      /batchNorm.*\[3, 5\].*\[4, 5\]/,
    )
  })
})

describe('batchNormInference', () => {
  const x = [3, 5, 3, 17]
  const inputs = { x, scale: [17], shift: [17] }
  const statistics = {
    mean: formulaTensor('inference/mean', [17]),
    variance: formulaTensor('inference/variance', [17]).map((v) => 0.5 + v * v),
  }
  const tensors = {
    mean: reference.tensor64([17], statistics.mean),
    variance: reference.tensor64([17], statistics.variance),
  }

  for (const relu of [false, true])
    test(`the given statistics${relu ? ', relu and residual' : ''}`, async () => {
      const data = Object.fromEntries(Object.entries(inputs).map(([k, s]) => [k, formulaTensor(`inference/${k}`, s)]))
      const residual = formulaTensor('inference/residual', x)
      const v = Object.fromEntries(
        Object.entries({ ...inputs, mean: [17], variance: [17], residual: x }).map(([k, s]) => [k, input(k, s)]),
      )
      const y = batchNormInference(
        v['x'],
        v['mean'],
        v['variance'],
        v['scale'],
        v['shift'],
        relu ? { relu, residual: v['residual'] } : {},
      )
      const read = await runGraph({ y }, { ...data, ...statistics, ...(relu ? { residual } : {}) })
      const t = Object.fromEntries(Object.entries(inputs).map(([k, s]) => [k, reference.tensor64(s, data[k])]))
      const expected = reference.batchNormInference(
        t['x'],
        t['scale'],
        t['shift'],
        tensors.mean,
        tensors.variance,
        relu ? { relu, residual: reference.tensor64(x, residual) } : {},
      )
      expectClose('value', read['y'], expected.data, 1e-5)
    })
})
