// The types of `webgpu-ssl/train` guide from an adapter of a browser to a run in its private file system.
import {
  Engine,
  extractFeatures,
  fromArrays,
  originStore,
  pretrain,
  requestDevice,
  resolveConfig,
  type RunStore,
} from 'webgpu-ssl/train'

export async function embeddings(images: Uint8Array): Promise<Float32Array> {
  const adapter = await navigator.gpu.requestAdapter()
  if (!adapter) throw new Error('no WebGPU')
  const engine = new Engine(await requestDevice(adapter), adapter.info)
  const dataset = fromArrays({ images, height: 32, width: 32 })
  const config = resolveConfig({ arch: 'resnet18', width: 8, views: 4, steps: 10 })
  const out: RunStore = originStore('runs/mine')
  const { backbone } = await pretrain({ engine, dataset, config, out })
  // @ts-expect-error a browser has no folders: the run is a RunStore
  await pretrain({ engine, dataset, config, out: 'runs/mine' })
  return extractFeatures(engine, backbone, dataset, { recipe: config.augmentation, seed: 1 })
}
