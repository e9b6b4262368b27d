import { describe, expect, test } from 'vitest'
import { globalAveragePool, input, maxPool2d } from '../../../engine/index.js'
import { checkOp } from '../../support/check.js'
import * as reference from '../../support/reference/index.js'

describe('maxPool2d', () => {
  for (const [x, size, stride, padding] of [
    [[3, 9, 7, 5], 3, 2, 1],
    [[1, 8, 8, 17], 3, 2, 1],
    [[3, 5, 6, 3], 2, 2, 0],
    [[1, 1, 1, 130], 3, 2, 1],
    [[1, 7, 5, 4], 3, 1, 0],
  ] as [number[], number, number, number][])
    checkOp(`[${x}], size ${size}, stride ${stride}, padding ${padding}`, {
      inputs: { x },
      build: (v) => maxPool2d(v.x, { size, stride, padding }),
      reference: (t) => reference.maxPool2d(t.x, { size, stride, padding }),
    })

  checkOp('an all-negative input: padding never wins', {
    inputs: { x: [3, 5, 5, 3] },
    domain: (v) => v - 5,
    build: (v) => maxPool2d(v.x, { size: 3, stride: 2, padding: 1 }),
    reference: (t) => reference.maxPool2d(t.x, { size: 3, stride: 2, padding: 1 }),
  })

  test('shape errors name the op and the shape', () => {
    expect(() => maxPool2d(input('x', [5, 3]), { size: 3, stride: 2, padding: 1 })).toThrow(/maxPool2d.*\[5, 3\]/)
    expect(() => maxPool2d(input('x', [1, 2, 2, 3]), { size: 5, stride: 1, padding: 0 })).toThrow(
      /maxPool2d.*\[1, 2, 2, 3\]/,
    )
  })
})

describe('globalAveragePool', () => {
  for (const x of [
    [3, 5, 3, 17],
    [1, 7, 7, 130],
    [3, 1, 1, 5],
    [3, 4, 4, 3],
  ])
    checkOp(`[${x}]`, {
      inputs: { x },
      build: (v) => globalAveragePool(v.x),
      reference: (t) => reference.globalAveragePool(t.x),
    })

  test('shape errors name the op and the shape', () => {
    expect(() => globalAveragePool(input('x', [5, 3]))).toThrow(/globalAveragePool.*\[5, 3\]/)
  })
})
