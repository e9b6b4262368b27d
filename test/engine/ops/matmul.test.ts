import { describe, expect, test } from 'vitest'
import { input, matmul } from '../../../engine/index.js'
import { checkOp } from '../../support/check.js'
import * as reference from '../../support/reference/index.js'

describe('matmul', () => {
  for (const transposeA of [false, true])
    for (const transposeB of [false, true])
      for (const [m, k, n] of [
        [1, 1, 1],
        [3, 17, 5],
        [17, 5, 130],
        [67, 33, 35],
      ])
        checkOp(`${transposeA ? 'aT' : 'a'} ${transposeB ? 'bT' : 'b'} + bias, ${m}x${k}x${n}`, {
          inputs: { a: transposeA ? [k, m] : [m, k], b: transposeB ? [n, k] : [k, n], bias: [n] },
          build: ({ a, b, bias }) => matmul(a, b, { transposeA, transposeB, bias }),
          reference: ({ a, b, bias }) => reference.matmul(a, b, { transposeA, transposeB, bias }),
        })

  checkOp('a long inner axis', {
    inputs: { a: [5, 1030], b: [1030, 3] },
    build: ({ a, b }) => matmul(a, b),
    reference: ({ a, b }) => reference.matmul(a, b),
  })
  for (const [transposeA, transposeB] of [
    [false, false],
    [true, false],
    [false, true],
  ])
    checkOp(`batched, ${transposeA ? 'aT' : 'a'} ${transposeB ? 'bT' : 'b'}`, {
      inputs: { a: transposeA ? [3, 6, 9] : [3, 9, 6], b: transposeB ? [3, 17, 6] : [3, 6, 17] },
      build: ({ a, b }) => matmul(a, b, { transposeA, transposeB }),
      reference: ({ a, b }) => reference.matmul(a, b, { transposeA, transposeB }),
    })

  test('shape errors name the op and both shapes', () => {
    const a = input('a', [3, 5])
    expect(() => matmul(a, input('b', [4, 7]))).toThrow(/matmul.*\[3, 5\].*\[4, 7\]/)
    expect(() => matmul(a, input('b', [5, 7]), { transposeA: true })).toThrow(/matmul.*\[3, 5\].*\[5, 7\]/)
    expect(() => matmul(a, input('b', [5, 7]), { bias: input('bias', [5]) })).toThrow(/matmul.*\[5\]/)
    expect(() => matmul(input('a', [2, 3, 5]), input('b', [3, 5, 7]))).toThrow(/matmul.*\[2, 3, 5\].*\[3, 5, 7\]/)
  })
})
