/** f16 against f32 in training: for each seed the mean loss of the last steps and the final probe, with speed and memory. */
import type { Engine } from '../../engine/index.js'
import { ConfigError, resolveConfig } from '../../train/config/config.js'
import type { ImageDataset } from '../../train/data/dataset.js'
import { loadDataset } from '../../train/node/data/index.js'
import { pretrain } from '../../train/node/pretrain.js'
import { readout } from '../../train/readout/readout.js'
import { interval, type Interval } from '../report/intervals.js'
import type { Origin } from '../report/origin.js'
import { mean } from '../report/statistics.js'
import { counted, markdownTable } from '../../train/report/text.js'
import { figure, mebibytes } from '../report/text.js'
import type { Measurement } from './measurement.js'

interface Extent {
  seeds: readonly number[]
  /** The last one ends the run. */
  steps: number
  /** The losses of so many last steps are averaged. */
  averaged: number
  /** Labelled training images of each class for the probe, and test images. */
  perClass: { train: number; test: number }
  probeEpochs: number
}
const WHOLE: Extent = {
  seeds: [1, 2, 3],
  steps: 720,
  averaged: 50,
  perClass: { train: 1000, test: 200 },
  probeEpochs: 100,
}
/** Shows that both precisions train, not more. */
const QUICK: Extent = { seeds: [1], steps: 20, averaged: 10, perClass: { train: 50, test: 20 }, probeEpochs: 10 }
/** Each probe is the mean over these. */
const PROBE_SEEDS = [1, 2, 3]
const PRECISIONS = ['f32', 'f16'] as const

interface PrecisionRun {
  precision: (typeof PRECISIONS)[number]
  seed: number
  /** Mean over the last steps. */
  loss: number
  /** Top-1 of the linear probe, in [0, 1], and its standard error over the test images. */
  probe: number
  standardError: number
  /** Steps skipped because a gradient overflowed; f16 only. */
  skipped?: number
  imagesPerSecond: number
  /** Without the weights. */
  peakBytes: number
}

/** Everything measured. The intervals are over the seeds, f16 − f32 of the same seed. */
interface PrecisionResults {
  scale: Scale
  extent: Extent
  runs: PrecisionRun[]
  /** Mean loss with f16 / with f32. */
  lossRatio: number
  /** Difference of the probes, in [−1, 1]. */
  probeDifference: Interval
}

interface Scale {
  width: number
  size: number
  batch: number
}

/**
 * Trains on CIFAR-10 with both precisions, and reads each network out.
 *
 * @param options.quick one seed and few steps
 * @param options.dataDir folder of CIFAR-10 in its official format; fetched into the cache by default
 * @param options.save called after each seed with everything measured so far
 * @throws ConfigError if the adapter has no f16
 */
export async function benchPrecision(options: {
  engine: Engine
  origin: Origin
  quick: boolean
  dataDir?: string
  onMessage(line: string): void
  save?(results: object): Promise<void>
}): Promise<Measurement> {
  const { engine, origin, quick, dataDir, onMessage, save } = options
  const extent = quick ? QUICK : WHOLE
  if (!engine.target.f16)
    throw new ConfigError(`${engine.description} has no f16 (shader-f16): choose another --adapter`)
  const train = await loadDataset('cifar10', 'train', { dataDir })
  const test = await loadDataset('cifar10', 'test', { dataDir })
  const scale =
    engine.target.adapterClass === 'cpu' ? { width: 8, size: 16, batch: 64 } : { width: 64, size: 32, batch: 128 }
  const runs: PrecisionRun[] = []
  for (const seed of extent.seeds) {
    for (const precision of PRECISIONS) {
      const run = await measure({ engine, train, test, scale, extent }, precision, seed)
      runs.push(run)
      onMessage(`seed ${seed}, ${precision}: loss ${figure(run.loss)}, probe ${percent(run.probe)} %`)
    }
    await save?.(resultsOf(scale, extent, runs))
  }
  const results = resultsOf(scale, extent, runs)
  return { kind: 'precision', origin, results, markdown: precisionMarkdown(results), plots: {} }
}

interface Setting {
  engine: Engine
  train: ImageDataset
  test: ImageDataset
  scale: Scale
  extent: Extent
}

async function measure(
  { engine, train, test, scale, extent }: Setting,
  precision: PrecisionRun['precision'],
  seed: number,
): Promise<PrecisionRun> {
  const { perClass, probeEpochs, steps } = extent
  const config = resolveConfig({
    width: scale.width,
    batch: scale.batch,
    views: 2,
    projectorDim: 64,
    lambda: 0.04,
    steps,
    seed,
    precision,
    augmentation: { size: scale.size },
  })
  const { backbone, losses, skipped, imagesPerSecond, peakBytes } = await pretrain({ engine, dataset: train, config })
  const { linear } = await readout(engine, backbone, train, test, {
    recipe: config.augmentation,
    views: 1,
    seeds: PROBE_SEEDS,
    epochs: probeEpochs,
    trainPerClass: perClass.train,
    testPerClass: perClass.test,
  })
  const { top1: probe, standardError } = linear
  const loss = mean(losses.slice(-extent.averaged))
  return { precision, seed, loss, probe, standardError, skipped, imagesPerSecond, peakBytes }
}

function resultsOf(scale: Scale, extent: Extent, runs: PrecisionRun[]): PrecisionResults {
  const [f32, f16] = PRECISIONS.map((precision) => runs.filter((run) => run.precision === precision))
  return {
    scale,
    extent,
    runs,
    lossRatio: mean(f16.map(({ loss }) => loss)) / mean(f32.map(({ loss }) => loss)),
    probeDifference: interval(f16.map(({ probe }, i) => probe - f32[i].probe)),
  }
}

const percent = (share: number): string => (100 * share).toFixed(1)
const signed = (share: number): string => `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(1)}`

function precisionMarkdown({ scale, extent, runs, lossRatio, probeDifference }: PrecisionResults): string {
  const { mean: difference, low, high } = probeDifference
  const seeds = counted(extent.seeds.length, 'seed')
  const range = Number.isFinite(low) ? ` [${signed(low)}, ${signed(high)}], the 95 % interval over the seeds` : ''
  return [
    '## f16 against f32',
    `ResNet-18, width ${scale.width}, ${scale.size} px, batch ${scale.batch}, 2 views, ${extent.steps} steps. ` +
      `Mean loss with f16 / with f32 over ${seeds}: ${lossRatio.toFixed(4)}. ` +
      `Linear probe, f16 − f32 of the same seed: ${signed(difference)} points${range}. ` +
      `A probe reads ${10 * extent.perClass.test} test images with ${10 * extent.perClass.train} labelled training images ` +
      `and one clean view, the mean of ${counted(PROBE_SEEDS.length, 'probe seed')}.`,
    markdownTable(
      [
        'run',
        `mean loss, last ${extent.averaged} steps`,
        'linear probe',
        'skipped steps',
        'images/s',
        'memory without the weights',
      ],
      runs.map(({ precision, seed, loss, probe, standardError, skipped, imagesPerSecond, peakBytes }) => [
        `seed ${seed}, ${precision}`,
        loss.toFixed(4),
        `${percent(probe)} ± ${percent(standardError)} %`,
        skipped === undefined ? '' : String(skipped),
        figure(imagesPerSecond),
        mebibytes(peakBytes),
      ]),
    ),
  ].join('\n\n')
}
