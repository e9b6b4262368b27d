/** The online probe takes the same steps as the offline probe, and online kNN equals offline kNN on subsets. */
import { expect, test } from 'vitest'
import { Purpose, RandomStream, assign, input, permutation, relu, scale, variable } from '../../../engine/index.js'
import { resnet } from '../../../models/index.js'
import { recipes } from '../../../train/augment/recipe.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { extractFeatures } from '../../../train/readout/features.js'
import { knn } from '../../../train/readout/knn.js'
import { accuracies, linearProbe } from '../../../train/readout/linear_probe.js'
import { onlineNeighbours, onlineProbe } from '../../../train/readout/online.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

test('a step of the online probe on all features equals an epoch of the offline probe', async () => {
  const gpu = await engine()
  const [count, width, classes] = [90, 10, 3]
  const features = formulaTensor('online', [count, width])
  const labels = Uint32Array.from({ length: count }, (_, i) => i % classes)
  const set = { features, labels }
  const [offline] = await linearProbe(gpu, set, set, { classes, seeds: [4], epochs: 6 })
  const probe = onlineProbe({ features: width, classes, seed: 4 })
  const { updates, logits } = probe.attach(input('h', [count, width]), input('labels', [count], 'u32'))
  const program = await gpu.compile({ outputs: { logits }, updates })
  for (let step = 0; step < 6; step++) await program.run({ h: features, labels })
  const [weight, bias] = probe.state
  expectClose('weight', await gpu.read(weight), offline.weight, 1e-4)
  expectClose('bias', await gpu.read(bias), offline.bias, 1e-4)
  // The logits come from the weights before the update, so one more run gives the logits of the compared weights.
  await program.run({ h: features, labels })
  const now = await program.read('logits')
  expectClose('logits', now, offline.logits, 1e-4)
  expect(accuracies(now, labels)).toEqual({ top1: offline.top1, top5: 1 })
  program.destroy()
  for (const v of probe.state) gpu.release(v)
})

test('the online probe does not change the step that it is added to', async () => {
  const gpu = await engine()
  const run = async (probed: boolean) => {
    const w = variable('w', [6, 4], formulaTensor('online/w', [6, 4]))
    const h = relu(scale(w, 1.5))
    const probe = onlineProbe({ features: 4, classes: 2, seed: 1 })
    const { updates } = probe.attach(h, input('labels', [6], 'u32'))
    const program = await gpu.compile({ updates: [assign(w, h), ...(probed ? updates : [])] })
    for (let step = 0; step < 3; step++) await program.run(probed ? { labels: Uint32Array.of(0, 1, 0, 1, 1, 0) } : {})
    const result = await gpu.read(w)
    program.destroy()
    for (const v of [w, ...probe.state]) gpu.release(v)
    return result
  }
  expect(await run(true)).toEqual(await run(false))
})

test('online kNN equals offline kNN on the images that the seed chooses', async () => {
  const gpu = await engine()
  const backbone = resnet({ arch: 'resnet18', width: 4, seed: 3 })
  const coloured = (count: number, seed: number) => {
    const stream = new RandomStream(seed, Purpose.subset)
    const labels = Array.from({ length: count }, (_, i) => i % 3)
    const images = Uint8Array.from(
      { length: count * 192 },
      (_, k) => stream.integer(100) + (k % 3 === labels[Math.floor(k / 192)] ? 120 : 0),
    )
    return fromArrays({ images, labels, height: 8, width: 8, classes: ['red', 'green', 'blue'] })
  }
  const recipe = { ...recipes.cifar, size: 8 }
  const [train, held] = [coloured(60, 1), coloured(30, 2)]
  const options = { recipe, seed: 1 }
  const set = async (dataset: typeof train) => ({
    features: await extractFeatures(gpu, backbone, dataset, options),
    labels: dataset.labels,
  })
  const [offline] = await knn(gpu, await set(train), await set(held), { classes: 3, ks: [20] })
  const all = await onlineNeighbours(gpu, backbone, train, held, options)
  const whole = await all.read()
  expect(whole).toEqual({ top1: offline.top1, k: 20, bank: 60, queries: 30, views: 1 })
  expect(whole.top1).toBeGreaterThan(0.4)
  const before = gpu.counters
  expect(await all.read()).toEqual(whole)
  expect(gpu.counters, 'a second reading makes nothing on the device').toEqual(before)
  all.release()
  const part = await onlineNeighbours(gpu, backbone, train, held, { ...options, bank: 25, queries: 9 })
  const some = await part.read()
  expect(some).toMatchObject({ bank: 25, queries: 9 })
  expect(Math.round(9 * some.top1)).toBeCloseTo(9 * some.top1, 9)
  // A reading is of the present weights: with weights of 0 all features are equal, and the first rows are the nearest.
  const [first] = backbone.dict.parameters
  const weights = await gpu.read(first)
  gpu.write(first, new Float32Array(first.size))
  const order = permutation(1, 0, 60).subarray(0, 20)
  const votes = [0, 1, 2].map((label) => order.filter((i) => train.labels[i] === label).length)
  const winner = votes.indexOf(Math.max(...votes))
  const asked = [...permutation(1, 0, 30).subarray(0, 9)]
  expect((await part.read()).top1).toBeCloseTo(asked.filter((i) => held.labels[i] === winner).length / 9, 9)
  gpu.write(first, weights)
  expect(await part.read()).toEqual(some)
  part.release()
  const bare = fromArrays({ images: train.images, height: 8, width: 8 })
  await expect(onlineNeighbours(gpu, backbone, bare, held, options)).rejects.toThrow(/^readout: the train images/)
})
