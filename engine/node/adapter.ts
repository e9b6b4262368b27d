import { AdapterError, activateDriver, chooseDriver, forgetVerdict, healDriver } from './drivers.mjs'
import type { Driver, DriverKind } from './drivers.mjs'
import { useOwnGpu } from './equal_gpus.js'

export { AdapterError }

/** The driver of an adapter; `note` is one line for the user. */
export interface DriverChoice {
  kind: DriverKind
  description: string
  note: string
}

/** Dawn's defaults exclude subgroup matrices (an unsafe API) and f16 on NVIDIA, and round timestamps to 65 µs. */
const defaultToggles = [
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
  'disable-dawn-features=timestamp_quantization',
]

/** Dawn's instances by flags. They stay referenced because the objects of a collected instance crash the process. */
const instances = new Map<string, GPU>()

/**
 * A WebGPU adapter on the best driver of this machine: a hardware GPU, else a software driver of the system, else
 * lavapipe or SwiftShader, which is fetched into the cache folder once. It also defines WebGPU's globals, such as
 * `GPUBufferUsage`. Of several equal GPUs it takes the one whose number is `WEBGPU_SSL_GPU`, from 0 on. An adapter gives
 * one device only: for another device, request another adapter.
 *
 * @param options.name a driver kind ('hardware', 'system', 'lavapipe', 'swiftshader') or part of an adapter's
 *   description; `WEBGPU_SSL_ADAPTER` by default
 * @param options.toggles flags for Dawn instead of the default ones
 * @throws AdapterError if there is no such adapter, with the remedy
 */
export async function requestAdapter(
  options: { name?: string; toggles?: string[] } = {},
): Promise<{ gpu: GPU; adapter: GPUAdapter; driver: DriverChoice }> {
  const first = await chooseDriver(options.name)
  const unused = first.kind === 'hardware' ? await useOwnGpu() : undefined
  const found = await request(first, options.toggles)
  const warning = unused?.()
  if (warning) process.stderr.write(`${warning}\n`)
  if (found) return found
  // The cached answer about the driver does not hold any more: ask again.
  forgetVerdict(first.home)
  const second = await chooseDriver(options.name)
  const again = second.home === first.home ? await request(second, options.toggles) : undefined
  if (again) return again
  throw new AdapterError(
    `The adapter ${first.description} is no longer available: start again to search for another one.`,
  )
}

async function request(
  { kind, home, name, description, note }: Driver,
  toggles = defaultToggles,
): Promise<{ gpu: GPU; adapter: GPUAdapter; driver: DriverChoice } | undefined> {
  try {
    activateDriver(home)
  } catch (error) {
    if (!(await healDriver(home))) throw error
    activateDriver(home)
  }
  const { create, globals } = await import('webgpu')
  Object.assign(globalThis, globals)

  const flags = [...toggles, ...(name ? [`adapter=${name}`] : [])]
  const key = flags.join(' ')
  const gpu = instances.get(key) ?? create(flags)
  instances.set(key, gpu)
  // Dawn throws if no adapter has the requested name.
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null)
  return adapter ? { gpu, adapter, driver: { kind, description, note } } : undefined
}
