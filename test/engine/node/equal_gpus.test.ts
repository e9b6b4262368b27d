/** One of several equal GPUs for each process. */
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { driverFolder } from '../../../engine/node/cache_folder.mjs'
import { equalGpuCount, layerEnvironment, shareOfGpus, useOwnGpu } from '../../../engine/node/equal_gpus.js'
import { hasCompiler, listEqualGpus } from '../../support/equal_gpus.js'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

const devices = listEqualGpus(folder)
const warn = (): never => expect.unreachable()

test('counts the GPUs of the same model among the devices of the machine', () => {
  expect(equalGpuCount(devices)).toBe(2)
  expect(equalGpuCount(join(folder, 'none'))).toBe(0)
})

test.skipIf(!hasCompiler)(
  'a process takes a GPU of its own, unless the user has chosen or no two are equal',
  async () => {
    expect(await shareOfGpus(1, warn, { devices, variables: {} })).toEqual({ WEBGPU_SSL_GPU: '1' })
    expect(await shareOfGpus(1, warn, { devices, variables: { WEBGPU_SSL_GPU: '0' } })).toEqual({})
    expect(await shareOfGpus(1, warn, { devices: join(folder, 'none'), variables: {} })).toEqual({})
  },
)

describe('without a C compiler', () => {
  const { PATH, WEBGPU_SSL_CACHE } = process.env
  beforeAll(() => Object.assign(process.env, { PATH: folder, WEBGPU_SSL_CACHE: join(folder, 'cache') }))
  afterAll(() => {
    process.env.PATH = PATH
    if (WEBGPU_SSL_CACHE === undefined) delete process.env.WEBGPU_SSL_CACHE
    else process.env.WEBGPU_SSL_CACHE = WEBGPU_SSL_CACHE
  })

  test('processes go on, and say that they may use one GPU', async () => {
    const said: string[] = []
    const share = await shareOfGpus(1, (line) => void said.push(line), { devices, variables: {} })
    expect(share).toEqual({})
    expect(said).toEqual([
      expect.stringMatching(/: all processes may use one GPU: install a C compiler, such as gcc, or .* \(.*ENOENT\)$/),
    ])
  })

  test('a GPU that the user has chosen is refused', async () => {
    await expect(useOwnGpu({ devices, variables: { WEBGPU_SSL_GPU: '1' } })).rejects.toThrow(
      /^WEBGPU_SSL_GPU 1: needs a C compiler once, such as gcc: install one, or unset the variable/,
    )
  })
})

test('a number that is none is refused', async () => {
  await expect(useOwnGpu({ devices, variables: { WEBGPU_SSL_GPU: 'first' } })).rejects.toThrow(
    "WEBGPU_SSL_GPU 'first': must be the number of a GPU, from 0 on",
  )
})

test.skipIf(!hasCompiler)("Vulkan's loader is told of the layer; layers of the user stay", async () => {
  const variables: NodeJS.ProcessEnv = { WEBGPU_SSL_GPU: '1', VK_INSTANCE_LAYERS: 'VK_LAYER_own' }
  const unused = await useOwnGpu({ devices, variables })
  expect(variables.VK_INSTANCE_LAYERS).toMatch(/^VK_LAYER_WEBGPU_SSL_equal_gpus.VK_LAYER_own$/)
  expect(variables.VK_LAYER_PATH).toMatch(/equal-gpus-[0-9a-f]{16}.\/etc\/vulkan\/explicit_layer\.d.*\/usr\/share/)
  expect(unused()).toMatch(/^WEBGPU_SSL_GPU 1 has no effect: /)
  variables.WEBGPU_SSL_GPU_SHOWN = '1'
  expect(unused()).toBeUndefined()
})

describe.skipIf(!hasCompiler)('the layer', () => {
  let host: string
  let layer: string

  beforeAll(async () => {
    host = join(folder, 'host')
    await run('cc', ['-O1', '-o', host, fileURLToPath(new URL('equal_gpus_host.c', import.meta.url)), '-ldl'])
    layer = join((await layerEnvironment({})).VK_LAYER_PATH, 'equal_gpus.so')
  })

  /** @returns Vulkan's result, the number of GPUs, and which of them are shown */
  async function shown(gpus: string, index?: string, room = 16): Promise<number[]> {
    const { WEBGPU_SSL_GPU: _, ...rest } = process.env
    const env = { ...rest, ...(index !== undefined && { WEBGPU_SSL_GPU: index }) }
    const { stdout } = await run(host, [layer, String(room), ...gpus.split(' ')], { env })
    // The layer passes the chain on, and the instance is destroyed at the end.
    expect(stdout).toMatch(/ next 0\n$/)
    return stdout
      .replace(/ next 0\n$/, '')
      .split(' ')
      .map(Number)
  }

  test('shows one member of each group of equal GPUs, and all that differ', async () => {
    const gpus = '1a03:2000 10de:2335 8086:1 10de:2335 10de:2335'
    expect(await shown(gpus, '0')).toEqual([0, 3, 0, 1, 2])
    expect(await shown(gpus, '1')).toEqual([0, 3, 0, 2, 3])
    expect(await shown(gpus, '2')).toEqual([0, 3, 0, 2, 4])
    expect(await shown(gpus, '3')).toEqual([0, 3, 0, 1, 2])
    expect(await shown('10de:1 8086:2 8086:2 10de:1', '1')).toEqual([0, 2, 2, 3])
  })

  test('a GPU that two drivers list counts once', async () => {
    const gpus = '1002:1@3 1002:1@4 1002:1@3 1002:1@4 1002:1@5'
    expect(await shown(gpus, '0')).toEqual([0, 1, 0])
    expect(await shown(gpus, '1')).toEqual([0, 1, 1])
    expect(await shown(gpus, '2')).toEqual([0, 1, 4])
    expect(await shown(gpus, '3')).toEqual([0, 1, 0])
  })

  test('shows all where no two are equal, or where none is chosen', async () => {
    expect(await shown('10de:1 10de:2', '1')).toEqual([0, 2, 0, 1])
    expect(await shown('10de:1', '5')).toEqual([0, 1, 0])
    expect(await shown('10de:1 10de:1')).toEqual([0, 2, 0, 1])
  })

  test('says that a list is incomplete', async () => {
    const incomplete = 5
    expect(await shown('10de:1 10de:2 10de:3', '0', 2)).toEqual([incomplete, 3, 0, 1])
    expect(await shown('10de:1 10de:1', '1', 1)).toEqual([0, 1, 1])
  })

  const lavapipe = join(driverFolder('lavapipe'), 'lib')
  test.skipIf(!existsSync(join(lavapipe, 'libvulkan_lvp.so')))(
    'works under Dawn: of two equal adapters one is left, and computes',
    async () => {
      const second = join(folder, 'libvulkan_lvp.so')
      copyFileSync(join(lavapipe, 'libvulkan_lvp.so'), second)
      const manifests = [join(lavapipe, 'libvulkan_lvp.so'), second].map((library_path, i) => {
        const manifest = join(folder, `icd-${i}.json`)
        const content = { file_format_version: '1.0.1', ICD: { library_path, api_version: '1.4.0' } }
        writeFileSync(manifest, JSON.stringify(content))
        return manifest
      })
      const icds = manifests.join(':')
      const drivers = { VK_ICD_FILENAMES: icds, VK_DRIVER_FILES: icds, LD_LIBRARY_PATH: lavapipe }
      const script = `
        const { create } = require('webgpu')
        const names = (error) => [...error.message.matchAll(/name: '/g)].length
        const main = async () => {
          const count = await create(['adapter=\\u0001']).requestAdapter().then(() => 0, names)
          const gpu = create([])
          const device = await (await gpu.requestAdapter()).requestDevice()
          console.log(count, device.limits.maxBindGroups > 0, process.env.WEBGPU_SSL_GPU_SHOWN)
          process.exit(0)
        }
        main()`
      const adapters = async (own: Record<string, string>): Promise<string> =>
        (await run(process.execPath, ['-e', script], { env: { ...process.env, ...drivers, ...own } })).stdout
      expect(await adapters({})).toBe('2 true undefined\n')
      expect(await adapters({ ...(await layerEnvironment({})), WEBGPU_SSL_GPU: '1' })).toBe('1 true 1\n')
    },
  )
})
