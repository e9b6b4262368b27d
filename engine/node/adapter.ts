import { AdapterError, activateDriver, chooseDriver, forgetVerdict } from './drivers.mjs'
import type { DriverKind } from './drivers.mjs'

export { AdapterError }

/** Which driver serves an adapter; `note` is one line for the user. */
export interface DriverChoice {
  kind: DriverKind
  description: string
  note: string
}

/** Unsafe APIs are subgroup matrices; f16 is hidden on NVIDIA, and timestamps are rounded to 65 µs, by default. */
const defaultToggles = [
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
  'disable-dawn-features=timestamp_quantization',
]

/** Dawn's instances by flags. They must stay referenced: once one is collected, its objects crash the process. */
const instances = new Map<string, GPU>()

/**
 * A WebGPU adapter on the best driver of this machine: a hardware GPU, else a software driver of the system,
 * else lavapipe or SwiftShader, fetched into the cache folder once. WebGPU's globals (`GPUBufferUsage` and so
 * on) are defined on return. An adapter gives one device; ask again for another.
 *
 * @param options.name a driver kind ('hardware', 'system', 'lavapipe', 'swiftshader') or part of an adapter's
 *   description; `WEBGPU_SSL_ADAPTER` by default
 * @param options.toggles flags for Dawn in place of the default ones
 * @throws AdapterError where no adapter can serve, with the remedy
 */
export async function requestAdapter(
  options: { name?: string; toggles?: string[] } = {},
): Promise<{ gpu: GPU; adapter: GPUAdapter; driver: DriverChoice }> {
  const { kind, home, name, description, note } = await chooseDriver(options.name)
  activateDriver(home)
  const { create, globals } = await import('webgpu')
  Object.assign(globalThis, globals)

  const flags = [...(options.toggles ?? defaultToggles), ...(name ? [`adapter=${name}`] : [])]
  const key = flags.join(' ')
  const gpu = instances.get(key) ?? create(flags)
  instances.set(key, gpu)
  // Dawn throws where none of its adapters has the name that was asked for.
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null)
  if (!adapter) {
    forgetVerdict(home)
    throw new AdapterError(`The adapter ${description} was offered before and is gone: start again to look anew.`)
  }
  return { gpu, adapter, driver: { kind, description, note } }
}
