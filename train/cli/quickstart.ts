/**
 * `npm start`: pretrains a ResNet-18 on CIFAR-10 with 2 and with 4 views an image at equal compute, probes both and an
 * untrained copy, and writes a summary and a report with pictures.
 */
import { existsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import type { NodeEngine } from '../../engine/node/index.js'
import type { Backbone } from '../../models/index.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from './common.js'
import { resolveConfig, type PretrainConfig } from '../config/config.js'
import { inMemory, loadDataset, subset, type ArrayDataset, type ImageDataset } from '../data/dataset.js'
import { errorCode, writeAtomically } from '../node/files.js'
import { buildNetwork } from '../step/network.js'
import { pretrain } from '../node/pretrain.js'
import { estimateReadout, readout } from '../readout/evaluate.js'
import { estimateStatistics, extractFeatures } from '../readout/features.js'
import { nearestNeighbours } from '../readout/knn.js'
import {
  acrossClasses,
  contactSheet,
  firstOfEachClass,
  imageTile,
  imagesWithViews,
  tilePng,
} from '../node/contact_sheet.js'
import { beginPhase } from './phases.js'
import { quickstartReport, type LabelledPicture, type NeighbourRow } from '../report/quickstart_report.js'
import { duration, findings, terminalTable, type Arm, type QuickstartSummary } from '../report/summary.js'

interface Options {
  dataDir?: string
  out: string
  minutes?: number
  steps?: number
  adapter?: string
}

/** Rows a step, whatever the views an image: batch = VIEWS_A_STEP / views. */
const VIEWS_A_STEP = 256
const ARMS = [2, 4]
const SEED = 1
/** The readout's fixed lists: the first so many images of each class in the data set's order. */
const TRAIN_PER_CLASS = 1000
const TEST_PER_CLASS = 200
const READOUT = { views: 1, seeds: [1, 2, 3] }
const SHEET = { images: 6, views: 8, tile: 96, afterFirst: 16 }
const NEIGHBOURS = 6

/** What an adapter can do in a few minutes. Software: 720 steps, or what fits; hardware: what fits. */
function scaleFor(engine: NodeEngine) {
  if (engine.target.adapterClass !== 'cpu') return { size: 32, width: 64, minutes: 3, mostSteps: Infinity, trial: 60 }
  const slow = /swiftshader/i.test(`${engine.driver.kind} ${engine.driver.description}`)
  return { size: 16, width: 8, minutes: slow ? 15 : 3, mostSteps: 720, trial: 8 }
}

const command = withAdapter(
  new Command('quickstart')
    .description('Pretrain on CIFAR-10 with 2 and with 4 views at equal compute, probe both, and report with pictures.')
    .option('--data-dir <folder>', 'CIFAR-10 in its official binary format (default: fetched into the cache)')
    .option('--minutes <minutes>', 'pretraining time of each of the two runs', positive('--minutes'))
    .option('--steps <count>', 'steps of each of the two runs, in place of --minutes', positive('--steps'))
    .option('--out <folder>', 'where runs, summary and report go', join('runs', 'quickstart')),
)

function positive(option: string): (text: string) => number {
  const parse = number(option)
  return (text) => {
    const value = parse(text)
    if (!(value > 0) || value === Infinity) throw new Error(`${option}: ${text} is not above 0`)
    return value
  }
}

/** The paper's smallest projector with its λ, at the size that the adapter allows. */
function configFor(
  views: number,
  steps: number,
  dataset: ImageDataset,
  dataDir: string | undefined,
  scale: { size: number; width: number },
): PretrainConfig {
  const batch = VIEWS_A_STEP / views
  const epochs = Math.ceil(steps / Math.max(1, Math.floor(dataset.count / batch)))
  return resolveConfig({
    data: dataset.name,
    dataDir,
    arch: 'resnet18',
    width: scale.width,
    stem: 'cifar',
    views,
    batch,
    projectorDim: 64,
    lambda: 0.04,
    lr: 1e-3,
    weightDecay: 1e-6,
    seed: SEED,
    epochs,
    steps,
    checkpointEvery: epochs,
    augmentation: { size: scale.size },
  })
}

/** Seconds of one step, over a few steps that are thrown away; what they compile stays compiled. */
async function secondsPerStep(engine: NodeEngine, dataset: ImageDataset, config: PretrainConfig): Promise<number> {
  const { steps, seconds, secondsToFirstStep } = await pretrain({ engine, dataset, config, maxMinutes: 0.5 })
  return steps > 1 ? seconds / (steps - 1) : secondsToFirstStep
}

/** Pretrains one arm into its folder, in place of what an earlier quickstart left there. */
async function train(
  engine: NodeEngine,
  dataset: ImageDataset,
  config: PretrainConfig,
  out: string,
): Promise<{ backbone: Backbone; arm: Arm }> {
  const name = `${config.views} views`
  const folder = join(out, `${config.views}-views`)
  if (existsSync(join(folder, 'config.yaml'))) await rm(folder, { recursive: true })
  const phase = beginPhase(`pretraining, ${name}`)
  const times: number[] = []
  const { backbone, losses, steps, seconds, imagesPerSecond } = await pretrain({
    engine,
    dataset,
    config,
    out: folder,
    onStep(m) {
      times.push(round(m.seconds))
      phase.update(m.step, m.steps, `loss ${m.loss.toPrecision(4)}`)
    },
  })
  phase.finish()
  const viewsPerSecond = round(imagesPerSecond * config.views)
  const training = {
    views: config.views,
    batch: config.batch,
    steps,
    seconds: round(seconds),
    viewsPerSecond,
    losses: losses.map(round),
    times,
    folder,
  }
  return { backbone, arm: { name, training } }
}

const round = (value: number): number => Number(value.toPrecision(6))

/** Adds to an arm what its backbone's features are worth. */
async function probe(
  engine: NodeEngine,
  backbone: Backbone,
  arm: Arm,
  train: ImageDataset,
  test: ImageDataset,
  config: PretrainConfig,
): Promise<Arm> {
  const phase = beginPhase(`reading, ${arm.name}`)
  const { linear, knn20 } = await readout(engine, backbone, train, test, {
    recipe: config.augmentation,
    ...READOUT,
    onProgress: (part, done, total) => phase.update(done, total, part),
  })
  phase.finish()
  const { top1, standardError, seedStandardError } = linear
  return { ...arm, linear: { top1, standardError, seedStandardError }, knn20 }
}

/** For the first test image of each class, the nearest training images by each backbone's features. */
async function findNeighbours(
  engine: NodeEngine,
  backbones: { name: string; backbone: Backbone }[],
  train: ArrayDataset,
  test: ArrayDataset,
  config: PretrainConfig,
): Promise<NeighbourRow[]> {
  const phase = beginPhase('neighbours to look at')
  const queries = acrossClasses(test, test.classes.length)
  const picture = async (dataset: ArrayDataset, index: number): Promise<LabelledPicture> => ({
    png: await tilePng(imageTile(dataset, index)),
    label: dataset.classes[dataset.labels[index]],
  })
  const rows: NeighbourRow[] = await Promise.all(
    queries.map(async (index) => ({ query: await picture(test, index), found: [] })),
  )
  for (const { name, backbone } of backbones) {
    const options = {
      recipe: config.augmentation,
      seed: SEED,
      onProgress: (done: number, total: number) => phase.update(done, total, name),
    }
    const bank = await extractFeatures(engine, backbone, train, options)
    const wanted = await extractFeatures(engine, backbone, test, { ...options, indices: queries })
    const { k, indices } = await nearestNeighbours(engine, bank, wanted, { width: backbone.features, k: NEIGHBOURS })
    for (const [q, row] of rows.entries()) {
      const nearest = [...indices.subarray(q * k, (q + 1) * k)]
      row.found.push({ name, neighbours: await Promise.all(nearest.map((index) => picture(train, index))) })
    }
  }
  phase.finish()
  return rows
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const date = new Date().toISOString()
  const dataset = await inMemory(await loadDataset('cifar10', 'train', { dataDir: options.dataDir }))
  const testSplit = await inMemory(await loadDataset('cifar10', 'test', { dataDir: options.dataDir }))
  const probeTrain = subset(dataset, firstOfEachClass(dataset, TRAIN_PER_CLASS))
  const probeTest = subset(testSplit, firstOfEachClass(testSplit, TEST_PER_CLASS))
  await mkdir(options.out, { recursive: true }).catch((error: unknown) => {
    throw new Error(
      `--out ${options.out} cannot be made a folder (${errorCode(error) ?? String(error)}): choose another`,
    )
  })
  const engine = await openWithNote(options.adapter)
  const begun = performance.now()
  const scale = scaleFor(engine)
  const configOf = (views: number, steps: number): PretrainConfig =>
    configFor(views, steps, dataset, options.dataDir, scale)

  const measuring = beginPhase('measuring the speed')
  const last = configOf(ARMS[ARMS.length - 1], scale.trial)
  const untrained = buildNetwork(last).backbone
  const stepSeconds = await secondsPerStep(engine, dataset, last)
  const readoutSeconds = await estimateReadout(engine, untrained, probeTrain, probeTest, {
    recipe: last.augmentation,
    ...READOUT,
  })
  measuring.finish()
  const fitting = Math.floor((60 * (options.minutes ?? scale.minutes)) / stepSeconds)
  const steps = Math.ceil(options.steps ?? Math.max(2, Math.min(fitting, options.minutes ? Infinity : scale.mostSteps)))
  const expected = ARMS.length * steps * stepSeconds + (ARMS.length + 2) * readoutSeconds
  console.error(
    `ResNet-18 of width ${scale.width}, views of ${scale.size} px: ${steps.toLocaleString('en')} steps of ${VIEWS_A_STEP} views, ` +
      `once with 2 views an image and once with 4.\nThis takes about ${duration(Math.ceil(expected / 10) * 10)} from here.`,
  )

  const phase = beginPhase('statistics, untrained')
  await estimateStatistics(engine, untrained, dataset, {
    recipe: last.augmentation,
    views: last.views,
    batch: last.batch,
    seed: SEED,
    onProgress: (done, total) => phase.update(done, total),
  })
  phase.finish()
  const arms = [await probe(engine, untrained, { name: 'untrained' }, probeTrain, probeTest, last)]
  const backbones = [{ name: 'untrained', backbone: untrained }]
  for (const views of ARMS) {
    const config = configOf(views, steps)
    const { backbone, arm } = await train(engine, dataset, config, options.out)
    arms.push(await probe(engine, backbone, arm, probeTrain, probeTest, config))
    backbones.push({ name: arm.name, backbone })
  }

  const sheet = await imagesWithViews(engine, dataset, {
    recipe: last.augmentation,
    views: SHEET.views,
    images: acrossClasses(dataset, SHEET.images),
    seed: SEED,
  })
  const neighbours = await findNeighbours(
    engine,
    [backbones[0], backbones[backbones.length - 1]],
    probeTrain,
    probeTest,
    last,
  )
  const { arch, width, projectorDim, lambda, lr, weightDecay, seed, augmentation } = last
  const summary: QuickstartSummary = {
    date,
    adapter: { kind: engine.driver.kind, description: engine.driver.description },
    seconds: round((performance.now() - begun) / 1000),
    dataset: { name: 'CIFAR-10', count: dataset.count, classes: dataset.classes },
    network: {
      arch,
      width,
      projectorDim,
      lambda: lambda!,
      lr,
      weightDecay,
      seed,
      parameters: untrained.dict.parameterCount,
      features: untrained.features,
      imageSize: augmentation.size,
    },
    readout: { trainCount: probeTrain.count, testCount: probeTest.count, ...READOUT },
    arms,
  }
  const report = join(options.out, 'report.html')
  await writeAtomically(join(options.out, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`)
  const png = await contactSheet(sheet, SHEET)
  await writeAtomically(report, await quickstartReport(summary, { views: { png, count: SHEET.views }, neighbours }))
  console.log(`\n${terminalTable(summary)}\n`)
  console.log(
    `Top-1 on ${probeTest.count.toLocaleString('en')} test images, ${probeTrain.count.toLocaleString('en')} labelled training images, ` +
      `one clean view an image,\nmean of ${READOUT.seeds.length} probe seeds; ± one standard error over the test images.`,
  )
  console.log(`${findings(summary)}\n\nPictures and curves: ${report}\nNumbers: ${join(options.out, 'summary.json')}`)
})
