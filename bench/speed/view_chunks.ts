/** The same step with all views at once and in chunks of views: time and memory, in interleaved rounds. */
import type { Engine } from '../../engine/index.js'
import type { PretrainConfig } from '../../train/config/config.js'
import { buildNetwork, trainedDicts, type Network } from '../../train/step/network.js'
import { compileTrainingStep, type TrainingStep } from '../../train/step/index.js'
import { summarize, type Summary } from '../report/statistics.js'
import { configOf, nameOf, randomImages, rowsOf, type Workload } from './workload.js'

/** Views in a chunk; undefined: all views at once. */
const CHUNKS = [undefined, 2, 1] as const

export interface ChunkResult {
  name: string
  /** Views whose activations are in memory at the same time. */
  chunk: number
  /** Of a step. */
  seconds: Summary
  /** Without the network, the optimiser's state and the data set. */
  peakBytes: number
}

interface Contestant {
  chunk: number
  config: PretrainConfig
  network: Network
  step: TrainingStep
  seconds: number[]
}

/** Batch-norm is per view in every case, because chunks require it. */
export async function benchViewChunks(engine: Engine, workload: Workload, rounds: number): Promise<ChunkResult[]> {
  const images = randomImages(engine, workload)
  const contestants: Contestant[] = []
  for (const viewChunk of CHUNKS) {
    const config = configOf(workload, { viewChunk, bn: 'per-view' })
    const network = buildNetwork(config)
    const step = await compileTrainingStep(engine, images, network, config, {})
    contestants.push({ chunk: viewChunk ?? workload.views, config, network, step, seconds: [] })
  }
  const secondsOf = async ({ step, config }: Contestant, count: number): Promise<number> => {
    const started = performance.now()
    await step.run({ rows: rowsOf(config, workload.pixels, count), rate: Float32Array.of(config.lr) })
    await engine.idle()
    return (performance.now() - started) / 1000
  }
  try {
    // Round −1 fills the driver's caches and does not count.
    for (let round = -1; round < rounds; round++)
      for (const contestant of contestants) {
        const seconds = await secondsOf(contestant, round + 1)
        if (round >= 0) contestant.seconds.push(seconds)
      }
    return contestants.map(({ chunk, step, seconds }) => ({
      name: nameOf(workload),
      chunk,
      seconds: summarize(seconds),
      peakBytes: step.peakBytes,
    }))
  } finally {
    for (const { step, network } of contestants) {
      step.destroy()
      for (const v of [...trainedDicts(network).flatMap((dict) => dict.variables), ...step.state]) engine.release(v)
    }
    for (const { words } of images.shards) engine.release(words)
  }
}
