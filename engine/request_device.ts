/** A device for an engine. */

/** Features that the engine uses if the adapter has them. */
const wanted = [
  'subgroups',
  'shader-f16',
  'timestamp-query',
  'subgroup-size-control',
  'chromium-experimental-subgroup-matrix',
] as GPUFeatureName[]

/**
 * A device with the adapter's own limits, because WebGPU's default limits are small. An adapter gives one device only.
 *
 *     const adapter = await navigator.gpu.requestAdapter()
 *     const engine = new Engine(await requestDevice(adapter), adapter.info)
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
