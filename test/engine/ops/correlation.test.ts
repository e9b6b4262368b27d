/** Cross-correlations and Gram matrices of embeddings. */
import { expect, test } from 'vitest'
import { crossCorrelation, gram, input } from '../../../engine/index.js'
import { checkOp } from '../../support/check.js'
import { matmul, tensor64, type Tensor64 } from '../../support/reference/index.js'

const divided = (x: Tensor64, by: number): Tensor64 =>
  tensor64(
    x.shape,
    x.data.map((v) => v / by),
  )

for (const [rows, d, e] of [
  [2, 1, 3],
  [3, 5, 17],
  [17, 130, 5],
]) {
  checkOp(`crossCorrelation, [${rows}, ${d}] and [${rows}, ${e}]`, {
    inputs: { a: [rows, d], b: [rows, e] },
    build: ({ a, b }) => crossCorrelation(a, b),
    reference: ({ a, b }) => divided(matmul(a, b, { transposeA: true }), rows),
  })
  checkOp(`gram, [${rows}, ${d}]`, {
    inputs: { z: [rows, d] },
    build: ({ z }) => gram(z, 7),
    reference: ({ z }) => divided(matmul(z, z, { transposeB: true }), 7),
  })
}

test('a single row has no cross-correlation', () => {
  expect(() => crossCorrelation(input('a', [1, 5]), input('b', [1, 5]))).toThrow(
    'crossCorrelation: [1, 5] and [1, 5] need at least 2 rows: use a larger batch',
  )
})
