import { describe, expect, test } from 'vitest'
import { conv2d, input } from '../../../engine/index.js'
import { checkOp } from '../../support/check.js'
import * as reference from '../../support/reference/index.js'

/** x [N,H,W,C], w [KH,KW,C,O]: every kernel, stride and padding of a ResNet, and unusual ones, on odd sizes. */
const cases: { x: number[]; w: number[]; stride: number; padding: number; bias?: boolean }[] = [
  { x: [3, 7, 5, 5], w: [3, 3, 5, 17], stride: 1, padding: 1 },
  { x: [1, 9, 9, 17], w: [3, 3, 17, 3], stride: 1, padding: 1 },
  { x: [1, 3, 5, 130], w: [3, 3, 130, 5], stride: 1, padding: 1 },
  { x: [1, 5, 3, 5], w: [3, 3, 5, 130], stride: 1, padding: 1 },
  { x: [3, 7, 6, 5], w: [3, 3, 5, 17], stride: 2, padding: 1 },
  { x: [1, 8, 8, 17], w: [3, 3, 17, 5], stride: 2, padding: 1 },
  { x: [3, 5, 7, 17], w: [1, 1, 17, 5], stride: 1, padding: 0 },
  { x: [1, 2, 1, 130], w: [1, 1, 130, 67], stride: 1, padding: 0 },
  { x: [3, 7, 6, 17], w: [1, 1, 17, 12], stride: 2, padding: 0 },
  { x: [3, 1, 1, 17], w: [3, 3, 17, 5], stride: 1, padding: 1 },
  { x: [3, 1, 1, 5], w: [1, 1, 5, 3], stride: 2, padding: 0 },
  { x: [1, 17, 15, 3], w: [7, 7, 3, 5], stride: 2, padding: 3 },
  { x: [1, 11, 9, 4], w: [3, 3, 4, 8], stride: 1, padding: 1 },
  { x: [3, 8, 8, 8], w: [3, 3, 8, 16], stride: 2, padding: 1 },
  { x: [3, 5, 4, 3], w: [3, 3, 3, 32], stride: 2, padding: 1 },
  { x: [3, 3, 4, 32], w: [2, 3, 32, 3], stride: 2, padding: 1 },
  { x: [5, 3, 3, 3], w: [1, 2, 3, 64], stride: 1, padding: 0, bias: true },
  { x: [1, 9, 7, 3], w: [2, 5, 3, 5], stride: 3, padding: 2, bias: true },
  { x: [3, 6, 5, 5], w: [3, 3, 5, 3], stride: 1, padding: 0, bias: true },
]

describe('conv2d', () => {
  for (const { x, w, stride, padding, bias } of cases) {
    const name = `[${x}] * [${w}], stride ${stride}, padding ${padding}`
    if (bias)
      checkOp(`${name}, bias`, {
        inputs: { x, w, bias: [w[3]] },
        build: (v) => conv2d(v.x, v.w, { stride, padding, bias: v.bias }),
        reference: (t) => reference.conv2d(t.x, t.w, { stride, padding, bias: t.bias }),
      })
    else
      checkOp(name, {
        inputs: { x, w },
        build: (v) => conv2d(v.x, v.w, { stride, padding }),
        reference: (t) => reference.conv2d(t.x, t.w, { stride, padding }),
      })
  }

  test('shape errors name the op and the shapes', () => {
    const x = input('x', [2, 5, 5, 3])
    expect(() => conv2d(x, input('w', [3, 3, 4, 8]))).toThrow(/conv2d.*\[2, 5, 5, 3\].*\[3, 3, 4, 8\]/)
    expect(() => conv2d(x, input('w', [7, 7, 3, 8]))).toThrow(/conv2d.*\[7, 7, 3, 8\].*\[2, 5, 5, 3\]/)
    expect(() => conv2d(input('x', [5, 3]), input('w', [3, 3, 3, 8]))).toThrow(/conv2d.*\[5, 3\]/)
    expect(() => conv2d(x, input('w', [3, 3, 3, 8]), { bias: input('bias', [3]) })).toThrow(/conv2d.*\[3\]/)
  })
})
