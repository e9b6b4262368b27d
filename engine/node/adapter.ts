import { constants, homedir } from 'node:os';
import { join } from 'node:path';

/** Which driver serves the adapter, with one line for the user. */
export interface DriverChoice { kind: string; description: string; note: string }

let pinned: GPU | undefined;

/** Chooses an adapter through Dawn. */
export async function requestAdapter(options: { name?: string; toggles?: string[] } = {}):
    Promise<{ gpu: GPU; adapter: GPUAdapter; driver: DriverChoice }> {
  const folder = join(homedir(), '.cache/webgpu-ssl/lavapipe');
  process.env.VK_ICD_FILENAMES = process.env.VK_DRIVER_FILES = join(folder, 'icd.json');
  process.env.NODEVICE_SELECT = '1';
  try {
    process.dlopen({ exports: {} }, join(folder, 'lib/libvulkan.so.1'), constants.dlopen.RTLD_NOW | 0x1000);
  } catch { /* not a Node module, but now it is loaded */ }
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  pinned = pinned ?? create(options.toggles ?? ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia', 'disable-dawn-features=timestamp_quantization']);
  const adapter = await pinned.requestAdapter();
  if (!adapter) throw new Error('no WebGPU adapter');
  return { gpu: pinned, adapter, driver: { kind: 'lavapipe', description: adapter.info.description, note: 'lavapipe' } };
}
