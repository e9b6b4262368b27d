/** Each op against PyTorch: values and all gradients of the golden files. */
import { describe, expect, test } from 'vitest'
import {
  batchNorm,
  constant,
  conv2d,
  crossEntropy,
  globalAveragePool,
  l2NormalizeRows,
  matmul,
  maxPool2d,
  orthogonalityLoss,
  standardizeColumns,
  type Value,
} from '../../../engine/index.js'
import { expectClose, runOp } from '../../support/check.js'
import { formulaTensor } from '../../support/formula.js'
import { readGoldens, readJson } from '../../support/goldens.js'
import type { OpCase } from '../../support/op_cases.js'

const values = readGoldens('ops.safetensors')

function build(golden: OpCase, v: Record<string, Value>): Value {
  switch (golden.op) {
    case 'matmul':
      return matmul(v['a'], v['b'], { ...golden.attributes, bias: v['bias'] })
    case 'conv2d':
      return conv2d(v['x'], v['w'], { ...golden.attributes, bias: v['bias'] })
    case 'batchNorm':
      return batchNorm(v['x'], v['scale'], v['shift'], { ...golden.attributes, residual: v['residual'] }).y
    case 'maxPool2d':
      return maxPool2d(v['x'], golden.attributes)
    case 'globalAveragePool':
      return globalAveragePool(v['x'])
    case 'l2NormalizeRows':
      return l2NormalizeRows(v['x'])
    case 'standardizeColumns':
      return standardizeColumns(v['x'], golden.attributes)
    case 'orthogonalityLoss':
      return orthogonalityLoss(v['c'], golden.attributes)
    case 'crossEntropy': {
      const { labels, labelSmoothing } = golden.attributes
      return crossEntropy(v['logits'], constant(Uint32Array.from(labels)), { labelSmoothing })
    }
  }
}

describe('PyTorch', () => {
  test.each(readJson<OpCase[]>('ops.json').map((golden) => [golden.name, golden] as const))(
    '%s',
    async (name, golden) => {
      const given = Object.fromEntries(
        Object.entries(golden.inputs).map(([key, shape]) => [key, formulaTensor(`${name}/${key}`, shape)]),
      )
      const gpu = await runOp(golden.inputs, (v) => build(golden, v), given, formulaTensor(`${name}/r`, golden.output))
      expect(gpu.shape.reduce((a, b) => a * b, 1)).toBe(values.get(`${name}/y`)!.data.length)
      expectClose('value', gpu.value, values.get(`${name}/y`)!.data, 1e-5)
      for (const key of Object.keys(golden.inputs))
        expectClose(`gradient in ${key}`, gpu.gradients[key], values.get(`${name}/grad/${key}`)!.data, 1e-4)
    },
  )
})
