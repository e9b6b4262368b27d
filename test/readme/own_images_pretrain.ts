import { extractFeatures, fromArrays, openEngine, pretrain, resolveConfig } from '../../train/node/index.js'

const pixels = new Uint8Array(64 * 24 * 24 * 3).map(() => 256 * Math.random()) // yours: [count, height, width, RGB]
const images = fromArrays({ images: pixels, height: 24, width: 24, name: 'mine' })
const config = resolveConfig({ data: 'mine', width: 8, views: 4, batch: 16, projectorDim: 64, lambda: 0.04, epochs: 3, augmentation: { size: 16 } })
const engine = await openEngine()
const { backbone } = await pretrain({ engine, dataset: images, config, onStep: (m) => console.log(m.step, m.loss) })
const features = await extractFeatures(engine, backbone, images, { recipe: config.augmentation, seed: 1 })
console.log(`numbers in ${images.count} embeddings: ${features.length}`)
engine.close()
