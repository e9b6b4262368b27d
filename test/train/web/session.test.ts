/** A training as the worker of the page does it, with the files of the run in memory. */
import { InferenceSession, Tensor } from 'onnxruntime-web'
import { expect, test } from 'vitest'
import { input, Purpose, RandomStream } from '../../../engine/index.js'
import { decodeSafetensors, importStateDict, resnet } from '../../../models/index.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { extractFeatures } from '../../../train/readout/features.js'
import { pretrain } from '../../../train/run/pretrain.js'
import type { Events, Reading } from '../../../train/web/protocol.js'
import type { Loaded } from '../../../train/web/worker/pictures.js'
import { Session, type Tell } from '../../../train/web/worker/session.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { memoryStore } from '../../support/memory_store.js'

const [COUNT, SHOWN, SIDE, SIZE, WIDTH] = [30, 21, 12, 8, 4]
const FEATURES = 8 * WIDTH

/** Images with their own colours and slopes, of three classes. */
function pictures(): Loaded {
  const random = new RandomStream(2, Purpose.subset)
  const images = new Uint8Array(COUNT * SIDE * SIDE * 3)
  for (let n = 0; n < COUNT; n++) {
    const [colour, slope] = [[0, 1, 2].map(() => random.integer(200)), random.uniform(-5, 5)]
    for (let i = 0; i < SIDE * SIDE * 3; i++)
      images[n * SIDE * SIDE * 3 + i] = Math.max(0, colour[i % 3] + slope * Math.floor(i / (3 * SIDE)))
  }
  const labels = Array.from({ length: COUNT }, (_, n) => n % 3)
  const dataset = fromArrays({ images, height: SIDE, width: SIDE, labels, name: 'pictures' })
  const shown = images.slice(0, SHOWN * SIDE * SIDE * 3)
  const about = { name: 'pictures', isSample: false, count: COUNT, height: SIDE, width: SIDE, skipped: 0 }
  return { dataset, pictures: { ...about, shown, labels: labels.slice(0, SHOWN), classes: dataset.classes } }
}

const options = {
  ...{ width: WIDTH, views: 3, batch: 8, projectorDim: 6, steps: 7, seed: 4 },
  augmentation: { recipe: 'cifar', size: SIZE },
}

/** Collects what the worker would tell the page. */
function listener(onStep?: (step: number) => void) {
  const readings: Reading[] = []
  const losses: number[] = []
  const tell: Tell = (event, data) => {
    if (event === 'reading') readings.push(data as Reading)
    if (event !== 'step') return
    losses.push((data as Events['step']).loss)
    onStep?.((data as Events['step']).step)
  }
  return { readings, losses, tell }
}

test('a run pauses, is opened again with the same network, and ends like one that never paused', async () => {
  const gpu = await engine()
  const loaded = pictures()
  const place = { id: 'mine', store: memoryStore() }
  const before = listener((step) => step === 3 && first.pause())
  const first = Session.create(gpu, loaded, place, before.tell, options)
  const paused = await first.train(false)
  await first.idle()
  expect(paused).toMatchObject({ stopped: 'signal', steps: 7 })
  expect(paused.step).toBeLessThan(7)
  expect(before.readings.map(({ of, step }) => [of, step])).toEqual([
    ['untrained', 0],
    ['now', 0],
    ['now', paused.step],
  ])
  await first.close()
  await expect(first.export('onnx')).rejects.toThrow('There is no trained network yet.')

  const after = listener()
  const second = await Session.reopen(gpu, loaded, place, after.tell)
  await second.readFirst()
  expect(after.readings).toEqual([before.readings[0], before.readings[2]])
  expect(await second.train(true)).toEqual({ stopped: 'done', step: 7, steps: 7 })
  const whole = await pretrain({ engine: gpu, dataset: loaded.dataset, config: second.options })
  expect([...before.losses, ...after.losses]).toEqual(whole.losses)
  // A run that is done may go on.
  expect(await second.train(true, 9)).toEqual({ stopped: 'done', step: 9, steps: 9 })
  await second.close()
})

test('a reading and the exported files describe the same network', async () => {
  const gpu = await engine()
  const loaded = pictures()
  const { readings, tell } = listener()
  const session = Session.create(gpu, loaded, { id: 'mine', store: memoryStore() }, tell, options)
  await session.train(false)
  await session.idle()
  const weights = await session.export('safetensors')
  const model = await session.export('onnx')
  const { augmentation: recipe } = session.options
  await session.close()
  expect([weights.name, model.name]).toEqual(
    ['safetensors', 'onnx'].map((type) => `barlow-twins-resnet18-width-4-step-7.${type}`),
  )

  const { tensors, metadata } = decodeSafetensors(weights.bytes)
  expect(metadata).toMatchObject({ arch: 'resnet18', width: '4', imageSize: '8', step: '7' })
  const backbone = resnet({ arch: 'resnet18', width: WIDTH })
  importStateDict(gpu, backbone.dict, tensors, weights.name)
  const indices = Array.from({ length: SHOWN }, (_, i) => i)
  const features = await extractFeatures(gpu, backbone, loaded.dataset, { recipe, seed: 1, indices })
  checkReading(readings[readings.length - 1], features)

  const pixels = Float32Array.from({ length: 2 * 3 * SIZE * SIZE }, (_, i) => ((i * 37) % 101) / 101)
  const nhwc = new Float32Array(2 * SIZE * SIZE * 4)
  pixels.forEach((value, i) => {
    const [n, c, p] = [Math.floor(i / (3 * SIZE * SIZE)), Math.floor(i / (SIZE * SIZE)) % 3, i % (SIZE * SIZE)]
    nhwc[(n * SIZE * SIZE + p) * 4 + c] = (value - recipe.mean[c]) / recipe.std[c]
  })
  const images = input('images', [2, SIZE, SIZE, 4])
  const program = await gpu.compile({ label: 'eval', outputs: { y: backbone.forward(images, { training: false }) } })
  await program.run({ images: nhwc })
  const onnx = await InferenceSession.create(model.bytes, { executionProviders: ['wasm'] })
  const found = await onnx.run({ images: new Tensor('float32', pixels, [2, 3, SIZE, SIZE]) })
  expectClose('onnx', found.features.data as Float32Array, await program.read('y'), 1e-4)
  expect(found.embeddings.dims).toEqual([2, 6])
  program.destroy()
  await onnx.release()
})

/** @param features of the shown pictures, [SHOWN, FEATURES] */
function checkReading(reading: Reading, features: Float32Array): void {
  const { of, step, dim, k, neighbours, similarities, eigenvalues, matrix, agreement } = reading
  expect({ of, step, dim, k, width: reading.features }).toEqual({ of: 'now', step: 7, dim: 6, k: 8, width: FEATURES })
  expect(matrix).toHaveLength(36)
  expect(Math.max(...matrix.map(Math.abs))).toBeLessThanOrEqual(1 + 1e-4)

  const row = (i: number): Float32Array => features.subarray(i * FEATURES, (i + 1) * FEATURES)
  const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + value * b[i], 0)
  const cosine = (a: number, b: number): number =>
    dot(row(a), row(b)) / Math.sqrt(dot(row(a), row(a)) * dot(row(b), row(b)))
  let same = 0
  for (let i = 0; i < SHOWN; i++) {
    const others = Array.from({ length: SHOWN }, (_, j) => j).filter((j) => j !== i)
    const expected = others.map((j) => cosine(i, j)).sort((a, b) => b - a)
    const found = Array.from(neighbours.subarray(i * k, (i + 1) * k))
    expect(found).not.toContain(i)
    expect(new Set(found).size).toBe(k)
    expectClose(
      `neighbours of ${i}`,
      found.map((j) => cosine(i, j)),
      expected.slice(0, k),
      1e-5,
    )
    expectClose(`similarities of ${i}`, similarities.subarray(i * k, (i + 1) * k), expected.slice(0, k), 1e-5)
    if (found[0] % 3 === i % 3) same++
  }
  expect(agreement).toBeCloseTo(same / SHOWN, 10)

  // The eigenvalues add up to the variances.
  let variance = 0
  for (let d = 0; d < FEATURES; d++) {
    const column = Array.from({ length: SHOWN }, (_, i) => row(i)[d])
    const mean = column.reduce((a, b) => a + b, 0) / SHOWN
    variance += column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (SHOWN - 1)
  }
  expect(eigenvalues.reduce((a, b) => a + b, 0) / variance).toBeCloseTo(1, 4)
}
