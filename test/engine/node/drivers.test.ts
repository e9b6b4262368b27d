import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { cacheFolder, driverFolder } from '../../../engine/node/cache_folder.mjs'
import { adapterNote, matchesName, verdictKey } from '../../../engine/node/drivers.mjs'
import { buildFolder } from '../../../engine/node/fetch.mjs'
import {
  archiveSources,
  libraryPackages,
  loadOrder,
  neededLibraries,
  parseAptSources,
  parseOsRelease,
} from '../../../engine/node/lavapipe.mjs'
import { adapterArgument, installIsCurrent, nodeIsRecent } from '../../../engine/node/launch.mjs'
import { readTar } from '../../../engine/node/swiftshader.mjs'

const folder = mkdtempSync(join(tmpdir(), 'drivers-'))
afterAll(() => rmSync(folder, { recursive: true }))

const debian12 = parseOsRelease(
  'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n',
)

describe('apt sources', () => {
  const deb822 = [
    '# a comment',
    'Types: deb deb-src',
    'URIs: http://mirror.example/debian',
    'Suites: bookworm bookworm-updates',
    'Components: main contrib',
    'Signed-By:',
    ' -----BEGIN PGP PUBLIC KEY BLOCK-----',
    ' .',
    ' abc',
    '',
    'Types: deb-src',
    'URIs: http://sources.example',
    'Suites: bookworm',
    'Components: main',
    '',
    'Enabled: no',
    'Types: deb',
    'URIs: http://disabled.example',
    'Suites: bookworm',
    'Components: main',
  ].join('\n')

  it('reads deb822 stanzas with inline keys, without source packages and disabled stanzas', () => {
    expect(parseAptSources(deb822)).toEqual([
      {
        uris: 'http://mirror.example/debian',
        suites: ['bookworm', 'bookworm-updates'],
        components: 'main contrib',
        signedBy: '\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc',
        trusted: '',
      },
    ])
  })

  it('reads one-line sources with and without options', () => {
    const text =
      '#deb http://off.example a main\ndeb-src http://x bookworm main\ndeb http://a.example noble main universe # why\ndeb [arch=amd64 signed-by=/k.gpg] http://b.example nodistro main\n'
    expect(parseAptSources(text)).toEqual([
      { uris: 'http://a.example', suites: ['noble'], components: 'main universe', signedBy: '', trusted: '' },
      { uris: 'http://b.example', suites: ['nodistro'], components: 'main', signedBy: '/k.gpg', trusted: '' },
    ])
  })

  it("keeps the distribution's own suites, and adds backports only on Debian 12", () => {
    const sources = [...parseAptSources(deb822), ...parseAptSources('deb http://other.example nodistro main')]
    const written = parseAptSources(archiveSources(sources, debian12))
    expect(written.map((source) => source.suites)).toEqual([['bookworm', 'bookworm-updates'], ['bookworm-backports']])
    expect(written[1]).toMatchObject({
      uris: 'http://mirror.example/debian',
      components: 'main',
      signedBy: written[0].signedBy,
    })
    const ubuntu = archiveSources(parseAptSources('deb http://a.example noble main'), {
      ID: 'ubuntu',
      VERSION_ID: '24.04',
      VERSION_CODENAME: 'noble',
    })
    expect(ubuntu).toContain('Suites: noble\n')
    expect(ubuntu).not.toContain('backports')
    expect(archiveSources(sources, { ID: 'fedora' }).trim()).toBe('')
  })

  it("lists library packages of a recursive listing, without the system's runtimes", () => {
    const listing =
      'mesa-vulkan-drivers\n  Depends: libc6\n |Depends: libz3-4\nlibc6\nlibllvm19\n<libgl-virtual>\nlibstdc++6\nlibx11-data\nlibx11-6:i386\npython3\nzlib1g\nlibllvm19\n'
    expect(libraryPackages(listing)).toEqual(['mesa-vulkan-drivers', 'libllvm19', 'zlib1g'])
  })
})

describe('archives and libraries', () => {
  /** A ustar header and its padded content. */
  function entry(name: string, content: string, type = '0', prefix = ''): Buffer {
    const block = Buffer.alloc(512 + Math.ceil(content.length / 512) * 512)
    block.write(name, 0)
    block.write(content.length.toString(8).padStart(11, '0'), 124)
    block.write(type, 156)
    block.write('ustar\0', 257)
    block.write(prefix, 345)
    block.write(content, 512)
    return block
  }

  it('reads regular files of a tar archive', () => {
    const tar = Buffer.concat([
      entry('a/', '', '5'),
      entry('a/one.txt', 'x'.repeat(700)),
      entry('two.txt', 'two', '0', 'deep/er'),
      entry('link', '', '2'),
      Buffer.alloc(1024),
    ])
    const files = readTar(tar)
    expect([...files.keys()]).toEqual(['a/one.txt', 'deep/er/two.txt'])
    expect(files.get('a/one.txt')!.toString()).toBe('x'.repeat(700))
    expect(files.get('deep/er/two.txt')!.toString()).toBe('two')
    expect(() => readTar(tar.subarray(0, 1100))).toThrow('truncated')
  })

  it('reads the needed libraries of an ELF file', () => {
    const strings = Buffer.from('\0libz.so.1\0libvulkan.so.1\0')
    const elf = Buffer.alloc(0x200)
    Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]).copy(elf)
    elf.writeBigUInt64LE(64n, 32) // program headers
    elf.writeUInt16LE(56, 54)
    elf.writeUInt16LE(2, 56)
    const header = (at: number, type: number, offset: number, address: number, size: number): void => {
      elf.writeUInt32LE(type, at)
      ;[offset, address, size].forEach((value, i) => elf.writeBigUInt64LE(BigInt(value), at + [8, 16, 32][i]))
    }
    header(64, 1, 0x180, 0x9180, 0x80) // a loaded segment that holds the string table, elsewhere in memory
    header(120, 2, 0x100, 0x9100, 0x60) // the dynamic section
    ;[
      [1, 1],
      [5, 0x9180],
      [1, 11],
      [0, 0],
    ]
      .flat()
      .forEach((value, i) => elf.writeBigUInt64LE(BigInt(value), 0x100 + 8 * i))
    strings.copy(elf, 0x180)
    expect(neededLibraries(elf)).toEqual(['libz.so.1', 'libvulkan.so.1'])
    expect(() => neededLibraries(Buffer.alloc(64))).toThrow('ELF')
  })

  it('orders libraries after those that they need, also if they need each other', () => {
    const needs: Record<string, string[]> = { driver: ['llvm', 'z'], llvm: ['xml', 'z'], xml: ['z', 'llvm'], z: [] }
    expect(loadOrder(['driver', 'loader'], (name) => needs[name] ?? [])).toEqual([
      'z',
      'xml',
      'llvm',
      'driver',
      'loader',
    ])
  })

  it('builds a folder completely or not at all, and keeps one of two simultaneous builds', async () => {
    const target = join(folder, 'driver')
    await expect(
      buildFolder(target, async (path) => {
        writeFileSync(join(path, 'half'), '')
        throw new Error('network')
      }),
    ).rejects.toThrow('network')
    expect(readdirSync(folder)).toEqual([])
    await Promise.all(
      ['first', 'second'].map((text) => buildFolder(target, async (path) => writeFileSync(join(path, 'file'), text))),
    )
    expect(readdirSync(folder)).toEqual(['driver'])
    expect(['first', 'second']).toContain(readFileSync(join(target, 'file'), 'utf8'))
    rmSync(target, { recursive: true })
  })
})

describe('choice of an adapter', () => {
  const nvidia = { kind: 'hardware', name: 'NVIDIA H200', description: 'NVIDIA: 580.1' } as const
  const lavapipe = { kind: 'lavapipe', name: 'llvmpipe (LLVM 15)', description: 'llvmpipe: Mesa 25' } as const

  it('is by kind, or by part of its name or description, in upper or lower case', () => {
    expect(matchesName('HARDWARE', nvidia)).toBe(true)
    expect(matchesName('lavapipe', nvidia)).toBe(false)
    expect(matchesName('h200', nvidia)).toBe(true)
    expect(matchesName('mesa 25', lavapipe)).toBe(true)
    expect(matchesName('system', { kind: 'hardware', name: 'system', description: '' })).toBe(false)
  })

  it('is shown in one line, with the speed of a better adapter', () => {
    expect(adapterNote('hardware', 'X')).toBe('Adapter: X (hardware GPU).')
    expect(adapterNote('lavapipe', 'llvmpipe')).toMatch(/hardware GPU would be 100 times/)
    expect(adapterNote('system', 'SwiftShader driver 5.0.0')).toMatch(/lavapipe would be about 5 times/)
    for (const kind of ['hardware', 'system', 'lavapipe', 'swiftshader'] as const)
      expect(adapterNote(kind, 'X')).not.toContain('\n')
  })

  it("is made again only if a driver file or the loader's environment changes", () => {
    const file = join(folder, 'icd.json')
    writeFileSync(file, '{}')
    utimesSync(file, 1000, 1000)
    const key = verdictKey('machine', [file], { PATH: '/bin' })
    expect(verdictKey('machine', [file], { PATH: '/usr/bin' })).toBe(key)
    expect(verdictKey('lavapipe', [file], {})).not.toBe(key)
    expect(verdictKey('machine', [file], { VK_DRIVER_FILES: file })).not.toBe(key)
    utimesSync(file, 2000, 2000)
    expect(verdictKey('machine', [file], {})).not.toBe(key)
  })

  it('keeps its files in the folder that the environment names', () => {
    vi.stubEnv('WEBGPU_SSL_CACHE', '/somewhere')
    expect(cacheFolder()).toBe('/somewhere')
    vi.stubEnv('WEBGPU_SSL_CACHE', undefined)
    vi.stubEnv('XDG_CACHE_HOME', '/xdg')
    expect(cacheFolder()).toBe(join('/xdg', 'webgpu-ssl'))
    vi.unstubAllEnvs()
  })
})

describe('launcher', () => {
  it('requires Node 20.17', () => {
    expect(['18.20.0', '20.16.9', '20.17.0', '22.0.0'].map(nodeIsRecent)).toEqual([false, false, true, true])
  })

  it("finds --adapter among a script's arguments", () => {
    expect(adapterArgument(['--steps', '3', '--adapter', 'lavapipe'])).toBe('lavapipe')
    expect(adapterArgument(['--adapter=h200'])).toBe('h200')
    expect(adapterArgument(['--steps', '3'])).toBeUndefined()
  })

  it.each([
    [
      ['engine/node/doctor.ts', '--adaptr', 'x'],
      "error: unknown option '--adaptr'. Did you mean --adapter? (--help lists all)\n",
    ],
    [
      ['train/cli/views.ts', '--adapter', 'nope'],
      "error: No WebGPU adapter matches 'nope': `npm run doctor` lists the available ones.\n",
    ],
    [
      ['bench/speed/cli.ts', 'trace', '--quick'],
      'error: --quick is not for trace: it takes --out, --force, --rounds, --only and --tune\n',
    ],
  ])('%j ends in one line', async (args, line) => {
    const env = { ...process.env, WEBGPU_SSL_DEBUG: '' }
    const ended = promisify(execFile)(process.execPath, ['engine/node/launch.mjs', ...args], { env })
    await expect(ended).rejects.toMatchObject({ code: 1, stdout: '', stderr: line })
  })

  it('installs if a package is missing or has another version, but not for packages of other systems', () => {
    const lock = (version: string): string =>
      JSON.stringify({
        packages: { '': {}, 'node_modules/a': { version }, 'node_modules/b': { version: '1.0.0', optional: true } },
      })
    const installed = JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0' } } })
    expect(installIsCurrent(lock('1.0.0'), installed)).toBe(true)
    expect(installIsCurrent(lock('1.0.1'), installed)).toBe(false)
    expect(installIsCurrent(lock('1.0.0'), '')).toBe(false)
  })
})

// Mesa's cache on disk does not tell the code of one width from that of another.
it.skipIf(!existsSync(join(driverFolder('lavapipe'), 'lib')))(
  'the shaders of lavapipe have the width of the vectors that is asked for, whatever was compiled before',
  async () => {
    const script = `
      import { openEngine } from '${pathToFileURL(resolve('engine/node/index.ts')).href}'
      const { device } = await openEngine()
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC
      const [firsts, read] = [usage, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST].map((usage) => device.createBuffer({ size: 256, usage }))
      const module = device.createShaderModule({ code: \`enable subgroups;
        @group(0) @binding(0) var<storage, read_write> firsts: array<u32, 64>;
        @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) { firsts[i] = subgroupBroadcastFirst(i); }\` })
      const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } })
      const encoder = device.createCommandEncoder()
      const pass = encoder.beginComputePass()
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: firsts } }] }))
      pass.dispatchWorkgroups(1)
      pass.end()
      encoder.copyBufferToBuffer(firsts, 0, read, 0, 256)
      device.queue.submit([encoder.finish()])
      await read.mapAsync(GPUMapMode.READ)
      console.log(64 / new Set(new Uint32Array(read.getMappedRange())).size)
      process.exit()`
    const file = join(folder, 'lanes.mts')
    writeFileSync(file, script)
    const lanes = async (bits: string): Promise<string> => {
      const { MESA_SHADER_CACHE_DIR: _, ...rest } = process.env
      const env = { ...rest, WEBGPU_SSL_ADAPTER: 'lavapipe', LP_NATIVE_VECTOR_WIDTH: bits }
      return (await promisify(execFile)(process.execPath, ['--import', 'tsx', file], { env })).stdout.trim()
    }
    expect(await lanes('256')).toBe('8')
    expect(await lanes('512')).toBe('16')
    expect(await lanes('128')).toBe('4')
  },
)
