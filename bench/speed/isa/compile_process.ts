/**
 * A process that plans workloads for the stand-in of a GPU and compiles every pipeline of the plans. The compiler writes
 * its figures to stderr. Marks on stderr say to which pipeline they belong:
 *
 *   @@gpu {"adapter": …}        @@pipeline {"kernel": …, "constants": …}   … figures …   @@failed TEXT       @@end
 */
import { writeSync } from 'node:fs'
import { Engine, requestDevice, type Dispatch } from '../../../engine/index.js'
import { pipelineKey } from '../../../engine/pipelines.js'
import { buildNetwork } from '../../../train/step/network.js'
import { describeStep } from '../../../train/step/whole.js'
import { configOf, nameOf, randomImages, type Workload } from '../workload.js'

const mark = (name: string, value: unknown): number =>
  writeSync(2, `\n@@${name} ${typeof value === 'string' ? value : JSON.stringify(value)}\n`)

const { workloads, toggles } = JSON.parse(process.argv[2]) as { workloads: Workload[]; toggles: string[] }
const { create, globals } = await import('webgpu')
Object.assign(globalThis, globals)
const features = ['allow_unsafe_apis', ...toggles].join(',')
const gpu = create([`enable-dawn-features=${features}`])
const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
if (!adapter) throw new Error('the compiler offers no adapter')
const engine = new Engine(await requestDevice(adapter), adapter.info)
const { device, description } = adapter.info
mark('gpu', { adapter: device || description, driver: description, target: engine.target })

const used = new Map<string, Pick<Dispatch, 'kernel' | 'constants'> & { uses: object[] }>()
for (const workload of workloads) {
  const config = configOf(workload)
  const { spec } = describeStep(randomImages(engine, workload), buildNetwork(config), config)
  for (const { kernel, constants, op, flops, workgroups } of engine.plan(spec).dispatches) {
    const key = pipelineKey(kernel, constants)
    const pipeline = used.get(key) ?? { kernel, constants, uses: [] }
    pipeline.uses.push({ workload: nameOf(workload), op, flops, workgroups: workgroups.reduce((a, b) => a * b, 1) })
    used.set(key, pipeline)
  }
}
for (const pipeline of used.values()) {
  mark('pipeline', pipeline)
  await engine.pipelines
    .pipeline(pipeline.kernel, pipeline.constants)
    .catch((error: Error) => mark('failed', error.message.split('\n')[0]))
}
mark('end', '')
// The null device cannot be closed: its memory is not real.
process.kill(process.pid, 'SIGKILL')
