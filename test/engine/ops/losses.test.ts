import { describe, expect, test } from 'vitest'
import { constant, crossEntropy, input, orthogonalityLoss } from '../../../engine/index.js'
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
  test('shape errors name the op and the shape', () => {
    const options = { onDiagonal: 1, target: 1, offDiagonal: 0.04 }
    expect(() => orthogonalityLoss(input('c', [3, 5]), options)).toThrow(/orthogonalityLoss.*\[3, 5\]/)
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
  })
})
