/** What the standalone kernels keep for each device: its pipelines and its target. */
import { KernelLibrary } from '../kernel.js'
import { kernelTexts } from '../kernel_texts.js'
import { PipelineCache } from '../pipelines.js'
import type { Target } from '../plan.js'
import { targetOf } from '../target.js'

type Texts = Readonly<Record<string, string>>
let loadTexts: () => Texts | Promise<Texts> = () => kernelTexts

/** Replaces the kernels' texts, for example by `{ ...kernelTexts, my_kernel: text }`. It concerns devices used later. */
export function useKernelTexts(load: () => Texts | Promise<Texts>): void {
  loadTexts = load
}

export interface DeviceState {
  readonly library: KernelLibrary
  readonly pipelines: PipelineCache
  readonly target: Target
}

const devices = new WeakMap<GPUDevice, Promise<DeviceState>>()

/** The state of a device, made on first use. */
export function stateOf(device: GPUDevice): Promise<DeviceState> {
  let state = devices.get(device)
  if (!state) {
    state = (async () => {
      const library = new KernelLibrary(await loadTexts())
      // Older browsers do not expose the adapter of a device. It then counts as a GPU without subgroups.
      const info = device.adapterInfo ?? ({} as GPUAdapterInfo)
      return { library, pipelines: new PipelineCache(device, library), target: targetOf(device, info) }
    })()
    state.catch(() => devices.delete(device))
    devices.set(device, state)
  }
  return state
}
