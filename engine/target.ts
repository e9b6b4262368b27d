/** What lowering needs to know about a device, from its limits, features and adapter. */
import type { Target } from './plan.js'

/** 'cpu' for software drivers, by the adapter's name. In a browser that may be 'mesa software' or 'microsoft warp'. */
export function adapterClassOf({ vendor, architecture, device, description }: GPUAdapterInfo): Target['adapterClass'] {
  const name = `${vendor} ${architecture} ${device} ${description}`.toLowerCase()
  return /llvmpipe|lavapipe|swiftshader|basic render|mesa software|\bwarp\b/.test(name) ? 'cpu' : 'gpu'
}

/**
 * The name of an adapter for people. WebGPU's `description` is often that of the driver, which several cards share, and
 * `device` names the card. A software driver has no card.
 */
export function adapterName(info: GPUAdapterInfo): string {
  const { vendor, device, description } = info
  const names = adapterClassOf(info) === 'gpu' ? [device, description, vendor] : [description, device, vendor]
  return names.find(Boolean) ?? 'unnamed adapter'
}

/** The target for a device; `info` is its adapter's. */
export function targetOf(device: GPUDevice, info: GPUAdapterInfo): Target {
  return {
    adapterClass: adapterClassOf(info),
    maxBindingBytes: Math.floor(Math.min(device.limits.maxStorageBufferBindingSize, 2 ** 31 - 4) / 256) * 256,
    maxBufferBytes: device.limits.maxBufferSize,
    maxWorkgroupsPerDimension: device.limits.maxComputeWorkgroupsPerDimension,
    subgroups: device.features.has('subgroups') && (info.subgroupMinSize ?? 0) >= 8,
    f16: device.features.has('shader-f16'),
    subgroupMatrix: offersMatrices(device, info),
    subgroupSize: [info.subgroupMinSize ?? 0, info.subgroupMaxSize ?? 0],
    subgroupSizeControl: device.features.has('subgroup-size-control' as GPUFeatureName),
    maxInvocations: device.limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
  }
}

/** Whether the device has 16×16×16 matrix units, f16 in and f32 out. It is a Dawn extension, not in the types yet. */
function offersMatrices(device: GPUDevice, info: GPUAdapterInfo): boolean {
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: Record<string, unknown>[] }
  return (
    device.features.has('chromium-experimental-subgroup-matrix') &&
    device.features.has('shader-f16') &&
    [...subgroupMatrixConfigs].some(
      (c) => c.M === 16 && c.N === 16 && c.K === 16 && c.componentType === 'f16' && c.resultComponentType === 'f32',
    )
  )
}
