/**
 * Tuning: choosing variants by measurement. The cost model leaves up to three variants for a product. The op is then
 * recorded once by each of them, on a part of its batch, and the fastest is kept.
 */
import type { Engine } from './engine.js'
import { lower } from './lower.js'
import { variantKey, type Tunable, type VariantTable } from './plan.js'
import { Program } from './program.js'
import { variable, type Variable } from './leaves.js'
import { cast } from './ops/cast.js'
import { apply, sizeOf } from './value.js'

const ROUNDS = 3
/** The duration of one sample. It is long enough for the clock's resolution and the submission not to matter. */
const SAMPLE_MS = { cpu: 4, gpu: 2 }
/** Operands are cut along their batch to about this many numbers. */
const PROBE_NUMBERS = { cpu: 2 ** 20, gpu: 2 ** 25 }

/**
 * Measures the variants of each tunable. A variant that the device refuses is left out.
 *
 * @returns the name of the fastest variant of each tunable, by `variantKey`
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
        // This variant cannot be built here, for whatever reason. The others remain.
      }
    }
    const runs = programs.map(() => 1)
    for (let round = 0; round <= ROUNDS; round++)
      for (const [i, { program, times }] of programs.entries()) {
        const milliseconds = await timed(engine, program, runs[i])
        // The first round warms up, and gives the number of runs of a sample.
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

/** Milliseconds of one run, averaged over `runs`. */
async function timed(engine: Engine, program: Program, runs: number): Promise<number> {
  await engine.idle()
  const begin = performance.now()
  for (let i = 0; i < runs; i++) await program.run()
  await engine.idle()
  return (performance.now() - begin) / runs
}

/** Variables that replace the op's inputs, with fewer rows if the op has a batch. */
function probeOperands(engine: Engine, { node }: Tunable): Variable[] {
  const batched = node.op.batched ?? []
  const rows = batched.length ? node.inputs[batched[0]].shape[0] : 1
  const numbers = Math.max(...node.inputs.map((v) => v.size))
  const share = Math.min(1, PROBE_NUMBERS[engine.target.adapterClass] / numbers)
  const kept = Math.max(1, Math.ceil(rows * share))
  return node.inputs.map((v, i) => {
    const shape = batched.includes(i) ? [kept, ...v.shape.slice(1)] : v.shape
    // The values do not influence the time, unless they are denormals.
    return variable(`operand ${i}`, shape, () => new Float32Array(sizeOf(shape)).fill(0.5))
  })
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
