/** The Node entry: an engine on the best adapter of this machine. It reads the kernels from their files. */
import { readdirSync, readFileSync } from 'node:fs'
import { Engine } from '../engine.js'
import { restUntil } from './rest.js'
import { requestAdapter, AdapterError, type DriverChoice } from './adapter.js'

export { AdapterError, requestAdapter, type DriverChoice }
export { restUntil } from './rest.js'
export { tuneByMeasurement } from './tuning_cache.js'

/** The texts of all kernels by file name without `.wgsl`. */
export function readKernels(folder: URL = new URL('../../shaders/', import.meta.url)): Record<string, string> {
  const files = readdirSync(folder).filter((f) => f.endsWith('.wgsl'))
  return Object.fromEntries(files.map((f) => [f.slice(0, -5), readFileSync(new URL(f, folder), 'utf8')]))
}

/** Features that the engine uses if the adapter has them. */
const wanted = [
  'subgroups',
  'shader-f16',
  'timestamp-query',
  'chromium-experimental-subgroup-matrix',
] as GPUFeatureName[]

/**
 * A device with the adapter's own limits, because WebGPU's default limits are small. An adapter gives one device only.
 */
export async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const { limits } = adapter
  return adapter.requestDevice({
    requiredFeatures: wanted.filter((f) => adapter.features.has(f)),
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: Math.min(limits.maxStorageBuffersPerShaderStage, 16),
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    },
  })
}

/** An engine and its driver. */
export type NodeEngine = Engine & { readonly driver: DriverChoice }

/**
 * Opens the engine on the best adapter: hardware, else a software driver, which is fetched once if there is none.
 *
 * @param options.adapter 'hardware', 'system', 'lavapipe', 'swiftshader' or part of an adapter's description;
 *   `WEBGPU_SSL_ADAPTER` by default
 * @throws AdapterError in one line if there is no such adapter
 */
export async function openEngine(options: { adapter?: string } = {}): Promise<NodeEngine> {
  const { adapter, driver } = await requestAdapter({ name: options.adapter })
  const device = await requestDevice(adapter)
  const engine = Object.assign(new Engine(device, adapter.info, readKernels()), { driver })
  engine.reopen = async () => {
    const { adapter } = await requestAdapter({ name: options.adapter })
    return { device: await requestDevice(adapter), info: adapter.info }
  }
  // Not on hardware: there the processor is free, and a program may take less time than a sleep.
  if (engine.target.adapterClass === 'cpu') engine.waitFor = restUntil
  return engine
}
