/** Methods that plug into a training loop, against f64 references with finite differences, and closed forms. */
import { describe, expect, test } from 'vitest'
import { constant, gradients, input, multiply, sum, variable, type Value } from '../../../engine/index.js'
import { featureConsistency, randomLinearProjections } from '../../../train/methods/few_labels.js'
import { imageWeights } from '../../../train/methods/image_weights.js'
import { instanceDiscrimination } from '../../../train/methods/instance_discrimination.js'
import { checkOp, expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import { tensor64, type Tensor64 } from '../../support/reference/index.js'

const rowsOf = ({ shape, data }: Tensor64): number[][] =>
  Array.from({ length: shape[0] }, (_, i) => [...data.slice(i * shape[1], (i + 1) * shape[1])])
const dot = (a: number[], b: number[]): number => a.reduce((total, x, i) => total + x * b[i], 0)
const cosine = (a: number[], b: number[]): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
const softmax = (s: number[]): number[] => {
  const e = s.map((x) => Math.exp(x - Math.max(...s)))
  const total = e.reduce((a, b) => a + b)
  return e.map((x) => x / total)
}
const scalar = (value: number): Tensor64 => tensor64([1], [value])

describe('instance discrimination with KL(p ‖ √p)', () => {
  const images = Uint32Array.of(2, 6, 0)
  for (const distillation of [0, 0.7])
    checkOp(`weight ${distillation}`, {
      inputs: { z: [3, 5], bank: [7, 5] },
      build: ({ z, bank }) => instanceDiscrimination(z, bank, constant(images), { temperature: 0.4, distillation }),
      reference: ({ z, bank }) => {
        const losses = rowsOf(z).map((row, b) => {
          const s = rowsOf(bank).map((w) => cosine(row, w) / 0.4)
          const p = softmax(s)
          const roots = p.map(Math.sqrt)
          const total = roots.reduce((a, c) => a + c)
          const kl = p.reduce((sum, x, i) => sum + x * Math.log((x * total) / roots[i]), 0)
          return -Math.log(p[images[b]]) + distillation * kl
        })
        return scalar(losses.reduce((a, c) => a + c) / losses.length)
      },
    })
})

test('weights of images follow the running means of their losses', async () => {
  const gpu = await engine()
  const options = { rate: 0.25, tilt: 2 }
  const running = variable('running', [6, 1])
  const losses = input('losses', [3])
  const { weights, update } = imageWeights(losses, input('images', [3], 'u32'), running, options)
  // No gradient flows through the weights, so they are the gradient of the weighted sum.
  const [gradient] = gradients(sum(multiply(losses, weights)), [losses])
  const program = await gpu.compile({ outputs: { weights, gradient }, updates: [update] })
  const expected = new Float64Array(6)
  for (const [step, images] of [
    [4, 1, 3],
    [1, 0, 4],
    [3, 1, 0],
  ].entries()) {
    const given = formulaTensor(`weights/${step}`, [3])
    await program.run({ losses: given, images: Uint32Array.from(images) })
    images.forEach((i, b) => (expected[i] += options.rate * (given[b] - expected[i])))
    const e = images.map((i) => Math.exp(options.tilt * expected[i]))
    const total = e.reduce((a, b) => a + b)
    const wanted = e.map((x) => (3 * x) / total)
    expectClose(`weights of step ${step}`, await program.read('weights'), wanted, 1e-5)
    expectClose(`gradient of step ${step}`, await program.read('gradient'), wanted, 1e-5)
  }
  expectClose('running means', await gpu.read(running), expected, 1e-5)
  program.destroy()
  gpu.release(running)
})

/** (A + ε I)⁻¹ B by Gaussian elimination. */
function solved(A: number[][], B: number[][], ridge: number): number[][] {
  const rows = A.map((row, i) => [...row.map((x, j) => x + (i === j ? ridge : 0)), ...B[i]])
  for (let k = 0; k < rows.length; k++) {
    rows[k] = rows[k].map((x) => x / rows[k][k])
    for (let i = 0; i < rows.length; i++)
      if (i !== k) {
        const factor = rows[i][k]
        rows[i] = rows[i].map((x, j) => x - factor * rows[k][j])
      }
  }
  return rows.map((row) => row.slice(A.length))
}

describe('random linear projections', () => {
  const subsets = [
    [0, 3, 4, 6],
    [6, 1, 2, 5],
  ]
  const x = formulaTensor('rlp/x', [7, 3])
  checkOp('two subsets', {
    inputs: { predictions: [7, 2], labels: [7, 2] },
    build: ({ predictions, labels }) =>
      randomLinearProjections(
        constant(x, [7, 3]),
        predictions,
        labels,
        constant(Uint32Array.from(subsets.flat()), [2, 4]),
        { ridge: 0.1 },
      ),
    reference: ({ predictions, labels }) => {
      const [p, l, features] = [predictions, labels, tensor64([7, 3], x)].map(rowsOf)
      const total = subsets
        .map((rows) => {
          const X = rows.map((i) => features[i])
          const E = rows.map((i) => p[i].map((v, c) => v - l[i][c]))
          const gram = [0, 1, 2].map((a) =>
            [0, 1, 2].map((b) =>
              dot(
                X.map((r) => r[a]),
                X.map((r) => r[b]),
              ),
            ),
          )
          const right = [0, 1, 2].map((a) =>
            [0, 1].map((c) =>
              dot(
                X.map((r) => r[a]),
                E.map((r) => r[c]),
              ),
            ),
          )
          return solved(gram, right, 0.1)
            .flat()
            .reduce((sum, v) => sum + v * v, 0)
        })
        .reduce((a, b) => a + b)
      return scalar(total / 2)
    },
  })
})

describe('consistency of features', () => {
  const weakLogits = [
    [3, 0, -1],
    [0, 0.1, 0.2],
    [-1, 0, 4],
    [5, 1, 0],
  ]
  const weakFeatures = formulaTensor('consistency/weak', [4, 5])
  // The exponentials of logits that are far apart overflow, or are 0.
  for (const [direction, factor] of [
    ['apart', 1],
    ['together', 1],
    ['together', 300],
  ] as const)
    checkOp(`${direction}, logits of the size of ${factor}`, {
      inputs: { features: [4, 5], logits: [4, 3] },
      domain: (value, name) => (name === 'logits' ? factor * value : value),
      build: ({ features, logits }: Record<'features' | 'logits', Value>) =>
        featureConsistency(
          { features: constant(weakFeatures, [4, 5]), logits: constant(weakLogits.flat(), [4, 3]) },
          { features, logits },
          { threshold: 0.8, weight: 0.3, direction },
        ),
      reference: ({ features, logits }) => {
        const weak = rowsOf(tensor64([4, 5], weakFeatures))
        const terms = weakLogits.map((w, b) => {
          const p = softmax(w)
          const k = p.indexOf(Math.max(...p))
          if (p[k] <= 0.8) return 0
          const distance = cosine(weak[b], rowsOf(features)[b])
          return -Math.log(softmax(rowsOf(logits)[b])[k]) + (direction === 'apart' ? 0.3 : -0.3) * distance
        })
        expect(terms.filter((t) => t !== 0)).toHaveLength(3)
        return scalar(terms.reduce((a, c) => a + c) / 4)
      },
    })
})
