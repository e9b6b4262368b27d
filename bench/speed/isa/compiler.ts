/** A GPU's compiler without the GPU: Mesa's RADV on its null device, behind Dawn, in a process of its own. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder, openCache } from '../../../engine/node/cache_folder.mjs'
import { output } from '../../../engine/node/fetch.mjs'
import { fetchRadv } from '../../../engine/node/lavapipe.mjs'

/** GPUs by the names that RADV gives their families: RDNA 2, RDNA 3 and RDNA 4. */
export const families = ['navi21', 'navi31', 'gfx1201'] as const
export type Family = (typeof families)[number]

/**
 * The environment of a process in which Dawn finds the compiler as its only adapter. The compiler is fetched once.
 *
 * @param dump the compiler also prints the machine code of each pipeline
 * @throws Error in one line if there is no apt, no network or no C compiler
 */
export async function compilerEnvironment(family: Family, dump: boolean): Promise<NodeJS.ProcessEnv> {
  const folder = join(openCache(), 'radv')
  if (!existsSync(join(folder, 'driver.json'))) await fetchRadv(folder)
  const manifest = await buildNullGpu()
  return {
    ...process.env,
    NULL_GPU_DRIVER: join(folder, 'lib', 'libvulkan_radeon.so'),
    LD_LIBRARY_PATH: join(folder, 'lib'),
    VK_ICD_FILENAMES: manifest,
    VK_DRIVER_FILES: manifest,
    RADV_FORCE_FAMILY: family,
    RADV_DEBUG: dump ? 'shaderstats,shaders' : 'shaderstats',
    // A cached pipeline would have no figures.
    MESA_SHADER_CACHE_DISABLE: 'true',
  }
}

/** Compiles the driver that does nothing but compile. @returns the path of its Vulkan manifest */
async function buildNullGpu(): Promise<string> {
  const source = fileURLToPath(new URL('null_gpu.c', import.meta.url))
  const version = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 16)
  const folder = join(cacheFolder(), `null-gpu-${version}`)
  const manifest = join(folder, 'icd.json')
  if (existsSync(manifest)) return manifest
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const library = join(folder, 'null_gpu.so')
  const built = `${library}.${process.pid}`
  await output('cc', ['-shared', '-fPIC', '-O1', '-o', built, source, '-ldl']).catch((error: Error) => {
    throw new Error(`the stand-in for a GPU needs a C compiler, such as gcc: ${error.message}`)
  })
  await rename(built, library)
  const text = JSON.stringify({ file_format_version: '1.0.0', ICD: { api_version: '1.3.0', library_path: library } })
  await writeFile(`${manifest}.${process.pid}`, `${text}\n`)
  await rename(`${manifest}.${process.pid}`, manifest)
  return manifest
}
