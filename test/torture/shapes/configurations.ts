/** The attack on every adapter: one process for each configuration, and what they reached together. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { kernelTexts } from '../../../engine/kernel_texts.js'
import type { Attacked, Described } from './attack.js'
import { allVariants } from './forced.js'
import type { Asked } from './process.js'

/** The adapter that all commands use on this machine, such as a GPU. It is not one of those that run by default. */
export const MACHINE = 'machine'

/** An adapter and how it is set up. Mesa's vector width in bits is 32 times the lanes of its subgroups. */
export const configurations: Readonly<Record<string, Record<string, string>>> = {
  'lavapipe-4': { WEBGPU_SSL_ADAPTER: 'lavapipe', LP_NATIVE_VECTOR_WIDTH: '128' },
  'lavapipe-8': { WEBGPU_SSL_ADAPTER: 'lavapipe', LP_NATIVE_VECTOR_WIDTH: '256' },
  'lavapipe-16': { WEBGPU_SSL_ADAPTER: 'lavapipe', LP_NATIVE_VECTOR_WIDTH: '512' },
  swiftshader: { WEBGPU_SSL_ADAPTER: 'swiftshader' },
}

/** Only processors with vectors of 512 bits run this configuration. Without them Mesa compiles some kernels for minutes. */
export const WIDE = 'lavapipe-16'
const CPU_INFO = '/proc/cpuinfo'

/** The configurations that run by default on this machine. */
export const defaultConfigurations = (): string[] => {
  const wide = !existsSync(CPU_INFO) || /\bavx512f\b/.test(readFileSync(CPU_INFO, 'utf8'))
  return Object.keys(configurations).filter((name) => name !== WIDE || wide)
}

/** Families that a configuration leaves out: SwiftShader takes more than four minutes to compile this tile. */
export const leftOut: Readonly<Record<string, string>> = { swiftshader: 'by tiled 128×16$' }

/** Kernels of augmentation, which is no op of the engine. */
const NOT_OPS = ['augment', 'augment_blur']
/** This tile needs 36 KiB of workgroup memory. Software drivers have 32. */
const TOO_LARGE = 'matrix 128×128'

export interface Configured {
  configuration: string
  /** The lanes of its subgroups, as the adapter reports them. */
  lanes: number
  families: Attacked[]
  seconds: number
  /** Why the process ended badly. */
  crash?: string
}

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** @param onFamily called after each family */
export function attackConfiguration(
  configuration: string,
  asked: Asked,
  onFamily: (configuration: string, attacked: Attacked) => void,
): Promise<Configured> {
  const begun = performance.now()
  const child = spawn(
    process.execPath,
    [
      'engine/node/launch.mjs',
      'test/torture/shapes/process.ts',
      JSON.stringify({ ...asked, except: leftOut[configuration] } satisfies Asked),
    ],
    { cwd: root, env: { ...process.env, ...configurations[configuration] }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const result: Configured = { configuration, lanes: 0, families: [], seconds: 0 }
  let [rest, stderr] = ['', '']
  child.stdout.on('data', (text: Buffer) => {
    const lines = (rest + text.toString()).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      const found = JSON.parse(line) as Attacked | { lanes: number }
      if ('lanes' in found) result.lanes = found.lanes
      else {
        result.families.push(found)
        onFamily(configuration, found)
      }
    }
  })
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      result.seconds = (performance.now() - begun) / 1000
      const last = stderr.trim().split('\n').pop()
      if (code !== 0) result.crash = `it ended with ${signal ?? `exit code ${code}`}: ${last}`
      resolve(result)
    })
  })
}

/** What no configuration has run, although it belongs to an op. */
export function neverRan(results: readonly Configured[]): string[] {
  const families = results.flatMap((result) => result.families)
  const variants = new Set(families.flatMap((f) => f.variants))
  const kernels = new Set(families.flatMap((f) => f.kernels))
  return [
    ...allVariants.filter((name) => !variants.has(name) && !name.endsWith(TOO_LARGE)),
    ...Object.keys(kernelTexts)
      .filter((name) => !kernels.has(name) && !NOT_OPS.includes(name))
      .map((name) => `kernel ${name}`),
  ]
}

/** The command that repeats a failing case. */
export const repeatCommand = (configuration: string, repeat: Described): string =>
  `npm run torture -- shapes --configuration ${configuration} --case '${JSON.stringify(repeat).replaceAll("'", "'\\''")}'`
