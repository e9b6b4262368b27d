/** Batch-norm by view: one pass over three views equals three passes over one view each. */
import { describe, expect, test } from 'vitest'
import { batchNorm, input, updateRunningStatistics, variable, type Assignment } from '../../engine/index.js'
import { projector } from '../../models/index.js'
import { expectClose, runGraph } from '../support/check.js'
import { engine } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'

const VIEWS = 3
const MOMENTUM = 0.1

/** Rows of three views with different means and scales, so that a wrong order is detected. */
function viewsOf(name: string, shape: readonly number[]): Float32Array {
  const data = formulaTensor(name, shape)
  return data.map((value, i) => {
    const view = Math.floor((VIEWS * i) / data.length)
    return [1, 2.5, 0.4][view] * value + [3, -2, 0.5][view]
  })
}

const oneView = (data: Float32Array, view: number) =>
  data.subarray((view * data.length) / VIEWS, ((view + 1) * data.length) / VIEWS)

/** One update in f64, as in PyTorch: r ← .9 r + .1 s, where the variance has divisor n − 1. */
function update(running: { mean: number[]; variance: number[] }, rows: Float32Array): void {
  const channels = running.mean.length
  const count = rows.length / channels
  for (let c = 0; c < channels; c++) {
    const column = Array.from({ length: count }, (_, r) => rows[r * channels + c])
    const mean = column.reduce((a, b) => a + b, 0) / count
    const variance = column.reduce((a, b) => a + (b - mean) ** 2, 0) / (count - 1)
    running.mean[c] = (1 - MOMENTUM) * running.mean[c] + MOMENTUM * mean
    running.variance[c] = (1 - MOMENTUM) * running.variance[c] + MOMENTUM * variance
  }
}

describe('running statistics of three views', () => {
  test.each([
    ['feature map', [6, 3, 1, 5]],
    ['feature vector', [6, 17]],
  ])('%s: three updates in the order of the views', async (_, shape) => {
    const gpu = await engine()
    const channels = shape[shape.length - 1]
    const start = {
      mean: formulaTensor('per view/mean', [channels]),
      variance: formulaTensor('per view/variance', [channels]).map((v) => 0.5 + v * v),
    }
    const running = {
      mean: variable('per_view.mean', [channels]),
      variance: variable('per_view.variance', [channels]),
    }
    gpu.write(running.mean, start.mean)
    gpu.write(running.variance, start.variance)
    const [scale, shift] = [input('scale', [channels]), input('shift', [channels])]
    const { y, mean, variance } = batchNorm(input('x', shape), scale, shift, { groups: VIEWS })
    const rows = shape.reduce((a, b) => a * b, 1) / channels / VIEWS
    const program = await gpu.compile({
      label: 'per view',
      outputs: { y },
      updates: updateRunningStatistics(running, { mean, variance }, rows),
    })
    const expected = { mean: [...start.mean], variance: [...start.variance] }
    const reversed = { mean: [...start.mean], variance: [...start.variance] }
    for (const step of [0, 1]) {
      const x = viewsOf(`per view/x${step}`, shape)
      const ones = new Float32Array(channels).fill(1)
      await program.run({ x, scale: ones, shift: ones })
      for (const view of [0, 1, 2]) {
        update(expected, oneView(x, view))
        update(reversed, oneView(x, VIEWS - 1 - view))
      }
    }
    const [gotMean, gotVariance] = [await gpu.read(running.mean), await gpu.read(running.variance)]
    expectClose('running mean', gotMean as Float32Array, expected.mean, 1e-6)
    expectClose('running variance', gotVariance as Float32Array, expected.variance, 1e-6)
    expect(() => expectClose('reversed', gotMean as Float32Array, reversed.mean, 1e-2)).toThrow()
    program.destroy()
    gpu.release(running.mean)
    gpu.release(running.variance)
  })
})

describe('the projector', () => {
  const FEATURES = 12
  const ROWS = 5
  const h = viewsOf('per view/h', [VIEWS * ROWS, FEATURES])
  const make = () => projector({ features: FEATURES, dim: 8, seed: 3 })

  test('gives the same embeddings and running statistics for three views at once as for one view at a time', async () => {
    const gpu = await engine()
    const passes = { together: make(), apart: make() }
    const compile = (head: ReturnType<typeof make>, views: number) => {
      const updates: Assignment[] = []
      const x = input('h', [views * ROWS, FEATURES])
      const z = head.forward(x, { training: true, groups: views, updates })
      return gpu.compile({ label: 'projector', outputs: { z }, updates })
    }
    const together = await compile(passes.together, VIEWS)
    await together.run({ h })
    const z = await together.read('z')

    const apart = await compile(passes.apart, 1)
    for (const view of [0, 1, 2]) {
      await apart.run({ h: oneView(h, view) })
      expectClose(`view ${view}`, oneView(z, view), await apart.read('z'), 1e-5)
    }
    for (const name of ['projector.1.running_mean', 'projector.1.running_var']) {
      const [a, b] = [passes.together, passes.apart].map((head) => head.dict.entries.get(name)!.variable)
      const [one, three] = [await gpu.read(a), await gpu.read(b)]
      expectClose(name, one as Float32Array, three as Float32Array, 1e-5)
      expect([...one].every((value) => value === (name.endsWith('mean') ? 0 : 1))).toBe(false)
    }
    // Statistics over all rows together give a different result.
    const joint = make().forward(input('h', [VIEWS * ROWS, FEATURES]), { training: true })
    const mixed = (await runGraph({ joint }, { h })).joint
    expect(() => expectClose('joint', z, mixed, 0.1)).toThrow()
    together.destroy()
    apart.destroy()
  })
})
