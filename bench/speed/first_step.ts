/** Time from the start of a process to its first loss: how long a user waits. */
import { spawn } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Workload } from './workload.js'

/** Environment variables that turn off the shader caches of Mesa and NVIDIA. */
const NO_SHADER_CACHE = { MESA_SHADER_CACHE_DISABLE: 'true', __GL_SHADER_DISK_CACHE: '0' }

/** Seconds from the start of a process to its first loss. */
export interface FirstStep {
  /** Without the driver's shader cache. */
  cold: number
  /** With a full shader cache, as at a user's second start. */
  warm: number
  /** Seconds until everything is compiled. */
  compiled: { cold: number; warm: number }
  /** Distinct pipelines. */
  pipelines: number
}

/** Starts three processes: the first without the shader cache, the second fills it, the third finds it full. */
export async function measureFirstStep(workload: Workload): Promise<FirstStep> {
  const cold = await takeFirstStep(workload, NO_SHADER_CACHE)
  await takeFirstStep(workload, {})
  const warm = await takeFirstStep(workload, {})
  return {
    cold: cold.seconds,
    warm: warm.seconds,
    compiled: { cold: cold.compileSeconds, warm: warm.compileSeconds },
    pipelines: warm.pipelines,
  }
}

/** What `first_step_process.ts` prints. */
interface Output {
  seconds: number
  compileSeconds: number
  pipelines: number
}

function takeFirstStep(workload: Workload, environment: Record<string, string>): Promise<Output> {
  const extension = extname(import.meta.url)
  const script = fileURLToPath(new URL(`first_step_process${extension}`, import.meta.url))
  const loader = extension === '.ts' ? ['--import', import.meta.resolve('tsx')] : []
  const child = spawn(process.execPath, [...loader, script, JSON.stringify(workload)], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (text: Buffer) => (output += text.toString()))
  child.stderr.on('data', (text: Buffer) => (errors += text.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      const line = output.split('\n').find((text) => text.startsWith('{'))
      if (code === 0 && line) resolve(JSON.parse(line) as Output)
      else reject(new Error(`the first step failed: ${/^\w*Error.*$/m.exec(errors)?.[0] ?? `exit code ${code}`}`))
    })
  })
}
