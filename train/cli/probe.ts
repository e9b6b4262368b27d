/** `npm run probe`: reads a pretrained run out beside the same initialisation untrained; see `--help`. */
import { Command } from 'commander'
import type { Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import { loadModel, openRun } from '../checkpoint.js'
import { ConfigError, type PretrainConfig } from '../config.js'
import { loadDataset, type ImageDataset } from '../data/dataset.js'
import { writeAtomically } from '../files.js'
import { buildNetwork } from '../network.js'
import { estimateReadout, readout, viewsOf, type Phase as ReadoutPhase, type Readout } from '../readout/evaluate.js'
import { estimateStatistics, type StatisticsOptions } from '../readout/features.js'
import { beginPhase, type Phase } from '../report/phases.js'
import { duration } from '../report/summary.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from './common.js'

interface Options {
  run: string
  views: number
  seeds: number
  json?: string
  dataDir?: string
  adapter?: string
}

const command = withAdapter(
  new Command('probe')
    .description(
      'Read the newest checkpoint of a run out on the full labelled training and test splits: a linear probe and ' +
        'k nearest neighbours, beside the same initialisation untrained.',
    )
    .requiredOption('--run <folder>', 'a folder that `npm run pretrain` wrote with --out')
    .option('--views <count>', 'views averaged for each image: the clean one, and random ones', number('--views'), 1)
    .option('--seeds <count>', 'linear probes to take the mean of', number('--seeds'), 1)
    .option('--json <file>', 'where to write the figures')
    .option('--data-dir <folder>', "the data set's folder, where it is not the run's any more"),
)

const BATCHES = 50

/** How the running statistics of the untrained copy are estimated: on batches as the run trained on. */
function statisticsOf(config: PretrainConfig): StatisticsOptions {
  const { augmentation: recipe, views, batch, seed, bn } = config
  return { recipe, views, batch, batches: BATCHES, seed, groups: bn === 'per-view' ? views : 1 }
}

/** Seconds that estimating the statistics will take, from a few batches (small ones on a software driver). */
async function timeStatistics(engine: Engine, train: ImageDataset, config: PretrainConfig): Promise<number> {
  const { backbone } = buildNetwork(config)
  const batch = Math.min(config.batch, train.count, engine.target.adapterClass === 'cpu' ? 8 : Infinity)
  const time = async (batches: number): Promise<number> => {
    const begun = performance.now()
    await estimateStatistics(engine, backbone, train, { ...statisticsOf(config), batch, batches })
    return (performance.now() - begun) / 1000
  }
  // The first time builds the pipelines; the difference of the others is without what recording a program takes.
  await time(1)
  const one = await time(1)
  const each = Math.max(0, (await time(4)) - one) / 3
  for (const variable of backbone.dict.variables) engine.release(variable)
  return (BATCHES * each * Math.min(config.batch, train.count)) / batch
}

/** A readout with a line or a bar for each of its phases. */
async function shownReadout(
  engine: Engine,
  backbone: Backbone,
  [train, test]: [ImageDataset, ImageDataset],
  options: { recipe: PretrainConfig['augmentation']; views: number; seeds: number[] },
  name: string,
): Promise<Readout> {
  let current: ReadoutPhase | undefined
  let shown: Phase | undefined
  const onProgress = (phase: ReadoutPhase, done: number, total: number): void => {
    if (phase !== current) {
      shown?.finish()
      shown = beginPhase(`${name}: ${phase}`)
      current = phase
    }
    shown?.update(done, total)
  }
  const result = await readout(engine, backbone, train, test, { ...options, onProgress })
  shown?.finish()
  return result
}

const share = (value: number, error: number): string => `${(100 * value).toFixed(2)} ± ${(100 * error).toFixed(2)} %`

/** The figures as a table, with what they were read with and what ± means. */
function table(rows: { name: string; readout: Readout }[]): string {
  const cells = [
    ['', 'linear top-1', 'linear top-5', 'kNN-20', 'kNN-200'],
    ...rows.map(({ name, readout: { linear, knn20, knn200 } }) => [
      name,
      share(linear.top1, linear.standardError),
      share(linear.top5, linear.top5StandardError),
      share(knn20.top1, knn20.standardError),
      share(knn200.top1, knn200.standardError),
    ]),
  ]
  const widths = cells[0].map((_, c) => Math.max(...cells.map((row) => row[c].length)))
  const lines = cells.map((row) =>
    row.map((cell, c) => (c ? cell.padStart(widths[c]) : cell.padEnd(widths[c]))).join('   '),
  )
  const { views, linear } = rows[0].readout
  const seeds = linear.perSeed.length
  const overSeeds = rows.map((r) => (100 * (r.readout.linear.seedStandardError ?? 0)).toFixed(2)).join(' and ')
  return [
    ...lines,
    `Read with ${viewsOf(views)} an image. ± is one standard error over the test images` +
      (seeds > 1 ? `; over the ${seeds} probe seeds that of linear top-1 is ${overSeeds} points.` : '.'),
  ].join('\n')
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  for (const name of ['views', 'seeds'] as const)
    if (!Number.isInteger(options[name]) || options[name] < 1)
      throw new ConfigError(`--${name} ${options[name]}: must be a whole number of at least 1`)
  const { config, latest } = await openRun(options.run)
  if (!latest)
    throw new ConfigError(`--run ${options.run}: holds no checkpoint yet; let it reach one, or stop it with Ctrl-C`)
  const { dataDir = config.dataDir, views } = options
  const train = await loadDataset(config.data, 'train', { dataDir })
  const test = await loadDataset(config.data, 'test', { dataDir })
  const engine = await openWithNote(options.adapter)
  const { backbone } = buildNetwork(config)
  await loadModel(engine, backbone.dict, `${latest.folder}/model.safetensors`)

  const seeds = Array.from({ length: options.seeds }, (_, i) => i + 1)
  const how = { recipe: config.augmentation, views, seeds }
  const each = await estimateReadout(engine, backbone, train, test, how)
  const expected = 2 * each + (await timeStatistics(engine, train, config))
  console.error(
    `${config.arch} of width ${config.width} at step ${latest.step}: ${train.count.toLocaleString('en')} training and ` +
      `${test.count.toLocaleString('en')} test images of ${config.data}, ${viewsOf(views)} each. ` +
      `This takes about ${duration(Math.max(1, expected))}.`,
  )
  const begun = performance.now()
  const pretrained = await shownReadout(engine, backbone, [train, test], how, 'pretrained')
  const { backbone: fresh } = buildNetwork(config)
  const phase = beginPhase('untrained: statistics')
  await estimateStatistics(engine, fresh, train, {
    ...statisticsOf(config),
    onProgress: (done, total) => phase.update(done, total),
  })
  phase.finish()
  const untrained = await shownReadout(engine, fresh, [train, test], how, 'untrained')

  console.log(
    table([
      { name: `step ${latest.step}`, readout: pretrained },
      { name: 'untrained', readout: untrained },
    ]),
  )
  if (options.json) {
    const { arch, width, stem, data, augmentation } = config
    const figures = {
      run: options.run,
      step: latest.step,
      epoch: latest.epoch,
      network: { arch, width, stem, imageSize: augmentation.size },
      data,
      views,
      seeds,
      adapter: engine.description,
      date: new Date().toISOString(),
      seconds: (performance.now() - begun) / 1000,
      pretrained,
      untrained,
    }
    await writeAtomically(options.json, `${JSON.stringify(figures, null, 2)}\n`)
  }
})
