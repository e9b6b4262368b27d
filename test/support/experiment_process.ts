/** An experiment of the paper with small runs, for a process that is killed: FOLDER DATA. See test/torture/places.ts. */
import { join } from 'node:path'
import type { Context, Experiment } from '../../bench/paper/experiment.js'
import { experiments } from '../../bench/paper/experiments/index.js'
import { perform } from '../../bench/paper/perform.js'
import { writeResult } from '../../bench/paper/results.js'
import { namedSplits } from '../../bench/runs/runs.js'
import { openEngine } from '../../engine/node/index.js'

const [folder, dataDir] = process.argv.slice(2)
const config = {
  ...{ dataDir, width: 4, batch: 8, epochs: 4, checkpointEvery: 1, projectorDim: 8, augmentation: { size: 8 } },
}
const readout = { views: 1, seeds: 1, epochs: 20, knn: true }
const arms = [2, 3].map((views) => ({ name: `${views} views`, config: { ...config, views }, readout, curve: true }))
const small: Experiment = {
  ...experiments[0],
  name: 'dynamics',
  seeds: { tiny: 2, small: 2, full: 2 },
  arms: () => arms,
  async run({ runs }: Context) {
    const [two, three] = await runs(arms)
    const perSeed = three.seeds.map(({ readings }, i) => readings.at(-1)!.top1 - two.seeds[i].readings.at(-1)!.top1)
    const claims = [{ statement: 'three views are better', unit: '', perSeed, bound: { above: 0 } }]
    return { claims, table: { header: [], rows: [] }, figures: [], plots: [], notes: [] }
  },
}
const engine = await openEngine()
await perform(
  [small],
  {
    ...{ scale: 'tiny', dataset: 'cifar10', engine, cache: join(folder, 'runs'), splits: namedSplits() },
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onRun: () => undefined,
    onMessage: (line) => console.error(line),
  },
  async (result) => void (await writeResult(folder, result)),
)
process.exit(0)
