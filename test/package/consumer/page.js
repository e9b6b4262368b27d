// A web page: a network learns from pictures, stops, continues with the run in the browser's file system, and is read.
import {
  Engine,
  diagnose,
  extractFeatures,
  fromArrays,
  openRun,
  originStore,
  pretrain,
  readRecipe,
  requestDevice,
  resolveConfig,
} from 'webgpu-ssl/train'
import { globalAveragePool } from 'webgpu-ssl/kernels'

const description = {
  ...{ data: 'mine', width: 4, views: 2, batch: 4, projectorDim: 8, epochs: 2, steps: 3 },
  augmentation: { size: 8 },
}

async function train() {
  const adapter = await navigator.gpu.requestAdapter()
  const engine = new Engine(await requestDevice(adapter), adapter.info)
  const images = Uint8Array.from({ length: 8 * 12 * 12 * 3 }, (_, i) => (i * 7919) % 251)
  const dataset = fromArrays({ images, height: 12, width: 12, name: 'mine' })
  const config = resolveConfig(description)
  const out = originStore('runs/mine')
  const first = await pretrain({ engine, dataset, config, out, signal: AbortSignal.abort() })
  const { backbone, losses, stopped } = await pretrain({ engine, dataset, config, out, resume: true })
  const { latest } = await openRun(out)
  const recipe = config.augmentation
  const features = await extractFeatures(engine, backbone, dataset, { recipe, seed: 1 })
  const diagnostics = await diagnose(engine, backbone, dataset, { recipe, seed: 1, objective: config.objective })
  const pooled = await globalAveragePool(engine.device, { x: [2, 3, 3, 4] })
  return {
    losses: [first.losses, losses],
    stopped: [first.stopped, stopped],
    files: (await out.list('')).sort(),
    step: latest.step,
    features: Array.from(features),
    effectiveRank: diagnostics.effectiveRank,
    operands: Object.keys(pooled.operands),
    recipe: readRecipe('cifar10-bt-d256-v8').views,
  }
}

window.result = await train().catch((error) => ({ error: `${error.stack}` }))
