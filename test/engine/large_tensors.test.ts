/** Tensors that are larger than a buffer may be: they are cut, and the results stay the same. */
import { expect, test } from 'vitest'
import { add, exchange, input, multiply, relu, sum, type Target } from '../../engine/index.js'
import { resolveConfig, type PartialConfig } from '../../train/config/config.js'
import { drawViews } from '../../train/augment/draw.js'
import { deviceImages } from '../../train/augment/views.js'
import { buildNetwork, trainedDicts } from '../../train/step/network.js'
import { describeStep } from '../../train/step/whole.js'
import { expectClose } from '../support/check.js'
import { engineFor } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'

const KIB = 1024
const [batch, side] = [16, 32]

/** Two steps of a small network. Returns what they learn, and the largest temporary and buffer of the plan. */
async function trained(target: Partial<Target>, options: PartialConfig) {
  const engine = await engineFor(target)
  const config = resolveConfig({
    ...{ width: 4, batch, projectorDim: 16, stem: 'cifar' as const, optimizer: 'sgd' as const, lr: 0.01 },
    ...options,
    augmentation: { size: side },
  })
  const network = buildNetwork(config)
  const pixels = formulaTensor('large tensors/images', [batch, side, side, 3])
  const images = deviceImages(
    { count: batch, height: side, width: side, images: Uint8Array.from(pixels, (p) => 128 + 100 * p) },
    engine.target.maxBindingBytes,
  )
  const { spec, state } = describeStep(images, network, config)
  const program = await engine.compile(spec)
  const losses: number[] = []
  for (let step = 0; step < 2; step++) {
    const rows = drawViews(config.augmentation, {
      ...{ seed: 1, epoch: step, images: Uint32Array.from({ length: batch }, (_, i) => i), views: config.views },
      ...{ sourceHeight: side, sourceWidth: side },
    })
    await program.run({ rows, rate: Float32Array.of(config.lr) })
    losses.push((await program.read('loss'))[0])
  }
  const variables = trainedDicts(network).flatMap((dict) => dict.variables)
  const weights = await Promise.all(variables.map((v) => engine.read(v)))
  const largestBuffer = Math.max(...program.plan.memory.pool)
  program.destroy()
  for (const v of [...variables, ...state, ...images.shards.map(({ words }) => words)]) engine.release(v)
  return { losses, weights: Float32Array.from(weights.flatMap((w) => [...w])), largestBuffer }
}

const networks: Record<string, PartialConfig> = {
  'ResNet-18': { views: 4 },
  'ResNet-50 with the stem for large pictures, batch-norm per view': {
    ...{ views: 8, arch: 'resnet50', stem: 'imagenet', bn: 'per-view' },
  },
}

test.each(Object.keys(networks))('%s: a step is the same when its tensors are cut', async (name) => {
  const whole = await trained({ adapterClass: 'gpu' }, networks[name])
  // The largest tensor is cut into 4 parts, and each part into two bindings.
  const most = Math.floor(whole.largestBuffer / 4)
  const bindings = Math.floor(most / 2 / 256) * 256
  const cut = await trained({ maxBufferBytes: most, maxBindingBytes: bindings, adapterClass: 'gpu' }, networks[name])
  expect(cut.largestBuffer).toBeLessThanOrEqual(most)
  expectClose('losses', Float32Array.from(cut.losses), Float32Array.from(whole.losses), 1e-4)
  expectClose('weights', cut.weights, whole.weights, 1e-3)
})

test('a tensor that does not fall into equal parts is refused, with the remedy', async () => {
  const engine = await engineFor({ maxBufferBytes: 128 * KIB, maxBindingBytes: 64 * KIB })
  const y = (rows: number) => sum(relu(multiply(input('x', [rows, 64, 1]), input('w', [256]))))
  expect(Math.max(...engine.plan({ outputs: { y: y(4) } }).memory.pool)).toBe(128 * KIB)
  expect(() => engine.plan({ outputs: { y: y(3) } })).toThrow(
    "elementwise: a tensor is over the adapter's largest buffer, and does not fall into 2 equal parts: use a batch that is a multiple of 2, or a smaller batch",
  )
})

test('inputs and outputs over the largest buffer are written and read in parts', async () => {
  const engine = await engineFor({ maxBufferBytes: 128 * KIB, maxBindingBytes: 64 * KIB })
  const [rows, columns] = [512, 256]
  const x = formulaTensor('large tensors/x', [rows, columns])
  const w = formulaTensor('large tensors/w', [columns])
  // `x` is 4 buffers of the program, and `y` and `again` are 4 each. `again` has the bytes of the input.
  const given = input('x', [rows, columns])
  const program = await engine.compile({ outputs: { y: multiply(given, input('w', [columns])), again: given } })
  const sizes = program.plan.storages.filter(({ kind }) => kind === 'input' || kind === 'output').map((s) => s.bytes)
  expect(Math.max(...sizes)).toBe(128 * KIB)
  for (const scale of [1, -3]) {
    const scaled = x.map((value) => scale * value)
    await program.run({ x: scaled, w })
    expect(await program.read('again')).toEqual(scaled)
    expect(await program.read('y')).toEqual(scaled.map((value, i) => value * w[i % columns]))
  }
  program.destroy()
})

test('the host takes and gives tensors over the largest buffer', async () => {
  const engine = await engineFor({ maxBufferBytes: 128 * KIB, maxBindingBytes: 64 * KIB })
  const shape = [512, 256]
  const [negative] = exchange([relu(input('x', shape))], [shape], async (data) => data.map((value) => -value))
  const program = await engine.compile({ outputs: { y: relu(add(negative, input('one', [256]))) } })
  const x = formulaTensor('large tensors/x', shape)
  await program.run({ x, one: new Float32Array(256).fill(1) })
  const truth = x.map((value) => Math.max(0, Math.fround(1 - Math.max(0, value))))
  expect(await program.read('y')).toEqual(truth)
  program.destroy()
})

test('an input that does not fall into equal parts is refused', async () => {
  const engine = await engineFor({ maxBufferBytes: 128 * KIB, maxBindingBytes: 64 * KIB })
  const x = input('x', [3, 16_400])
  expect(() => engine.plan({ outputs: { y: sum(x) } })).toThrow(
    "x: a tensor is over the adapter's largest buffer, and does not fall into 2 equal parts",
  )
})
