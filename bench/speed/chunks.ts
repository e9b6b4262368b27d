/** Many views at once and in chunks: the same step, its time and its memory, in interleaved rounds. */
import type { Engine } from '../../engine/index.js'
import { resolveConfig, type PretrainConfig } from '../../train/config/config.js'
import { buildNetwork, trainedDicts, type Network } from '../../train/step/network.js'
import { compileTrainingStep, type TrainingStep } from '../../train/step/index.js'
import { summarize, type Summary } from './statistics.js'
import { nameOf, randomImages, rowsOf, type Workload } from './workload.js'

const CHUNKS = [undefined, 2, 1] as const

export interface ChunkResult {
  name: string
  /** Views whose activations are in memory at once. */
  chunk: number
  /** Seconds a step. */
  seconds: Summary
  /** Beside the network, the optimiser's state and the data set. */
  peakBytes: number
}

interface Contestant {
  chunk: number
  config: PretrainConfig
  network: Network
  step: TrainingStep
  seconds: number[]
}

/** Batch-norm is by view throughout: chunks ask for it. */
export async function benchChunks(engine: Engine, workload: Workload, rounds: number): Promise<ChunkResult[]> {
  const { arch, width, stem, precision, batch, views, pixels } = workload
  const images = randomImages(engine, workload)
  const contestants: Contestant[] = []
  for (const viewChunk of CHUNKS) {
    const size = { augmentation: { size: pixels }, projectorDim: 256 }
    const config = resolveConfig({ arch, width, stem, precision, batch, views, viewChunk, bn: 'per-view', ...size })
    const network = buildNetwork(config)
    const step = await compileTrainingStep(engine, images, network, config, {})
    contestants.push({ chunk: viewChunk ?? views, config, network, step, seconds: [] })
  }
  const advance = async ({ step, config }: Contestant, at: number): Promise<number> => {
    const started = performance.now()
    await step.run({ rows: rowsOf(config, pixels, at), rate: Float32Array.of(config.lr) })
    await engine.idle()
    return (performance.now() - started) / 1000
  }
  try {
    for (let round = -1; round < rounds; round++)
      for (const contestant of contestants) {
        const seconds = await advance(contestant, round + 1)
        // The first round fills the driver's caches.
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
