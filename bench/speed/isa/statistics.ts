/** Reads what the compiler prints about each pipeline (Mesa's `RADV_DEBUG=shaderstats,shaders`). */
import { innerLoop, type InnerLoop } from './inner_loop.js'

/** One use of a pipeline in a planned step. */
export interface Use {
  workload: string
  op: string
  /** Multiplications and additions; 0 for dispatches whose time is that of their bytes. */
  flops: number
  workgroups: number
}

export interface CompiledPipeline {
  kernel: string
  constants: Record<string, number | boolean | string>
  uses: Use[]
  /** Why the compiler refused it; then the figures are absent. */
  failed?: string
  figures?: Figures
}

export interface Figures {
  /** Vector registers of a thread. */
  registers: number
  /** Registers that did not fit, and bytes of memory in their place. */
  spilled: number
  scratch: number
  /** Bytes of workgroup memory. */
  shared: number
  /** Waves that fit into one SIMD unit at once. */
  waves: number
  /** Bytes of machine code. */
  codeBytes: number
  instructions: number
  /** The compiler's estimate of the cycles between the starts of two waves, each loop counted as often as it guesses. */
  cycles: number
  /** The inner loop, if the machine code is printed too and contains multiplications and additions in a loop. */
  loop?: InnerLoop
}

export interface CompilerReport {
  adapter: string
  driver: string
  pipelines: CompiledPipeline[]
}

/** @throws Error in one line if the text has no beginning or no end: the compiler has failed */
export function readReport(text: string): CompilerReport {
  const [, ...sections] = text.split(/^@@/m)
  const first = sections.find((section) => section.startsWith('gpu '))
  if (!first || !sections.some((section) => section.startsWith('end')))
    throw new Error(`the compiler has failed: ${text.trim().split('\n').pop() ?? 'it printed nothing'}`)
  const { adapter, driver } = JSON.parse(firstLine(first, 'gpu ')) as Pick<CompilerReport, 'adapter' | 'driver'>
  const pipelines: CompiledPipeline[] = []
  for (const section of sections) {
    if (section.startsWith('failed ')) pipelines[pipelines.length - 1].failed = firstLine(section, 'failed ')
    if (!section.startsWith('pipeline ')) continue
    const pipeline = JSON.parse(firstLine(section, 'pipeline ')) as CompiledPipeline
    pipelines.push({ ...pipeline, figures: readFigures(section) })
  }
  return { adapter, driver, pipelines }
}

const firstLine = (section: string, mark: string): string => section.slice(mark.length, section.indexOf('\n'))

function readFigures(section: string): Figures | undefined {
  const values = new Map([...section.matchAll(/^([A-Z][A-Za-z -]*): (\d+)$/gm)].map(([, name, n]) => [name, Number(n)]))
  if (!values.has('VGPRs')) return undefined
  const value = (name: string): number => values.get(name) ?? NaN
  const code = /^disasm:\n([^]*?)^$/m.exec(section)?.[1]
  return {
    registers: value('VGPRs'),
    spilled: value('Spilled VGPRs') + value('Spilled SGPRs'),
    scratch: value('Scratch size'),
    shared: value('LDS size'),
    waves: value('Subgroups per SIMD'),
    codeBytes: value('Code size'),
    instructions: value('Instructions'),
    cycles: value('Inverse Throughput'),
    loop: code === undefined ? undefined : innerLoop(code),
  }
}
