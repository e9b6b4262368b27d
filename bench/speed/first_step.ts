/** A process that does nothing but take one step: what a user waits for before the first loss. */
import { openEngine } from '../../engine/node/index.js'
import { compileWorkload, type Workload } from './workload.js'

const engine = await openEngine()
const { program, inputs } = await compileWorkload(engine, JSON.parse(process.argv[2]) as Workload)
const compiled = performance.now()
await program.run(inputs(0))
await program.read('loss')
// Since the process began: Node's own start and the reading of the sources are in it.
console.log(
  JSON.stringify({
    seconds: performance.now() / 1000,
    compileSeconds: compiled / 1000,
    pipelines: engine.counters.pipelines,
  }),
)
process.exit()
