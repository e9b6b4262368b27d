/**
 * One of several equal GPUs for this process. Dawn chooses a GPU by its name, so a small Vulkan layer (equal_gpus.c) hides
 * the others. It is compiled once, into the cache folder.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { driverFolder, openCache } from './cache_folder.mjs'
import { AdapterError } from './drivers.mjs'
import { buildFolder, output } from './fetch.mjs'

const PCI_DEVICES = '/sys/bus/pci/devices'
const LAYER = 'VK_LAYER_WEBGPU_SSL_equal_gpus'

/** Where Vulkan's loader finds the layers that a user may have named, if no variable says otherwise. */
const LAYER_FOLDERS = ['/etc', '/usr/local/share', '/usr/share'].map((folder) => `${folder}/vulkan/explicit_layer.d`)

/** The size of the largest group of GPUs with the same vendor and device that Linux lists for the machine; 0 elsewhere. */
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
 * @returns the variables of Vulkan's loader with which it loads the layer
 * @throws Error in one line if there is no C compiler
 */
export async function layerEnvironment(before = process.env): Promise<Record<string, string>> {
  const folder = await buildLayer()
  const { VK_LAYER_PATH: path, VK_INSTANCE_LAYERS: layers } = before
  return {
    VK_LAYER_PATH: [folder, ...(path ? [path] : layers ? LAYER_FOLDERS : [])].join(delimiter),
    VK_INSTANCE_LAYERS: [LAYER, ...(layers ? [layers] : [])].join(delimiter),
  }
}

/** Settings for tests: the folder in which Linux lists devices, and the variables of the process. */
interface Machine {
  devices?: string
  variables?: NodeJS.ProcessEnv
}

/**
 * Gives each of several processes on a machine one of its equal GPUs.
 *
 * @returns the variable to set for the process; nothing if no two GPUs are equal, or if the user has chosen a GPU
 *
 * @param number the number of the process among those of the machine, from 0 on
 * @param warn told in one line if there is no C compiler; the launcher may have given each process a GPU already
 */
export async function shareOfGpus(
  number: number,
  warn: (line: string) => void,
  { devices, variables = process.env }: Machine = {},
): Promise<{ WEBGPU_SSL_GPU?: string }> {
  if (variables.WEBGPU_SSL_GPU !== undefined || equalGpuCount(devices) < 2) return {}
  try {
    await buildLayer()
    return { WEBGPU_SSL_GPU: String(number) }
  } catch (error) {
    warn(
      `${hostname()}: all processes may use one GPU: install a C compiler, such as gcc, or let the launcher show each process one GPU (${(error as Error).message})`,
    )
    return {}
  }
}

/**
 * Where `WEBGPU_SSL_GPU` is set and the machine has equal GPUs, makes this process see one of them. Call it before Dawn's
 * first request for an adapter.
 *
 * @returns says after that request, in one line, whether the layer was not loaded
 * @throws AdapterError in one line if the variable is no whole number, or if there is no C compiler
 */
export async function useOwnGpu({ devices, variables = process.env }: Machine = {}): Promise<() => string | undefined> {
  const number = variables.WEBGPU_SSL_GPU
  if (number === undefined || number === '') return () => undefined
  if (!/^\d{1,9}$/.test(number))
    throw new AdapterError(`WEBGPU_SSL_GPU '${number}': must be the number of a GPU, from 0 on`)
  if (equalGpuCount(devices) < 2) return () => undefined
  if (!variables.VK_INSTANCE_LAYERS?.includes(LAYER))
    Object.assign(
      variables,
      await layerEnvironment(variables).catch((error: Error) => {
        throw new AdapterError(
          `WEBGPU_SSL_GPU ${number}: needs a C compiler once, such as gcc: install one, or unset the variable (${error.message})`,
        )
      }),
    )
  return () =>
    variables.WEBGPU_SSL_GPU_SHOWN === number
      ? undefined
      : `WEBGPU_SSL_GPU ${number} has no effect: Vulkan's loader did not load the layer ${LAYER}`
}

/** @returns the folder with the layer and its manifest */
async function buildLayer(): Promise<string> {
  const source = fileURLToPath(new URL('equal_gpus.c', import.meta.url))
  const version = createHash('sha256')
    .update(await readFile(source))
    .update(`${process.platform} ${process.arch}`)
    .digest('hex')
    .slice(0, 16)
  openCache()
  const target = driverFolder(`equal-gpus-${version}`)
  if (existsSync(target)) return target
  await buildFolder(target, async (folder) => {
    await output('cc', ['-shared', '-fPIC', '-O1', '-o', join(folder, 'equal_gpus.so'), source])
    const negotiate = 'vkNegotiateLoaderLayerInterfaceVersion'
    const layer = {
      ...{ name: LAYER, type: 'GLOBAL', library_path: './equal_gpus.so', api_version: '1.3.0' },
      ...{ implementation_version: '1', description: 'Shows one of several equal GPUs' },
      functions: { [negotiate]: negotiate },
    }
    await writeFile(join(folder, 'layer.json'), `${JSON.stringify({ file_format_version: '1.1.0', layer }, null, 2)}\n`)
  })
  return target
}
