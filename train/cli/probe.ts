/** `npm run probe`: reads a pretrained run out beside the same initialisation untrained; see `--help`. */
import { Command } from 'commander'
import type { Engine } from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import { loadModel } from '../node/weights.js'
import { chooseCheckpoint } from './choose_checkpoint.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import { datasetNames, fractionIndicesPerClass, loadDataset, subset, type ImageDataset } from '../data/dataset.js'
import { diagnose, type Diagnostics } from '../diagnostics/diagnose.js'
import { writeAtomically } from '../node/files.js'
import { buildNetwork } from '../step/network.js'
import {
  estimateReadout,
  rateOf,
  readout,
  viewsOf,
  withErrors,
  type Accuracies,
  type Phase as ReadoutPhase,
  type Readout,
} from '../readout/evaluate.js'
import { estimateStatistics, type StatisticsOptions } from '../readout/features.js'
import { FINE_TUNING, fineTune } from '../readout/fine_tune.js'
import { firstOfEachClass } from '../node/contact_sheet.js'
import { beginPhase, type Phase } from './phases.js'
import { counted, duration } from '../report/summary.js'
import { asCommandLine, number, openWithNote, parseOptions, runCommand, withAdapter } from './common.js'

interface Options {
  run: string
  checkpoint?: string
  views: number
  seeds: number
  labels: number
  perClass?: number
  fineTune?: true
  average?: true
  json?: string
  data?: string
  dataDir?: string
  resolution?: number
  adapter?: string
}

const command = withAdapter(
  new Command('probe')
    .description(
      'Read a checkpoint of a run, the newest, out on the full labelled training and test splits: a linear probe and ' +
        'k nearest neighbours, beside the same initialisation untrained. With --labels on a share of the labels, with ' +
        '--per-class on a few images, with --data on images that it was not pretrained on, with --fine-tune with the backbone trained on as well.',
    )
    .requiredOption('--run <folder>', 'a folder that `npm run pretrain` wrote with --out')
    .option('--checkpoint <name>', 'another one than the newest, by its name or its step')
    .option('--views <count>', 'views averaged for each image: the clean one, and random ones', number('--views'), 1)
    .option('--seeds <count>', 'linear probes to take the mean of', number('--seeds'), 1)
    .option(
      '--labels <share>',
      'share of the labelled training images, class by class: 0.01, 0.1',
      number('--labels'),
      1,
    )
    .option(
      '--per-class <count>',
      'a quick look: only the first so many images of each class of both splits (all)',
      number('--per-class'),
    )
    .option('--fine-tune', 'train the backbone with a classifier too, and read that out with one clean view')
    .option('--average', 'read the moving average of the weights, which a run with --ema-rate keeps')
    .option('--json <file>', 'where to write the figures')
    .option('--data <name>', `data set to read out on: ${datasetNames.join(', ')} (the run's)`)
    .option('--data-dir <folder>', "the data set's folder, where it is not the run's any more")
    .option(
      '--resolution <pixels>',
      "that a folder's pictures are packed at (the run's, or 160)",
      number('--resolution'),
    ),
)

const BATCHES = 50
/** Of the choice of labelled images: the same ones for every probe and every run. */
const LABELS_SEED = 1

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

/** Images of a step of fine-tuning: as many rows as pretraining had at most, so that memory is enough. */
const tuningBatch = ({ batch, views }: PretrainConfig): number => Math.min(FINE_TUNING.batch, batch * views)

/** Seconds that fine-tuning will take, from a few steps. */
async function timeFineTuning(
  engine: Engine,
  train: ImageDataset,
  test: ImageDataset,
  config: PretrainConfig,
): Promise<number> {
  const most = engine.target.adapterClass === 'cpu' ? 8 : Infinity
  const batch = Math.min(tuningBatch(config), train.count, most)
  const { backbone } = buildNetwork(config)
  const first = (dataset: ImageDataset, count: number): ImageDataset =>
    subset(
      dataset,
      Uint32Array.from({ length: Math.min(count, dataset.count) }, (_, i) => i),
    )
  const options = { recipe: config.augmentation, classes: train.classes.length, seed: 1, batch, epochs: 1 }
  const each = await rateOf((onProgress) =>
    fineTune(engine, backbone, first(train, 4 * batch), first(test, 1), { ...options, onProgress }),
  )
  for (const variable of backbone.dict.variables) engine.release(variable)
  return (FINE_TUNING.epochs * train.count * each) / batch
}

/** What one backbone is worth; `tuned` is what it became, which is read with one clean view. */
interface Figures extends Readout {
  tuned?: Accuracies
  diagnostics: Diagnostics
}

/** Fine-tunes a backbone behind a bar. */
async function shownFineTuning(
  engine: Engine,
  backbone: Backbone,
  [train, test]: [ImageDataset, ImageDataset],
  config: PretrainConfig,
  name: string,
): Promise<Figures['tuned']> {
  const phase = beginPhase(`${name}: fine-tuning`)
  const { top1, top5 } = await fineTune(engine, backbone, train, test, {
    recipe: config.augmentation,
    classes: Math.max(train.classes.length, test.classes.length),
    seed: 1,
    batch: tuningBatch(config),
    onProgress: (done, total, loss) => phase.update(done, total, `loss ${loss.toPrecision(4)}`),
  })
  phase.finish()
  return withErrors({ top1, top5 }, test.count)
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

const inPercent = (share: number): string => `${Number((100 * share).toPrecision(6))} %`

const share = (value: number, error: number): string => `${(100 * value).toFixed(2)} ± ${(100 * error).toFixed(2)} %`

/** A table of lines; all columns but the first are flush right. */
function aligned(cells: string[][]): string[] {
  const widths = cells[0].map((_, c) => Math.max(...cells.map((row) => row[c].length)))
  return cells.map((row) => row.map((cell, c) => (c ? cell.padStart(widths[c]) : cell.padEnd(widths[c]))).join('   '))
}

interface Row {
  name: string
  figures: Figures
}

/** The accuracies as a table, with what they were read with and what ± means. */
function accuracyTable(rows: Row[]): string {
  const tuning = rows.some(({ figures }) => figures.tuned)
  const lines = aligned([
    [
      '',
      ...['linear', 'kNN-20', 'kNN-200', ...(tuning ? ['fine-tuned'] : [])].flatMap((of) => [`${of} top-1`, 'top-5']),
    ],
    ...rows.map(({ name, figures: { linear, knn20, knn200, tuned } }) => [
      name,
      share(linear.top1, linear.standardError),
      share(linear.top5, linear.top5StandardError),
      ...[knn20, knn200, ...(tuned ? [tuned] : [])].flatMap(({ top1, standardError, top5, top5StandardError }) => [
        share(top1, standardError),
        share(top5, top5StandardError),
      ]),
    ]),
  ])
  const { views, linear } = rows[0].figures
  const seeds = linear.perSeed.length
  const overSeeds = rows.map((r) => (100 * (r.figures.linear.seedStandardError ?? 0)).toFixed(2)).join(' and ')
  return [
    ...lines,
    `Read with ${viewsOf(views)} an image${tuning ? ', fine-tuned with 1 clean view' : ''}. ± is one standard error over the test images` +
      (seeds > 1 ? `; over the ${seeds} probe seeds that of linear top-1 is ${overSeeds} points.` : '.'),
  ].join('\n')
}

/** What the features look like, as a table, with what it was read from. */
function diagnosticsTable(rows: Row[], width: number): string {
  const lines = aligned([
    ['', 'spectrum α', 'effective rank', 'alignment', 'uniformity'],
    ...rows.map(({ name, figures: { diagnostics: d } }) => [
      name,
      d.alpha?.toFixed(3) ?? '–',
      `${d.effectiveRank.toFixed(1)} of ${width}`,
      d.alignment.toFixed(4),
      d.uniformity.toFixed(3),
    ]),
  ])
  const { images } = rows[0].figures.diagnostics
  return [
    ...lines,
    `Of the features of ${images.toLocaleString('en')} test images, 1 clean view each; alignment of 2 random views each.`,
    ...rows.flatMap(({ name, figures }) =>
      figures.diagnostics.warning ? [`Warning, ${name}: ${asCommandLine(figures.diagnostics.warning)}`] : [],
    ),
  ].join('\n')
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  for (const name of ['views', 'seeds'] as const)
    if (!Number.isInteger(options[name]) || options[name] < 1)
      throw new ConfigError(`--${name} ${options[name]}: must be a whole number of at least 1`)
  if (!(options.labels > 0 && options.labels <= 1))
    throw new ConfigError(`--labels ${options.labels}: must be more than 0 and at most 1`)
  const { perClass } = options
  if (perClass !== undefined && (!Number.isInteger(perClass) || perClass < 1))
    throw new ConfigError(`--per-class ${perClass}: must be a whole number of at least 1`)
  if (perClass !== undefined && options.labels < 1)
    throw new ConfigError(`--per-class ${perClass}: says already which images are labelled; leave --labels out`)
  const { config, checkpoint } = await chooseCheckpoint(options.run, options.checkpoint)
  const { data = config.data, views } = options
  const own: Pick<PretrainConfig, 'dataDir' | 'resolution'> = data === config.data ? config : {}
  const { dataDir = own.dataDir, resolution = own.resolution } = options
  const all = await loadDataset(data, 'train', { dataDir, resolution })
  const firstOf = (dataset: ImageDataset): ImageDataset =>
    perClass === undefined ? dataset : subset(dataset, firstOfEachClass(dataset, perClass))
  const train =
    options.labels < 1 ? subset(all, fractionIndicesPerClass(all.labels, options.labels, LABELS_SEED)) : firstOf(all)
  const test = firstOf(await loadDataset(data, 'test', { dataDir, resolution }))
  const engine = await openWithNote(options.adapter)
  const { backbone } = buildNetwork(config)
  if (options.average && config.emaRate === undefined)
    throw new ConfigError(`--average: the run in ${options.run} has kept none; pretrain with --ema-rate`)
  const weights = options.average ? 'average' : 'model'
  await loadModel(engine, backbone.dict, `${checkpoint.folder}/${weights}.safetensors`)

  const seeds = Array.from({ length: options.seeds }, (_, i) => i + 1)
  const how = { recipe: config.augmentation, views, seeds }
  const each =
    (await estimateReadout(engine, backbone, train, test, how)) +
    (options.fineTune ? await timeFineTuning(engine, train, test, config) : 0)
  // Statistics are those of the data that it would have been pretrained on; for a quick look, of what is looked at.
  const typical = perClass === undefined ? all : train
  const expected = 2 * each + (await timeStatistics(engine, typical, config))
  const labels =
    options.labels < 1
      ? ` (${inPercent(options.labels)} of the labels)`
      : perClass === undefined
        ? ''
        : ` (the first ${perClass} of each class)`
  console.error(
    `${config.arch} of width ${config.width} at step ${checkpoint.step}: ${train.count.toLocaleString('en')} training${labels} and ` +
      `${test.count.toLocaleString('en')} test images of ${data}, ${viewsOf(views)} each. ` +
      `This takes about ${duration(Math.max(1, expected))}.`,
  )
  const begun = performance.now()
  const read = async (network: Backbone, name: string): Promise<Figures> => {
    const figures = await shownReadout(engine, network, [train, test], how, name)
    const diagnostics = await diagnose(engine, network, test, {
      recipe: config.augmentation,
      seed: 1,
      objective: config.objective,
    })
    // Last, since it changes the weights.
    const tuned = options.fineTune && (await shownFineTuning(engine, network, [train, test], config, name))
    return { ...figures, diagnostics, ...(tuned && { tuned }) }
  }
  const pretrained = await read(backbone, 'pretrained')
  const { backbone: fresh } = buildNetwork(config)
  const phase = beginPhase('untrained: statistics')
  await estimateStatistics(engine, fresh, typical, {
    ...statisticsOf(config),
    onProgress: (done, total) => phase.update(done, total),
  })
  phase.finish()
  const untrained = await read(fresh, 'untrained')

  const rows = [
    { name: `step ${checkpoint.step}${options.average ? ', average' : ''}`, figures: pretrained },
    { name: 'untrained', figures: untrained },
  ]
  console.log(accuracyTable(rows))
  if (perClass !== undefined)
    console.log(
      `Of the first ${counted(perClass, 'image')} of each class alone, ${train.count.toLocaleString('en')} for training and ` +
        `${test.count.toLocaleString('en')} for testing: figures do not compare with those of all images.`,
    )
  if (options.labels < 1 || data !== config.data)
    console.log(
      `Labels: ${train.count.toLocaleString('en')} training images of ${data}` +
        `${options.labels < 1 ? `, ${inPercent(options.labels)} of each class` : ''}. Pretrained on ${config.data}.`,
    )
  console.log(`\n${diagnosticsTable(rows, backbone.features)}`)
  if (options.json) {
    const { arch, width, stem, augmentation } = config
    const figures = {
      run: options.run,
      step: checkpoint.step,
      epoch: checkpoint.epoch,
      network: { arch, width, stem, imageSize: augmentation.size },
      data,
      pretrainedOn: config.data,
      weights,
      labels: options.labels,
      ...(perClass !== undefined && { perClass }),
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
