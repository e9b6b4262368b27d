/** f16 against f32 in training: the mean loss of the last steps for each seed, with speed and memory. */
import type { Engine } from '../../engine/index.js'
import { ConfigError, resolveConfig } from '../../train/config/config.js'
import { loadDataset } from '../../train/node/data/index.js'
import { pretrain } from '../../train/node/pretrain.js'
import type { Origin } from '../report/origin.js'
import { mean } from '../report/statistics.js'
import { counted, markdownTable } from '../../train/report/text.js'
import { figure, mebibytes } from '../report/text.js'
import type { Measurement } from './measurement.js'

interface Extent {
  seeds: readonly number[]
  /** The steps whose losses are averaged: the first and the last one, which ends the run. */
  first: number
  last: number
}
const WHOLE: Extent = { seeds: [1, 2, 3], first: 151, last: 200 }
/** Shows that both precisions train, not more. */
const QUICK: Extent = { seeds: [1], first: 11, last: 20 }
const PRECISIONS = ['f32', 'f16'] as const

interface PrecisionRun {
  precision: (typeof PRECISIONS)[number]
  seed: number
  /** Mean over the last steps. */
  loss: number
  /** Steps skipped because a gradient overflowed; f16 only. */
  skipped?: number
  imagesPerSecond: number
  /** Without the weights. */
  peakBytes: number
}

/**
 * Trains on CIFAR-10 with both precisions.
 *
 * @param options.quick one seed and few steps
 * @param options.dataDir folder of CIFAR-10 in its official format; fetched into the cache by default
 * @throws ConfigError if the adapter has no f16
 */
export async function benchPrecision(options: {
  engine: Engine
  origin: Origin
  quick: boolean
  dataDir?: string
  onMessage(line: string): void
}): Promise<Measurement> {
  const { engine, origin, quick, dataDir, onMessage } = options
  const extent = quick ? QUICK : WHOLE
  if (!engine.target.f16)
    throw new ConfigError(`${engine.description} has no f16 (shader-f16): choose another --adapter`)
  const dataset = await loadDataset('cifar10', 'train', { dataDir })
  const scale =
    engine.target.adapterClass === 'cpu' ? { width: 8, size: 16, batch: 64 } : { width: 64, size: 32, batch: 128 }
  const runs: PrecisionRun[] = []
  for (const seed of extent.seeds)
    for (const precision of PRECISIONS) {
      const config = resolveConfig({
        width: scale.width,
        batch: scale.batch,
        views: 2,
        projectorDim: 64,
        lambda: 0.04,
        steps: extent.last,
        seed,
        precision,
        augmentation: { size: scale.size },
      })
      const { losses, skipped, imagesPerSecond, peakBytes } = await pretrain({ engine, dataset, config })
      const loss = mean(losses.slice(extent.first - 1))
      runs.push({ precision, seed, loss, skipped, imagesPerSecond, peakBytes })
      onMessage(`seed ${seed}, ${precision}: ${figure(loss)}`)
    }
  const [f32, f16] = PRECISIONS.map((precision) =>
    mean(runs.filter((run) => run.precision === precision).map(({ loss }) => loss)),
  )
  return {
    kind: 'precision',
    origin,
    results: { scale, runs, lossRatio: f16 / f32 },
    markdown: [
      '## f16 against f32',
      `ResNet-18, width ${scale.width}, ${scale.size} px, batch ${scale.batch}, 2 views. Mean loss with f16 / with f32 ` +
        `over ${counted(extent.seeds.length, 'seed')}: ${(f16 / f32).toFixed(4)}.`,
      precisionTable(runs, extent),
    ].join('\n\n'),
    plots: {},
  }
}

const precisionTable = (runs: readonly PrecisionRun[], { first, last }: Extent): string =>
  markdownTable(
    ['run', `mean loss, steps ${first}–${last}`, 'skipped steps', 'images/s', 'memory without the weights'],
    runs.map(({ precision, seed, loss, skipped, imagesPerSecond, peakBytes }) => [
      `seed ${seed}, ${precision}`,
      loss.toFixed(4),
      skipped === undefined ? '' : String(skipped),
      figure(imagesPerSecond),
      mebibytes(peakBytes),
    ]),
  )
