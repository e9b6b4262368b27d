// The main entry's types guide from images to embeddings.
import {
  barlowTwins,
  extractFeatures,
  fromArrays,
  openEngine,
  pretrain,
  projector,
  resnet,
  resolveConfig,
} from 'webgpu-ssl'
import type { Value } from 'webgpu-ssl/engine'
import type { Backbone } from 'webgpu-ssl/models'

export async function embeddings(images: Uint8Array): Promise<Float32Array> {
  const engine = await openEngine()
  const dataset = fromArrays({ images, height: 32, width: 32 })
  const config = resolveConfig({ arch: 'resnet18', width: 8, views: 4, steps: 10 })
  const { backbone, losses } = await pretrain({ engine, dataset, config })
  const last: number = losses[losses.length - 1]
  // @ts-expect-error there is no such architecture
  resolveConfig({ arch: 'resnet19' })
  return last > 0
    ? extractFeatures(engine, backbone, dataset, { recipe: config.augmentation, seed: 1 })
    : new Float32Array()
}

export function loss(
  views: Value,
  backbone: Backbone = resnet({ arch: 'resnet18', width: 8, stem: 'cifar', seed: 1 }),
): Value {
  const head = projector({ features: backbone.features, dim: 64, seed: 1 })
  const z = head.forward(backbone.forward(views, { training: true }), { training: true })
  return barlowTwins(z, { views: 2, lambda: 0.01 })
}
