/** The golden cases of test/fixtures/ops.json, and the reference of each. */
import * as reference from './reference/index.js'
import type { Tensor64 } from './reference/index.js'

interface Shapes {
  name: string
  inputs: Record<string, number[]>
  output: number[]
}

export type OpCase = Shapes &
  (
    | { op: 'matmul'; attributes: { transposeA: boolean; transposeB: boolean } }
    | { op: 'conv2d'; attributes: { stride: number; padding: number } }
    | { op: 'batchNorm'; attributes: { groups: number; relu: boolean } }
    | { op: 'maxPool2d'; attributes: { size: number; stride: number; padding: number } }
    | { op: 'globalAveragePool' | 'l2NormalizeRows'; attributes: Record<string, never> }
    | { op: 'standardizeColumns'; attributes: { groups: number } }
    | { op: 'orthogonalityLoss'; attributes: reference.OrthogonalityOptions }
    | { op: 'crossEntropy'; attributes: { labels: number[]; labelSmoothing: number } }
  )

/** The case's op on its inputs (in the order of `inputs`) in f64. */
export function opReference(golden: OpCase, inputs: readonly Tensor64[]): Tensor64 {
  const [a, b, c, d] = inputs as [Tensor64, Tensor64, Tensor64, Tensor64 | undefined]
  switch (golden.op) {
    case 'matmul':
      return reference.matmul(a, b, { ...golden.attributes, bias: c })
    case 'conv2d':
      return reference.conv2d(a, b, { ...golden.attributes, bias: c })
    case 'batchNorm':
      return reference.batchNorm(a, b, c, { ...golden.attributes, residual: d }).y
    case 'maxPool2d':
      return reference.maxPool2d(a, golden.attributes)
    case 'globalAveragePool':
      return reference.globalAveragePool(a)
    case 'l2NormalizeRows':
      return reference.l2NormalizeRows(a)
    case 'standardizeColumns':
      return reference.standardizeColumns(a, golden.attributes)
    case 'orthogonalityLoss':
      return reference.scalar(reference.orthogonalityLoss(a, golden.attributes))
    case 'crossEntropy':
      return reference.scalar(reference.crossEntropy(a, golden.attributes.labels, golden.attributes))
  }
}
