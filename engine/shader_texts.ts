/** The texts of the .wgsl files where there is no file system: they are fetched from the package's own folder. */
import { kernelNames } from './kernel_names.js'

export { kernelNames }

export type KernelName = (typeof kernelNames)[number]

/**
 * Fetches the texts of all kernels.
 *
 * @param base the folder that has them; by default the package's own, in a form that bundlers resolve
 * @returns the texts by file name without `.wgsl`, as `new Engine(device, info, texts)` takes them
 * @throws Error that names the first file that could not be fetched
 */
export async function fetchKernels(base?: string | URL): Promise<Record<KernelName, string>> {
  const entries = kernelNames.map(async (name) => {
    const url = base ? new URL(`${name}.wgsl`, base) : new URL(`../shaders/${name}.wgsl`, import.meta.url)
    const response = await fetch(url)
    if (!response.ok)
      throw new Error(`${url.href}: ${response.status} ${response.statusText}; serve the package's shaders there`)
    return [name, await response.text()] as const
  })
  return Object.fromEntries(await Promise.all(entries)) as Record<KernelName, string>
}
