/** One of several equal GPUs for each process. */
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { driverFolder } from '../../../engine/node/cache_folder.mjs'
import { equalGpuCount, gpuEnvironment, shareOfGpus, useOwnGpu } from '../../../engine/node/equal_gpus.js'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

const hasCompiler = await run('cc', ['--version']).then(
  () => true,
  () => false,
)

test('counts the GPUs of the same model among the devices of the machine', () => {
  const list = [
    ['0x030000', '0x1a03', '0x2000'],
    ['0x030200', '0x10de', '0x2335'],
    ['0x030200', '0x10de', '0x2335'],
    ['0x030200', '0x10de', '0x2336'],
    ['0x020000', '0x15b3', '0x101d'],
    ['0x020000', '0x15b3', '0x101d'],
    ['0x020000', '0x15b3', '0x101d'],
  ]
  for (const [i, values] of list.entries()) {
    mkdirSync(join(folder, 'devices', String(i)), { recursive: true })
    for (const [j, name] of ['class', 'vendor', 'device'].entries())
      writeFileSync(join(folder, 'devices', String(i), name), `${values[j]}\n`)
  }
  expect(equalGpuCount(join(folder, 'devices'))).toBe(2)
  expect(equalGpuCount(join(folder, 'none'))).toBe(0)
})

test('processes share no GPUs where the user has chosen one, or where no two are equal', async () => {
  const devices = join(folder, 'devices')
  const warn = (): never => expect.unreachable()
  expect(await shareOfGpus(1, warn, { devices, before: { WEBGPU_SSL_GPU: '0' } })).toEqual({})
  expect(await shareOfGpus(1, warn, { devices: join(folder, 'none'), before: {} })).toEqual({})
})

test('without a C compiler processes go on, and say that they may share a GPU', async () => {
  const { PATH, WEBGPU_SSL_CACHE } = process.env
  Object.assign(process.env, { PATH: folder, WEBGPU_SSL_CACHE: join(folder, 'cache') })
  const said: string[] = []
  const variables = await shareOfGpus(1, (line) => void said.push(line), {
    devices: join(folder, 'devices'),
    before: {},
  })
  process.env.PATH = PATH
  if (WEBGPU_SSL_CACHE === undefined) delete process.env.WEBGPU_SSL_CACHE
  else process.env.WEBGPU_SSL_CACHE = WEBGPU_SSL_CACHE
  expect(variables).toEqual({})
  expect(said).toEqual([
    expect.stringMatching(/^all processes may use the same GPU: .* needs a C compiler, such as gcc, once \(.*ENOENT\)/),
  ])
})

test('refuses a number that is none', async () => {
  process.env.WEBGPU_SSL_GPU = 'first'
  await expect(useOwnGpu()).rejects.toThrow("WEBGPU_SSL_GPU 'first': must be the number of a GPU, from 0 on")
  delete process.env.WEBGPU_SSL_GPU
})

describe.skipIf(!hasCompiler)('the layer', () => {
  let host: string
  let layer: string

  beforeAll(async () => {
    host = join(folder, 'host')
    await run('cc', ['-O1', '-o', host, fileURLToPath(new URL('equal_gpus_host.c', import.meta.url)), '-ldl'])
    const { VK_LAYER_PATH } = await shareOfGpus(0, () => undefined, { devices: join(folder, 'devices'), before: {} })
    const manifest = JSON.parse(readFileSync(join(VK_LAYER_PATH, 'layer.json'), 'utf8')) as {
      layer: { library_path: string }
    }
    layer = manifest.layer.library_path
  })

  /** @returns Vulkan's result, the number of GPUs, and which of them are shown */
  async function shown(gpus: string, index?: string, room = 16): Promise<number[]> {
    const { WEBGPU_SSL_GPU: _, ...rest } = process.env
    const env = { ...rest, ...(index !== undefined && { WEBGPU_SSL_GPU: index }) }
    const { stdout } = await run(host, [layer, String(room), ...gpus.split(' ')], { env })
    // The instance was passed on along the chain, and is gone at the end.
    expect(stdout).toMatch(/ next 0\n$/)
    return stdout
      .replace(/ next 0\n$/, '')
      .split(' ')
      .map(Number)
  }

  test('shows one member of the largest group of equal GPUs', async () => {
    const gpus = '1a03:2000 10de:2335 8086:1 10de:2335 10de:2335'
    expect(await shown(gpus, '0')).toEqual([0, 1, 1])
    expect(await shown(gpus, '1')).toEqual([0, 1, 3])
    expect(await shown(gpus, '2')).toEqual([0, 1, 4])
    expect(await shown(gpus, '3')).toEqual([0, 1, 1])
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
          console.log(count, device.limits.maxBindGroups > 0)
          process.exit(0)
        }
        main()`
      const adapters = async (own: Record<string, string>): Promise<string> =>
        (await run(process.execPath, ['-e', script], { env: { ...process.env, ...drivers, ...own } })).stdout
      expect(await adapters({})).toBe('2 true\n')
      expect(await adapters(await gpuEnvironment('1', {}))).toBe('1 true\n')
    },
  )
})
