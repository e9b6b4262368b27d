/** A process that takes one training step and prints how long it took since the process started. */
import { openEngine } from '../../engine/node/index.js'
import { compileWorkload, type Workload } from './workload.js'

const engine = await openEngine()
const { program, inputs } = await compileWorkload(engine, JSON.parse(process.argv[2]) as Workload)
const compiled = performance.now()
await program.run(inputs(0))
await program.read('loss')
// `performance.now()` counts from the start of the process, so Node's start and the loading of the sources are included.
console.log(
  JSON.stringify({
    seconds: performance.now() / 1000,
    compileSeconds: compiled / 1000,
    pipelines: engine.counters.pipelines,
  }),
)
process.exit()
