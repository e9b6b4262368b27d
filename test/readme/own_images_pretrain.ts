import { extractFeatures, fromArrays, openEngine, pretrain, resolveConfig } from '../../train/node/index.js'

// Yours: bytes [count, height, width, RGB]. Here 64 pictures of stripes, each with colours and a direction of its own.
const pixels = new Uint8Array(64 * 24 * 24 * 3).map((_, i) => {
  const [picture, y, x, channel] = [Math.floor(i / 1728), Math.floor(i / 72) % 24, Math.floor(i / 3) % 24, i % 3]
  const position = x * Math.cos(picture) + y * Math.sin(picture)
  return 128 + 127 * Math.sin(picture * (channel + 1) + 0.4 * position)
})
const images = fromArrays({ images: pixels, height: 24, width: 24, name: 'mine' })
const network = { data: 'mine', width: 8, projectorDim: 64, lambda: 0.04, augmentation: { size: 16 } }
const config = resolveConfig({ ...network, views: 4, batch: 32, epochs: 10, lr: 0.01 })
const engine = await openEngine()
const { backbone } = await pretrain({ engine, dataset: images, config, onStep: (m) => console.log(m.step, m.loss) })
const features = await extractFeatures(engine, backbone, images, { recipe: config.augmentation, seed: 1 })
console.log(`numbers in ${images.count} embeddings: ${features.length}`)
engine.close()
