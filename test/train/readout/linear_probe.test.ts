/** The linear probe separates separable classes, and its steps follow the paper. */
import { describe, expect, test } from 'vitest'
import { Purpose, RandomStream, permutation, type Engine } from '../../../engine/index.js'
import type { LabelledFeatures } from '../../../train/readout/labelled_features.js'
import { linearProbe } from '../../../train/readout/linear_probe.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'

/** Gaussian blobs around well-separated centres, one per class. */
function blobs(count: number, width: number, classes: number, spread: number, seed: number): LabelledFeatures {
  const stream = new RandomStream(seed, Purpose.subset)
  const labels = Uint32Array.from({ length: count }, (_, i) => i % classes)
  const features = Float32Array.from({ length: count * width }, (_, k) => {
    const centre = k % width === labels[Math.floor(k / width)] ? 4 : 0
    return centre + spread * stream.normal()
  })
  return { features, labels }
}

/** The same device, presented as another class of adapter, which takes the rows in another way. */
const asAdapter = (gpu: Engine, adapterClass: 'cpu' | 'gpu'): Engine =>
  Object.create(gpu, { target: { value: { ...gpu.target, adapterClass } } }) as Engine

/** One epoch in f64 over batches of 512 in the order of the seed. Returns weights [width, classes], then the biases. */
function oneEpoch(train: LabelledFeatures, classes: number, seed: number): Float64Array {
  const count = train.labels.length
  const width = train.features.length / count
  const order = permutation(seed, 0, count)
  const stream = new RandomStream(seed, Purpose.readout)
  const bound = 1 / Math.sqrt(width)
  const p = Float64Array.from({ length: (width + 1) * classes }, () => Math.fround(stream.uniform(-bound, bound)))
  const m = new Float64Array(p.length)
  const v = new Float64Array(p.length)
  for (let step = 1; (step - 1) * 512 < count; step++) {
    const rows = order.slice((step - 1) * 512, step * 512)
    const gradient = new Float64Array(p.length)
    for (const row of rows) {
      const x = [...train.features.subarray(row * width, (row + 1) * width), 1]
      const logits = Array.from({ length: classes }, (_, c) => x.reduce((sum, a, d) => sum + a * p[d * classes + c], 0))
      const total = logits.reduce((sum, l) => sum + Math.exp(l), 0)
      for (let c = 0; c < classes; c++) {
        const g = Math.exp(logits[c]) / total - 0.1 / classes - (train.labels[row] === c ? 0.9 : 0)
        x.forEach((a, d) => (gradient[d * classes + c] += (g * a) / rows.length))
      }
    }
    for (let k = 0; k < p.length; k++) {
      const g = gradient[k] + 1e-6 * p[k]
      m[k] = 0.9 * m[k] + 0.1 * g
      v[k] = 0.999 * v[k] + 0.001 * g * g
      p[k] -= (1e-3 * (m[k] / (1 - 0.9 ** step))) / (Math.sqrt(v[k] / (1 - 0.999 ** step)) + 1e-8)
    }
  }
  return p
}

describe('linear probe', () => {
  test('classifies all of well-separated blobs, and only reaches chance on random labels', async () => {
    const gpu = await engine()
    const train = blobs(2000, 10, 5, 0.5, 1)
    const other = blobs(200, 10, 5, 0.5, 2)
    const [probe] = await linearProbe(gpu, train, other, { classes: 5, seeds: [3] })
    expect(probe.top1).toBe(1)
    expect(probe.top5).toBe(1)
    const shuffled = { ...other, labels: Array.from(other.labels, (_, i) => Math.floor(i / 5) % 5) }
    const [blind] = await linearProbe(gpu, train, shuffled, { classes: 5, seeds: [3], epochs: 5 })
    expect(blind.top1).toBeLessThan(0.35)
    // With five classes top-5 is always 1.
    expect(blind.top5).toBe(1)
  })

  test.each([
    ['cpu', 7],
    ['gpu', 7],
    ['cpu', 8],
  ] as const)('one step on the %s path, width %i, equals an independent step in f64', async (path, width) => {
    const train = blobs(90, width, 3, 1, 4)
    const gpu = asAdapter(await engine(), path)
    const probes = await linearProbe(gpu, train, train, { classes: 3, seeds: [5, 6], epochs: 1 })
    for (const { seed, weight, bias } of probes) {
      const expected = oneEpoch(train, 3, seed)
      expectClose('weight', weight, expected.slice(0, width * 3), 1e-5)
      expectClose('bias', bias, expected.slice(width * 3), 1e-5)
    }
    expect(probes[0].weight).not.toEqual(probes[1].weight)
  })

  test('the last batch averages only over its own rows', async () => {
    const gpu = await engine()
    // With 513 rows the second step has a single row. The 511 masked rows must not reduce its gradient.
    const train = blobs(513, 4, 2, 1, 7)
    const [a] = await linearProbe(gpu, train, train, { classes: 2, seeds: [1], epochs: 1 })
    const [b] = await linearProbe(asAdapter(gpu, 'gpu'), train, train, { classes: 2, seeds: [1], epochs: 1 })
    const reference = oneEpoch(train, 2, 1).slice(0, 8)
    for (const probe of [a, b]) expectClose('weight', probe.weight, reference, 1e-5)
  })

  test('a seed gives the same probe alone and with others, and the same bits twice', async () => {
    const gpu = await engine()
    const train = blobs(600, 8, 4, 2, 8)
    const run = (seeds: number[]) => linearProbe(gpu, train, train, { classes: 4, seeds, epochs: 3 })
    const [alone] = await run([2])
    const together = await run([1, 2])
    const again = await run([1, 2])
    expectClose('weight', together[1].weight, alone.weight, 1e-5)
    expect(again.map((p) => p.weight)).toEqual(together.map((p) => p.weight))
    expect(again.map((p) => p.logits)).toEqual(together.map((p) => p.logits))
  })

  test('top-5 counts the five largest logits', async () => {
    const gpu = await engine()
    const train = blobs(400, 20, 20, 3, 9)
    const other = blobs(300, 20, 20, 3, 10)
    const [{ logits, top1, top5 }] = await linearProbe(gpu, train, other, { classes: 20, seeds: [1], epochs: 20 })
    const among = (k: number) =>
      Array.from(other.labels).filter((label, i) => {
        const row = logits.subarray(i * 20, (i + 1) * 20)
        return [...row.keys()]
          .sort((a, b) => row[b] - row[a])
          .slice(0, k)
          .includes(label)
      }).length / 300
    expect(top1).toBe(among(1))
    expect(top5).toBe(among(5))
    expect(top5).toBeGreaterThan(top1)
  })

  test('sets of different widths give one line', async () => {
    const gpu = await engine()
    const a = blobs(8, 4, 2, 1, 1)
    const b = blobs(8, 5, 2, 1, 1)
    await expect(linearProbe(gpu, a, b, { classes: 2, seeds: [1] })).rejects.toThrow(
      /^readout: 32 and 40 numbers[^\n]*$/,
    )
    await expect(linearProbe(gpu, a, a, { classes: 2, seeds: [] })).rejects.toThrow(/at least one seed/)
  })
})
