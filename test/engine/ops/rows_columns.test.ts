import { describe, expect, test } from 'vitest'
import { input, l2NormalizeRows, standardizeColumns } from '../../../engine/index.js'
import { checkOp } from '../../support/check.js'
import * as reference from '../../support/reference/index.js'

describe('l2NormalizeRows', () => {
  for (const x of [
    [5, 130],
    [1, 17],
    [130, 3],
    [3, 5],
    [7, 1030],
  ])
    checkOp(`[${x}]`, {
      inputs: { x },
      build: (v) => l2NormalizeRows(v.x),
      reference: (t) => reference.l2NormalizeRows(t.x),
    })
  test('shape errors name the op and the shape', () => {
    expect(() => l2NormalizeRows(input('x', [2, 3, 5, 7]))).toThrow(/l2NormalizeRows.*\[2, 3, 5, 7\]/)
  })
})

describe('standardizeColumns', () => {
  for (const [x, groups] of [
    [[9, 17], 1],
    [[3, 5], 1],
    [[67, 130], 1],
    [[130, 3], 1],
    [[9, 5], 3],
    [[6, 17], 2],
  ] as [number[], number][])
    checkOp(`[${x}], ${groups} groups`, {
      inputs: { x },
      build: (v) => standardizeColumns(v.x, { groups }),
      reference: (t) => reference.standardizeColumns(t.x, { groups }),
    })
  test('a single row is an error that names the op', () => {
    expect(() => standardizeColumns(input('x', [1, 5]))).toThrow(/standardizeColumns.*\[1, 5\]/)
    expect(() => standardizeColumns(input('x', [3, 5]), { groups: 3 })).toThrow(/standardizeColumns.*\[3, 5\]/)
    expect(() => standardizeColumns(input('x', [4, 5]), { groups: 3 })).toThrow(/standardizeColumns.*\[4, 5\]/)
  })
})
