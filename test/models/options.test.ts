/** Options of the networks: deeper projectors, a stem without ReLU, and copies with a prefix. */
import { expect, test } from 'vitest'
import { input, matmul, batchNormInference, type Value } from '../../engine/index.js'
import { projector, resnet } from '../../models/index.js'
import { engine } from '../support/engine.js'

const features = async (stemRelu: boolean, x: Float32Array): Promise<Float32Array> => {
  const gpu = await engine()
  const net = resnet({ arch: 'resnet18', width: 4, stemRelu, seed: 5 })
  const program = await gpu.compile({ outputs: { h: net.forward(input('x', [1, 6, 6, 4]), { training: false }) } })
  // Far below zero, so that a ReLU removes all information about the image.
  gpu.write(net.dict.entries.get('bn1.bias')!.variable, new Float32Array(4).fill(-10))
  await program.run({ x })
  const h = await program.read('h')
  program.destroy()
  for (const v of net.dict.variables) gpu.release(v)
  return h
}

test('without its ReLU the stem passes negative values on', async () => {
  const [some, others] = [1, 2].map((k) => Float32Array.from({ length: 144 }, (_, i) => Math.sin(k * i)))
  expect(await features(true, some)).toEqual(await features(true, others))
  expect(await features(false, some)).not.toEqual(await features(false, others))
})

test('a projector of depth 3 has the names of PyTorch’s Sequential and applies its layers in order', async () => {
  const gpu = await engine()
  const head = projector({ features: 6, dim: 5, depth: 3, seed: 4 })
  const norm = (i: number) => ['weight', 'bias', 'running_mean', 'running_var'].map((name) => `projector.${i}.${name}`)
  expect([...head.dict.entries.keys()]).toEqual([
    'projector.0.weight',
    ...norm(1),
    'projector.3.weight',
    ...norm(4),
    'projector.6.weight',
    'projector.6.bias',
  ])
  const of = (name: string): Value => head.dict.entries.get(`projector.${name}`)!.variable
  const x = input('x', [3, 6])
  let h: Value = x
  for (const i of [0, 3]) {
    const [scale, shift, mean, variance] = norm(i + 1).map((name) => head.dict.entries.get(name)!.variable)
    h = batchNormInference(matmul(h, of(`${i}.weight`)), mean, variance, scale, shift, { relu: true })
  }
  const byHand = matmul(h, of('6.weight'), { bias: of('6.bias') })
  const program = await gpu.compile({ outputs: { z: head.forward(x, { training: false }), byHand } })
  await program.run({ x: Float32Array.from({ length: 18 }, (_, i) => Math.cos(i)) })
  const z = await program.read('z')
  expect(z).toEqual(await program.read('byHand'))
  expect(z.some((v) => v !== 0)).toBe(true)
  program.destroy()
  for (const v of head.dict.variables) gpu.release(v)
})

test('a prefix changes the names of the Variables, not those of the state dict', () => {
  const { dict } = resnet({ arch: 'resnet18', width: 4, prefix: 'target.' })
  const { variable } = dict.entries.get('layer1.0.conv1.weight')!
  expect(variable.name).toBe('target.layer1.0.conv1.weight')
})
