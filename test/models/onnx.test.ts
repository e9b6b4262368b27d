/** Networks as ONNX models, run by onnxruntime beside the engine. */
import { InferenceSession, Tensor } from 'onnxruntime-web'
import { expect, test } from 'vitest'
import { add, exp, input, type Value } from '../../engine/index.js'
import { encodeOnnx, exportStateDict, linearLayer, projector, resnet, StateDict } from '../../models/index.js'
import { expectClose } from '../support/check.js'
import { engine } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'
import { fillByFormula } from '../support/networks.js'

const [mean, std] = [
  [0.49, 0.48, 0.44],
  [0.2, 0.21, 0.27],
]

/** Pixels [N, H, W, 3] in [0, 1] as the model takes them (NCHW) and as the engine does (normalised, four channels). */
function layouts(pixels: Float32Array, n: number, size: number) {
  const [nchw, nhwc] = [new Float32Array(n * 3 * size * size), new Float32Array(n * 4 * size * size)]
  for (let i = 0; i < n; i++)
    for (let p = 0; p < size * size; p++)
      for (let c = 0; c < 3; c++) {
        const value = pixels[(i * size * size + p) * 3 + c]
        nchw[(i * 3 + c) * size * size + p] = value
        nhwc[(i * size * size + p) * 4 + c] = (value - mean[c]) / std[c]
      }
  return { nchw, nhwc }
}

const cases = [
  { arch: 'resnet18', width: 4, stem: 'cifar', stemRelu: false, size: 16, n: 3 },
  { arch: 'resnet18', width: 6, stem: 'imagenet', stemRelu: false, size: 35, n: 2 },
  { arch: 'resnet34', width: 4, stem: 'cifar', stemRelu: true, size: 11, n: 2 },
  { arch: 'resnet34', width: 5, stem: 'imagenet', stemRelu: true, size: 33, n: 1 },
  { arch: 'resnet50', width: 3, stem: 'cifar', stemRelu: true, size: 9, n: 3 },
  { arch: 'resnet50', width: 4, stem: 'imagenet', stemRelu: true, size: 40, n: 2 },
] as const

test.each(cases)('$arch of width $width with the $stem stem agrees with onnxruntime', async (network) => {
  const { size, n, ...options } = network
  const backbone = resnet(options)
  const head = projector({ features: backbone.features, dim: 7, depth: 3 })
  const classifier = new StateDict(1)
  const classify = linearLayer(classifier, 'fc', { from: backbone.features, to: 10 })
  const dicts = [backbone.dict, head.dict, classifier]
  const gpu = await engine()
  for (const dict of dicts) fillByFormula(gpu, dict)
  const graph = (count: number) => {
    const images = input('images', [count, size, size, 4])
    const features = backbone.forward(images, { training: false })
    const outputs = { features, embeddings: head.forward(features, { training: false }), logits: classify(features) }
    return { images, outputs }
  }
  const tensors: Awaited<ReturnType<typeof exportStateDict>> = {}
  for (const dict of dicts) Object.assign(tensors, await exportStateDict(gpu, dict))

  const pixels = formulaTensor('onnx/pixels', [n, size, size, 3]).map((v) => 0.5 + v / 4)
  const { nchw, nhwc } = layouts(pixels, n, size)
  // The model has a free number of images, so that of the graph does not matter.
  const model = encodeOnnx({ ...graph(1), dicts, tensors, mean, std, metadata: { arch: network.arch } })
  const session = await InferenceSession.create(model, { executionProviders: ['wasm'] })
  const found = await session.run({ images: new Tensor('float32', nchw, [n, 3, size, size]) })
  const program = await gpu.compile({ label: 'eval', outputs: graph(n).outputs })
  await program.run({ images: nhwc })
  for (const [name, width] of [
    ['features', backbone.features],
    ['embeddings', 7],
    ['logits', 10],
  ] as const) {
    expect(found[name].dims).toEqual([n, width])
    expectClose(name, found[name].data as Float32Array, await program.read(name), 1e-4)
  }
  program.destroy()
  await session.release()
})

test('what ONNX models do not have is refused by name', () => {
  const images = input('images', [1, 8, 8, 4])
  const backbone = resnet({ arch: 'resnet18', width: 4 })
  const features = backbone.forward(images, { training: false })
  const encode = (value: Value): Uint8Array =>
    encodeOnnx({ images, outputs: { value }, dicts: [backbone.dict], tensors: {}, mean, std })
  expect(() => encode(exp(features))).toThrow("the op 'elementwise' cannot be written as ONNX")
  expect(() => encode(add(features, features))).toThrow("the op 'elementwise' cannot be written as ONNX")
  expect(() => encode(features)).toThrow("the weights have no tensor 'conv1.weight'")
})
