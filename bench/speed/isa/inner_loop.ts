/** Finds the loop that does the work of a product in the machine code of an AMD GPU. */

export interface InnerLoop {
  /** Multiplications with addition of a thread in one round. */
  fmas: number
  /** Instructions that are issued in one round; some do two operations, those of matrix units many. */
  instructions: number
}

/** Instructions that only advise the scheduler. */
const hint = /^s_(delay_alu|clause|nop|inst_prefetch|set_inst_prefetch_distance)\b/
/** A 16×16×16 product of a wave of 32 threads, for each thread. */
const FMAS_OF_MATRIX = 16 ** 3 / 32

/** The multiplications with addition that a thread does in one instruction. */
function fmasOf(instruction: string): number {
  if (/^v_wmma_/.test(instruction)) return FMAS_OF_MATRIX
  const operations = instruction
    .split('::')
    .filter((one) => /^\s*v_(dual_)?(fma|fmac|fmaak|fmamk|pk_fma|fma_mix)/.test(one))
  return operations.reduce((sum, one) => sum + (/v_pk_fma/.test(one) ? 2 : 1), 0)
}

/**
 * The innermost loop with the most multiplications with addition.
 *
 * @param code a disassembly: labels as `BB12:`, and instructions indented, with their bytes behind `;`
 */
export function innerLoop(code: string): InnerLoop | undefined {
  const labels = new Map<string, number>()
  const instructions: string[] = []
  for (const line of code.split('\n')) {
    const label = /^(BB\d+):/.exec(line)
    if (label) labels.set(label[1], instructions.length)
    else if (/^\s+\w/.test(line)) instructions.push(line.replace(/;.*/, '').trim())
  }
  // A branch to an earlier place closes a loop.
  const loops = instructions.flatMap((instruction, last) => {
    const first = labels.get(/^s_c?branch\w*\s+(BB\d+)/.exec(instruction)?.[1] ?? '')
    return first !== undefined && first <= last ? [{ first, last }] : []
  })
  const counted = loops.map(({ first, last }) => {
    const body = instructions.slice(first, last + 1)
    const fmas = body.reduce((sum, instruction) => sum + fmasOf(instruction), 0)
    return { first, last, fmas, instructions: body.filter((one) => !hint.test(one)).length }
  })
  const working = counted.filter(({ fmas }) => fmas > 0)
  const innermost = working.filter(
    (loop) => !working.some((other) => other !== loop && other.first >= loop.first && other.last <= loop.last),
  )
  const [most] = innermost.sort((a, b) => b.fmas - a.fmas)
  return most && { fmas: most.fmas, instructions: most.instructions }
}
