/** Views in chunks give the gradients, running statistics and training of all views at once, in less memory. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { gradients, input, type Assignment, type Engine, type Value, type Variable } from '../../../engine/index.js'
import { ROW_FLOATS, drawViews } from '../../../train/augment/draw.js'
import { augmentViews, deviceImages } from '../../../train/augment/views.js'
import { chunkedPeakBytes, compileChunkedStep, describeChunkedStep } from '../../../train/step/chunked.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { buildNetwork } from '../../../train/step/network.js'
import { barlowTwins } from '../../../train/objectives/barlow_twins.js'
import { compileStep, describeStep } from '../../../train/step/whole.js'
import { colourfulImages } from '../../support/images.js'
import { engine, engineFor } from '../../support/engine.js'

const dataset = colourfulImages(40)
const configOf = (changes: PartialConfig) =>
  resolveConfig({
    data: 'own images',
    width: 6,
    projectorDim: 12,
    lambda: 0.05,
    batch: 16,
    bn: 'per-view',
    // Blocks that start as identities would have zero gradients.
    zeroInitResidual: false,
    seed: 7,
    augmentation: { size: 8 },
    ...changes,
  })

const chunkedConfig = (views: number, viewChunk: number) => ({ ...configOf({ views, viewChunk }), viewChunk })

const norm = (a: Float32Array): number => Math.hypot(...a)

interface Found {
  loss: number
  gradients: Map<string, Float32Array>
  running: Map<string, Float32Array>
}

const rowsOf = (views: number, epoch: number) => {
  const { augmentation, seed, batch } = configOf({ views })
  const images = Array.from({ length: batch }, (_, i) => 2 * i + epoch)
  return drawViews(augmentation, { seed, epoch, images, views, sourceHeight: 10, sourceWidth: 10 })
}

const networkOf = (views: number) => {
  const network = buildNetwork(configOf({ views }))
  const { backbone, projector } = network
  const variables = [...backbone.dict.variables, ...projector.dict.variables]
  const running = variables.filter(({ name }) => name.includes('running'))
  return { network, variables, running }
}

async function readAll(gpu: Engine, variables: readonly Variable[]): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>()
  for (const v of variables) found.set(v.name, await gpu.read(v))
  return found
}

/** Gradients and running statistics after two batches of all views at once, without an optimiser. */
async function whole(views: number): Promise<Found> {
  const gpu = await engine()
  const { batch, augmentation } = configOf({ views })
  const { network, variables, running } = networkOf(views)
  const { backbone, projector } = network
  const images = deviceImages(dataset, gpu.target.maxBindingBytes)
  const updates: Assignment[] = []
  const mode = { training: true, groups: views, updates }
  const x = augmentViews(images, input('rows', [views * batch, ROW_FLOATS]), augmentation)
  const loss = barlowTwins(projector.forward(backbone.forward(x, mode), mode), { views, lambda: 0.05 })
  const parameters = [...backbone.dict.parameters, ...projector.dict.parameters]
  const outputs: Record<string, Value> = { loss }
  gradients(loss, parameters).forEach((g, i) => (outputs[parameters[i].name] = g))
  const program = await gpu.compile({ label: 'all views at once', outputs, updates })
  for (const epoch of [0, 1]) await program.run({ rows: rowsOf(views, epoch) })
  const found = new Map<string, Float32Array>()
  for (const { name } of parameters) found.set(name, await program.read(name))
  const result = { loss: (await program.read('loss'))[0], gradients: found, running: await readAll(gpu, running) }
  program.destroy()
  for (const v of [...variables, ...images.shards.map(({ words }) => words)]) gpu.release(v)
  return result
}

/** The same, from the programs for chunks of `viewChunk` views. */
async function inChunks(views: number, viewChunk: number): Promise<Found> {
  const gpu = await engine()
  const config = chunkedConfig(views, viewChunk)
  const { network, variables, running } = networkOf(views)
  const images = deviceImages(dataset, gpu.target.maxBindingBytes)
  const described = describeChunkedStep(images, network, config)
  const [forward, loss, back] = await gpu.compileTogether([described.forward, described.loss, described.backward])
  for (const epoch of [0, 1]) {
    const rows = rowsOf(views, epoch)
    const inputs = Array.from({ length: views / viewChunk }, (_, i) => ({
      rows: rows.subarray((i * rows.length * viewChunk) / views, ((i + 1) * rows.length * viewChunk) / views),
      chunk: Uint32Array.of(i),
    }))
    for (const chunk of inputs) await forward.run(chunk)
    await loss.run()
    for (const chunk of inputs) await back.run({ ...chunk, part: chunk.chunk })
  }
  const sums = await readAll(gpu, described.gradients)
  const result = {
    loss: (await loss.read('loss'))[0],
    gradients: new Map([...sums].map(([name, g]) => [name.replace(/\.gradient$/, ''), g])),
    running: await readAll(gpu, running),
  }
  for (const program of [forward, loss, back]) program.destroy()
  for (const v of [...variables, ...described.scratch, ...images.shards.map(({ words }) => words)]) gpu.release(v)
  return result
}

describe.each([
  [4, [1, 2, 4]],
  [3, [1]],
])('%i views', (views, chunks) => {
  let expected: Found
  beforeAll(async () => {
    expected = await whole(views)
  })

  test.each(chunks)(
    'in chunks of %i have the gradients and running statistics of all views at once',
    async (viewChunk) => {
      const found = await inChunks(views, viewChunk)
      expect(Math.abs(found.loss - expected.loss) / expected.loss).toBeLessThan(1e-6)
      expect([...found.gradients.keys()]).toEqual([...expected.gradients.keys()])
      for (const [name, g] of expected.gradients) {
        expect(norm(g), name).toBeGreaterThan(0)
        const error = norm(found.gradients.get(name)!.map((v, i) => v - g[i])) / norm(g)
        expect(error, `‖Δg‖/‖g‖ of ${name}`).toBeLessThan(1e-5)
      }
      expect(expected.running.size).toBe(42)
      for (const [name, r] of expected.running) {
        const error = norm(found.running.get(name)!.map((v, i) => v - r[i])) / norm(r)
        expect(error, name).toBeLessThan(1e-6)
      }
    },
  )
})

describe('memory', () => {
  const plansOf = async (views: number, viewChunk: number) => {
    const gpu = await engineFor({ maxBufferBytes: 2 ** 32 - 4 })
    const config = { ...resolveConfig({ views, viewChunk, bn: 'per-view', batch: 64 }), viewChunk }
    const network = buildNetwork(config)
    const described = describeChunkedStep(deviceImages(dataset, gpu.target.maxBindingBytes), network, config)
    const { forward, loss, backward, update } = described
    const plans = [forward, loss, backward, update].map((spec) => gpu.plan(spec))
    return { plans, peak: chunkedPeakBytes(described, plans), gpu, config }
  }

  test('of the programs does not grow with the number of views', async () => {
    const [four, eight] = [await plansOf(4, 2), await plansOf(8, 2)]
    for (const i of [0, 2, 3]) expect(eight.plans[i].memory.peakBytes).toBe(four.plans[i].memory.peakBytes)
    // Only embeddings and their gradient grow: 64 images × 4 more views × 256 floats, twice.
    expect(eight.peak - four.peak).toBe(2 * 4 * 64 * 4 * 256)

    const network = buildNetwork(eight.config)
    const images = deviceImages(dataset, eight.gpu.target.maxBindingBytes)
    const atOnce = eight.gpu.plan(describeStep(images, network, eight.config).spec).memory.peakBytes
    // On a GPU the scratch of Winograd is larger, whatever the number of views.
    expect(atOnce / eight.peak).toBeGreaterThan(eight.gpu.target.adapterClass === 'gpu' ? 3 : 3.5)
    // Not half: transformed weights, gradients and their sums do not depend on the number of views.
    expect((await plansOf(8, 1)).peak).toBeLessThan(0.65 * eight.peak)
  })

  test('the gradients of a chunk are summed with one dispatch', async () => {
    const { plans } = await plansOf(4, 2)
    expect(plans[2].dispatches.filter(({ kernel }) => kernel === 'accumulate')).toHaveLength(1)
    expect(plans[3].dispatches.filter(({ kernel }) => kernel === 'adam')).toHaveLength(2)
  })
})

describe('steps', () => {
  const released: (() => void)[] = []
  afterAll(() => released.forEach((release) => release()))

  /** The losses of a few steps, and what the engine made after the first step. */
  async function losses(viewChunk?: number): Promise<number[]> {
    const gpu = await engine()
    const config = configOf({ views: 4, viewChunk })
    const { network, variables } = networkOf(4)
    const images = deviceImages(dataset, gpu.target.maxBindingBytes)
    const step =
      viewChunk === undefined
        ? await compileStep(gpu, images, network, config)
        : await compileChunkedStep(gpu, images, network, { ...config, viewChunk })
    released.push(() => {
      for (const v of [...variables, ...step.state, ...images.shards.map(({ words }) => words)]) gpu.release(v)
    })
    const list: number[] = []
    let made
    for (let i = 0; i < 3; i++) {
      await step.run({ rows: rowsOf(4, i), rate: Float32Array.of(1e-3) })
      list.push((await step.loss())[0])
      const { names, read } = step.parts!
      expect(names).toEqual(['invariance', 'orthogonality'])
      expect((await read()).reduce((a, b) => a + b, 0) / list[i]).toBeCloseTo(1, 5)
      made ??= gpu.counters
    }
    expect(gpu.counters).toEqual(made)
    step.destroy()
    return list
  }

  test('have the losses of all views at once, and allocate nothing after the first step', async () => {
    const expected = await losses()
    // Adam divides by the gradient's size, so rounding errors in small gradients grow fast from step to step.
    const bounds = [1e-5, 1e-4, 1e-2]
    for (const viewChunk of [1, 2, 4])
      for (const [i, loss] of (await losses(viewChunk)).entries())
        expect(Math.abs(loss - expected[i]) / expected[i], `step ${i} in chunks of ${viewChunk}`).toBeLessThan(
          bounds[i],
        )
    expect(Math.abs(expected[2] - expected[0]) / expected[0]).toBeGreaterThan(2e-2)
  })
})
