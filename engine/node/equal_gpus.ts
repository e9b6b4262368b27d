/**
 * One of several equal GPUs for this process. Dawn chooses a GPU by its name, so a small Vulkan layer (equal_gpus.c) hides
 * the others. It is compiled once, into the cache folder.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { readFile, rename } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openCache, writeWhole } from './cache_folder.mjs'
import { AdapterError } from './drivers.mjs'
import { output } from './fetch.mjs'
import { temporaryBeside } from './temporary.mjs'

const PCI_DEVICES = '/sys/bus/pci/devices'
const LAYER = 'VK_LAYER_WEBGPU_SSL_equal_gpus'

/** The size of the largest group of GPUs with the same vendor and device, by what Linux lists; 0 elsewhere. */
export function equalGpuCount(devices = PCI_DEVICES): number {
  if (!existsSync(devices)) return 0
  const counts = new Map<string, number>()
  for (const device of readdirSync(devices)) {
    const read = (name: string): string => {
      const file = join(devices, device, name)
      return existsSync(file) ? readFileSync(file, 'utf8').trim() : ''
    }
    // The class of display controllers begins with 03.
    if (!read('class').startsWith('0x03')) continue
    const model = `${read('vendor')} ${read('device')}`
    counts.set(model, (counts.get(model) ?? 0) + 1)
  }
  return Math.max(0, ...counts.values())
}

/**
 * Compiles the layer where that has not been done.
 *
 * @returns the variables with which a process sees only GPU `index` (from 0, modulo their number) of the equal ones
 * @throws AdapterError in one line if there is no C compiler
 */
export async function gpuEnvironment(index: string, before = process.env): Promise<Record<string, string>> {
  const folder = await buildLayer()
  const list = (own: string, given?: string): string => [own, ...(given ? [given] : [])].join(delimiter)
  return {
    WEBGPU_SSL_GPU: index,
    VK_LAYER_PATH: list(folder, before.VK_LAYER_PATH),
    VK_INSTANCE_LAYERS: list(LAYER, before.VK_INSTANCE_LAYERS),
  }
}

/**
 * The variables for one of several processes that share the work of a machine: each sees one of the equal GPUs. None if the
 * machine has no equal GPUs, or if the user has chosen one.
 *
 * @param process its number among those of the machine, from 0 on
 * @param warn told in one line if there is no C compiler; the launcher may have given each process a GPU already
 */
export async function shareOfGpus(
  process: number,
  warn: (line: string) => void,
  { devices = PCI_DEVICES, before = globalThis.process.env } = {},
): Promise<Record<string, string>> {
  if (before.WEBGPU_SSL_GPU !== undefined || equalGpuCount(devices) < 2) return {}
  try {
    return await gpuEnvironment(String(process), before)
  } catch (error) {
    warn(`all processes may use the same GPU: ${(error as Error).message}`)
    return {}
  }
}

/**
 * Where `WEBGPU_SSL_GPU` is set and the machine has equal GPUs, makes this process see one of them. Call it before Dawn's
 * first request for an adapter.
 *
 * @throws AdapterError in one line if the variable is no whole number, or if there is no C compiler
 */
export async function useOwnGpu(): Promise<void> {
  const index = process.env.WEBGPU_SSL_GPU
  if (index === undefined || index === '') return
  if (!/^\d{1,9}$/.test(index))
    throw new AdapterError(`WEBGPU_SSL_GPU '${index}': must be the number of a GPU, from 0 on`)
  if (process.env.VK_INSTANCE_LAYERS?.includes(LAYER) || equalGpuCount() < 2) return
  Object.assign(process.env, await gpuEnvironment(index))
}

/** @returns the folder with the layer and its manifest */
async function buildLayer(): Promise<string> {
  const source = fileURLToPath(new URL('equal_gpus.c', import.meta.url))
  const version = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 16)
  const folder = join(openCache(), `equal-gpus-${version}`)
  const manifest = join(folder, 'layer.json')
  if (existsSync(manifest)) return folder
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const library = join(folder, 'equal_gpus.so')
  const built = temporaryBeside(library)
  await output('cc', ['-shared', '-fPIC', '-O1', '-o', built, source]).catch((error: Error) => {
    throw new AdapterError(
      `this machine has several equal GPUs: to choose one of them needs a C compiler, such as gcc, once (${error.message}); or start each process so that it sees one GPU, and unset WEBGPU_SSL_GPU`,
    )
  })
  await rename(built, library)
  const negotiate = 'vkNegotiateLoaderLayerInterfaceVersion'
  const layer = {
    ...{ name: LAYER, type: 'GLOBAL', library_path: library, api_version: '1.3.0', implementation_version: '1' },
    ...{ description: 'Shows one of several equal GPUs', functions: { [negotiate]: negotiate } },
  }
  writeWhole(manifest, `${JSON.stringify({ file_format_version: '1.0.0', layer })}\n`)
  return folder
}
