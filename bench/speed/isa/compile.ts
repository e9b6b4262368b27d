/** Plans workloads for a GPU that is not there, and compiles every pipeline of the plans. */
import { spawn } from 'node:child_process'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Workload } from '../workload.js'
import { compilerEnvironment, type Family } from './compiler.js'
import { readReport, type CompilerReport } from './statistics.js'

export interface CompileOptions {
  family: Family
  workloads: readonly Workload[]
  /** Also read the machine code, to count the instructions of inner loops. It takes twice as long. */
  loops: boolean
  /** More of Dawn's toggles, such as `disable_robustness`. */
  toggles?: readonly string[]
}

/** @throws Error in one line if the compiler cannot be fetched or fails */
export async function compilePlanned({
  family,
  workloads,
  loops,
  toggles = [],
}: CompileOptions): Promise<CompilerReport> {
  const env = await compilerEnvironment(family, loops)
  const folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-isa-'))
  try {
    // Into a file, because a process cannot write synchronously to a pipe that is full.
    const file = join(folder, 'output.txt')
    const script = fileURLToPath(new URL(`compile_process${extname(import.meta.url)}`, import.meta.url))
    const output = await open(file, 'w')
    await new Promise((resolve, reject) => {
      const child = spawn(
        process.execPath,
        ['--import', import.meta.resolve('tsx'), script, JSON.stringify({ workloads, toggles })],
        { env, stdio: ['ignore', 'ignore', output.fd] },
      )
      child.on('error', reject)
      child.on('close', resolve)
    })
    await output.close()
    return readReport(await readFile(file, 'utf8'))
  } finally {
    await rm(folder, { recursive: true })
  }
}
