/**
 * Choosing variants by measurement: for each product that a cost model leaves two or three candidates for, the op alone
 * is recorded once for each of them, on a few rows of its batch, and the fastest is kept.
 */
import type { Engine } from './engine.js'
import { lower } from './lower.js'
import { variantKey, type Tunable, type VariantTable } from './plan.js'
import { Program } from './program.js'
import { variable, type Variable } from './leaves.js'
import { cast } from './ops/cast.js'
import { apply, sizeOf } from './value.js'

const ROUNDS = 3
/** A sample runs the op until so much time has passed, so that the clock and the submission do not show. */
const SAMPLE_MS = { cpu: 4, gpu: 2 }
/** Operands are cut down to about so many numbers along their batch. */
const PROBE_NUMBERS = { cpu: 2 ** 20, gpu: 2 ** 25 }

/**
 * Measures what there is to choose.
 *
 * @returns the name of the fastest candidate by `variantKey`, for every tunable; a candidate that the device refuses
 *   loses
 */
export async function measureVariants(
  engine: Engine,
  tunables: readonly Tunable[],
  onProgress?: (done: number, total: number) => void,
): Promise<VariantTable> {
  const table = new Map<string, string>()
  for (const [i, tunable] of tunables.entries()) {
    table.set(variantKey(tunable.node), await fastest(engine, tunable))
    onProgress?.(i + 1, tunables.length)
  }
  return table
}

async function fastest(engine: Engine, tunable: Tunable): Promise<string> {
  const operands = probeOperands(engine, tunable)
  const programs: { name: string; program: Program; times: number[] }[] = []
  try {
    for (const name of tunable.variants) {
      const inputs = operands.map((v, i) => (tunable.node.inputs[i].dtype === 'f16' ? cast(v, 'f16') : v))
      const outputs = apply(tunable.node.op, inputs, tunable.node.attributes)
      const y = outputs[0].dtype === 'f16' ? cast(outputs[0], 'f32') : outputs[0]
      try {
        const spec = { label: `measuring ${tunable.node.op.name} ${name}`, outputs: { y } }
        const { target, library } = engine
        const plan = lower(spec, { target, library, variants: { get: () => name } })
        const [program] = await Program.build(engine, [plan])
        programs.push({ name, program, times: [] })
      } catch {
        // This one cannot be built here, whatever the reason: the others remain.
      }
    }
    const runs = programs.map(() => 1)
    for (let round = 0; round <= ROUNDS; round++)
      for (const [i, { program, times }] of programs.entries()) {
        const milliseconds = await timed(engine, program, runs[i])
        // The first round warms up, and says how many runs a sample takes.
        if (round === 0) runs[i] = Math.max(1, Math.ceil(SAMPLE_MS[engine.target.adapterClass] / milliseconds))
        else times.push(milliseconds)
      }
    const best = programs.sort((a, b) => median(a.times) - median(b.times))[0]
    return best?.name ?? tunable.variants[0]
  } finally {
    for (const { program } of programs) program.destroy()
    for (const operand of operands) engine.release(operand)
  }
}

/** Milliseconds of one run, from `runs` of them. */
async function timed(engine: Engine, program: Program, runs: number): Promise<number> {
  await engine.idle()
  const begin = performance.now()
  for (let i = 0; i < runs; i++) await program.run()
  await engine.idle()
  return (performance.now() - begin) / runs
}

/** Variables in the place of the op's inputs, with fewer rows where the op has a batch. */
function probeOperands(engine: Engine, { node }: Tunable): Variable[] {
  const batched = node.op.batched ?? []
  const rows = batched.length ? node.inputs[batched[0]].shape[0] : 1
  const numbers = Math.max(...node.inputs.map((v) => v.size))
  const share = Math.min(1, PROBE_NUMBERS[engine.target.adapterClass] / numbers)
  const kept = Math.max(1, Math.ceil(rows * share))
  return node.inputs.map((v, i) => {
    const shape = batched.includes(i) ? [kept, ...v.shape.slice(1)] : v.shape
    // What the numbers are does not matter to the clock, as long as they are no denormals.
    return variable(`operand ${i}`, shape, () => new Float32Array(sizeOf(shape)).fill(0.5))
  })
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
