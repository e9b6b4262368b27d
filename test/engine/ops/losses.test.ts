import { describe, expect, test } from 'vitest'
import { add, constant, crossEntropy, input, ntXentRows, orthogonalityLoss } from '../../../engine/index.js'
import { checkOp } from '../../support/check.js'
import * as reference from '../../support/reference/index.js'

describe('orthogonalityLoss', () => {
  for (const d of [1, 5, 17, 130])
    for (const options of [
      { onDiagonal: 1, target: 1, offDiagonal: 0.04 },
      { onDiagonal: 0, target: 0, offDiagonal: 0.5 },
    ]) {
      if (d === 1 && options.onDiagonal === 0) continue
      checkOp(`${d}x${d}, on-diagonal weight ${options.onDiagonal}`, {
        inputs: { c: [d, d] },
        build: ({ c }) => orthogonalityLoss(c, options),
        reference: ({ c }) => reference.scalar(reference.orthogonalityLoss(c, options)),
      })
    }
  const options = { onDiagonal: 1, target: 1, offDiagonal: 0.04 }
  checkOp('a batch of matrices gives the sum', {
    inputs: { c: [3, 5, 5] },
    build: ({ c }) => orthogonalityLoss(c, options),
    reference: ({ c }) =>
      reference.scalar(
        [0, 1, 2]
          .map((i) => reference.tensor64([5, 5], c.data.slice(25 * i, 25 * i + 25)))
          .reduce((total, matrix) => total + reference.orthogonalityLoss(matrix, options), 0),
      ),
  })
  test('shape errors name the op and the shape', () => {
    expect(() => orthogonalityLoss(input('c', [3, 5]), options)).toThrow(/orthogonalityLoss.*\[3, 5\]/)
    expect(() => orthogonalityLoss(input('c', [3, 5, 4]), options)).toThrow(/orthogonalityLoss.*\[3, 5, 4\]/)
  })
})

describe('crossEntropy', () => {
  for (const [n, c] of [
    [1, 5],
    [3, 17],
    [67, 10],
    [5, 130],
  ])
    for (const labelSmoothing of [0, 0.1]) {
      const labels = Uint32Array.from({ length: n }, (_, i) => (7 * i + 3) % c)
      checkOp(`[${n}, ${c}], smoothing ${labelSmoothing}`, {
        inputs: { logits: [n, c] },
        build: ({ logits }) => crossEntropy(logits, constant(labels), { labelSmoothing }),
        reference: ({ logits }) => reference.scalar(reference.crossEntropy(logits, labels, { labelSmoothing })),
      })
    }
  checkOp('columns behind the classes are filling', {
    inputs: { logits: [7, 12] },
    build: ({ logits }) =>
      crossEntropy(logits, constant(Uint32Array.of(0, 9, 3, 2, 8, 1, 5)), { labelSmoothing: 0.1, classes: 10 }),
    reference: ({ logits }) => {
      const classes = new Float64Array(70).map((_, i) => logits.data[12 * Math.floor(i / 10) + (i % 10)])
      const labels = [0, 9, 3, 2, 8, 1, 5]
      return reference.scalar(
        reference.crossEntropy(reference.tensor64([7, 10], classes), labels, { labelSmoothing: 0.1 }),
      )
    },
  })
  checkOp('logits far out do not overflow', {
    inputs: { logits: [3, 5] },
    domain: (v) => 100 * v,
    build: ({ logits }) => crossEntropy(logits, constant(Uint32Array.of(0, 1, 2)), {}),
    reference: ({ logits }) => reference.scalar(reference.crossEntropy(logits, [0, 1, 2])),
  })
  test('shape errors name the op and both shapes', () => {
    expect(() => crossEntropy(input('logits', [3, 5]), input('labels', [4], 'u32'), {})).toThrow(
      /crossEntropy.*\[4\].*\[3, 5\]/,
    )
    expect(() => crossEntropy(input('logits', [3, 5]), input('labels', [3], 'u32'), { classes: 6 })).toThrow(
      /crossEntropy: 6 classes .* 5 columns .*\[3, 5\]/,
    )
  })
})

describe('ntXentRows', () => {
  /** Row r of [batch, size, size]: cross-entropy over all columns except r, with the partner half the rows away. */
  const nllRows = (s: reference.Tensor64): reference.Tensor64 => {
    const size = s.shape.at(-1)!
    const rows = Array.from({ length: s.data.length / size }, (_, i) => {
      const row = s.data.subarray(i * size, (i + 1) * size)
      const own = i % size
      const others = row.filter((_, c) => c !== own)
      return Math.log(others.reduce((sum, v) => sum + Math.exp(v), 0)) - row[(own + size / 2) % size]
    })
    return reference.tensor64(s.shape.slice(0, -1), rows)
  }
  for (const shape of [
    [6, 6],
    [3, 10, 10],
    [1, 66, 66],
  ])
    checkOp(`similarities [${shape.join(', ')}]`, {
      inputs: { s: shape },
      build: ({ s }) => ntXentRows(s),
      domain: (v) => 3 * v,
      reference: ({ s }) => nllRows(s),
    })
  checkOp('similarities far out do not overflow, and the own column, larger still, does not count', {
    inputs: { s: [4, 4] },
    domain: (v) => 100 * v,
    build: ({ s }) => ntXentRows(add(s, constant([9e3, 0, 0, 0, 0, 9e3, 0, 0, 0, 0, 9e3, 0, 0, 0, 0, 9e3], [4, 4]))),
    reference: ({ s }) => nllRows(s),
  })
  test('an odd number of rows is an error', () => {
    expect(() => ntXentRows(input('s', [5, 5]))).toThrow(/ntXentRows.*\[5, 5\].*partner/)
    expect(() => ntXentRows(input('s', [4, 6]))).toThrow(/ntXentRows.*\[4, 6\]/)
  })
})
