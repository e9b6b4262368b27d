/**
 * f16 against f32 in training: the mean loss of steps 151 to 200, seed by seed, with speed and memory.
 *
 *     node engine/node/launch.mjs bench/speed/precision.ts [--data-dir <folder>] [--adapter <name>]
 */
import { Command } from 'commander'
import { ConfigError, resolveConfig } from '../../train/config/config.js'
import { openWithNote, parseOptions, runCommand, withAdapter } from '../../train/cli/common.js'
import { loadDataset } from '../../train/data/dataset.js'
import { pretrain } from '../../train/node/pretrain.js'
import { figure, mebibytes, originOf, table } from './report.js'

const SEEDS = [1, 2, 3]
const [FIRST, LAST] = [151, 200]
const PRECISIONS = ['f32', 'f16'] as const

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length

const command = withAdapter(
  new Command('precision')
    .description('Train in f32 and in f16 and compare the losses.')
    .option(
      '--data-dir <folder>',
      'folder that holds CIFAR-10 in its official format (default: fetched into the cache)',
    ),
)

await runCommand(async () => {
  const { dataDir, adapter } = parseOptions<{ dataDir?: string; adapter?: string }>(command)
  const dataset = await loadDataset('cifar10', 'train', { dataDir })
  const engine = await openWithNote(adapter)
  if (!engine.target.f16)
    throw new ConfigError(`${engine.description} has no f16 (shader-f16): choose another --adapter`)
  const scale =
    engine.target.adapterClass === 'cpu' ? { width: 8, size: 16, batch: 64 } : { width: 64, size: 32, batch: 128 }
  const runs: { precision: string; seed: number; loss: number; skipped?: number; rate: number; bytes: number }[] = []
  for (const seed of SEEDS)
    for (const precision of PRECISIONS) {
      const config = resolveConfig({
        width: scale.width,
        batch: scale.batch,
        views: 2,
        projectorDim: 64,
        lambda: 0.04,
        steps: LAST,
        seed,
        precision,
        augmentation: { size: scale.size },
      })
      const { losses, skipped, imagesPerSecond, peakBytes } = await pretrain({ engine, dataset, config })
      const loss = mean(losses.slice(FIRST - 1, LAST))
      runs.push({ precision, seed, loss, skipped, rate: imagesPerSecond, bytes: peakBytes })
      console.error(`seed ${seed}, ${precision}: ${figure(loss)}`)
    }
  const of = (precision: string) => runs.filter((run) => run.precision === precision)
  const [f32, f16] = PRECISIONS.map((precision) => mean(of(precision).map(({ loss }) => loss)))
  const rows = runs.map(({ precision, seed, loss, skipped, rate, bytes }) => [
    `seed ${seed}, ${precision}`,
    loss.toFixed(4),
    skipped === undefined ? '' : String(skipped),
    figure(rate),
    mebibytes(bytes),
  ])
  console.log(table(['', `mean loss, steps ${FIRST}–${LAST}`, 'skipped', 'images/s', 'beside the weights'], rows))
  const { adapter: name, driver, date, cpu } = originOf(engine, 1)
  console.log(
    `\nf16 / f32 over ${SEEDS.length} seeds: ${(f16 / f32).toFixed(4)}; ResNet-18, width ${scale.width}, ${scale.size} px, ` +
      `batch ${scale.batch}, 2 views.\n_${name} (${driver}); ${date.slice(0, 10)}; ${cpu}_`,
  )
})
