import {
  adam, augmentViews, barlowTwins, deviceImages, drawViews, extractFeatures, fromArrays, gradients, input,
  openEngine, permutation, projector, recipes, resnet, ROW_FLOATS, type Assignment,
} from '../../train/node/index.js'
const pixels = new Uint8Array(64 * 24 * 24 * 3).map(() => 256 * Math.random()) // yours: [count, height, width, RGB]
const images = fromArrays({ images: pixels, height: 24, width: 24 })
const [views, batch, recipe] = [4, 16, { ...recipes.cifar, size: 16 }]

const engine = await openEngine()
const onDevice = deviceImages(images, engine.target.maxBindingBytes)
const backbone = resnet({ arch: 'resnet18', width: 8, seed: 1 })
const head = projector({ features: backbone.features, dim: 64, seed: 1 })
const rows = input('rows', [views * batch, ROW_FLOATS]) // what is drawn at random for each view
const updates: Assignment[] = [] // running statistics and, below, Adam's
const h = backbone.forward(augmentViews(onDevice, rows, recipe), { training: true, updates })
const loss = barlowTwins(head.forward(h, { training: true, updates }), { views, lambda: 0.04 })
const parameters = [...backbone.dict.parameters, ...head.dict.parameters]
updates.push(...adam(parameters).updates(gradients(loss, parameters), input('rate', [1])))
const step = await engine.compile({ outputs: { loss }, updates })
for (let epoch = 0; epoch < 3; epoch++) {
  const order = permutation(1, epoch, images.count)
  for (let at = 0; at + batch <= images.count; at += batch) {
    const drawn = drawViews(recipe, { seed: 1, epoch, images: order.subarray(at, at + batch), views, ...onDevice })
    await step.run({ rows: drawn, rate: Float32Array.of(1e-3) })
  }
  console.log(`epoch ${epoch}: loss ${(await step.read('loss'))[0]}`)
}
const features = await extractFeatures(engine, backbone, images, { recipe, seed: 1 }) // Float32Array [count, 64]
console.log(`numbers in ${images.count} embeddings: ${features.length}`)
engine.close()
