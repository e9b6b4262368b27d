/** One training step as a Chrome trace. */
import type { Engine } from '../../engine/index.js'
import { profile, traceEvents } from '../../engine/profiling.js'
import { writeAtomically } from '../../train/node/files.js'
import { compileWorkload, nameOf, workloads } from './workload.js'

/**
 * Profiles one step of the first workload whose name contains `only` (by default the smallest), and writes it for chrome://tracing or Perfetto.
 *
 * @returns what the file holds, in one line
 */
export async function writeTrace(engine: Engine, path: string, rounds: number, only = ''): Promise<string> {
  const all = workloads(engine.target.adapterClass, engine.target.f16, true)
  const workload = all.find((one) => nameOf(one).includes(only))
  if (!workload) throw new Error(`--only '${only}': no step has this text in its name`)
  const { program, inputs } = await compileWorkload(engine, workload)
  const measured = await profile(program, inputs(0), { rounds })
  await writeAtomically(path, JSON.stringify(traceEvents(measured)))
  return `${measured.dispatches.length} dispatches of ${nameOf(workload)}, measured by ${measured.method}; open it in chrome://tracing or Perfetto`
}
