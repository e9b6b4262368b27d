/**
 * `npm start`: pretrains a ResNet-18 on CIFAR-10 with 2 and with 4 views per image at equal compute, probes both and an
 * untrained copy, and writes a summary and a report with pictures.
 */
import { join } from 'node:path'
import { Command } from 'commander'
import { tuneByMeasurement, type NodeEngine } from '../../engine/node/index.js'
import type { Backbone } from '../../models/index.js'
import type { PretrainConfig } from '../config/config.js'
import { inMemory, type ArrayDataset } from '../data/dataset.js'
import { firstAcrossClasses, firstOfEachClass, subset } from '../data/subset.js'
import { imagesWithViews } from '../augment/pictures.js'
import { contactSheet } from '../node/contact_sheet.js'
import { loadDataset } from '../node/data/index.js'
import { checkFolder, writeAtomically } from '../node/files.js'
import { takeLock } from '../node/lock.js'
import { estimateReadoutSeconds } from '../readout/estimate.js'
import { quickstartReport } from '../report/quickstart_report.js'
import { findings, terminalTable, type Arm, type QuickstartSummary } from '../report/quickstart_summary.js'
import { duration, formatCount } from '../report/text.js'
import { buildNetwork } from '../step/network.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from './common.js'
import { beginPhase } from './phases.js'
import {
  configFor,
  fillStatistics,
  findNeighbours,
  probeArm,
  READOUT,
  round,
  scaleFor,
  secondsPerStep,
  SEED,
  trainArm,
  VIEWS_PER_STEP,
  type ProbeImages,
  type Scale,
} from './quickstart_steps.js'

interface Options {
  dataDir?: string
  out: string
  minutes?: number
  steps?: number
  tune?: true
  adapter?: string
}

/** Views per image of each arm. */
const ARMS = [2, 4]
const TRAIN_PER_CLASS = 1000
const TEST_PER_CLASS = 200
const SHEET = { images: 6, views: 8, tile: 96, afterFirst: 16 }

const command = withAdapter(
  new Command('quickstart')
    .description(
      'Pretrain on CIFAR-10 with 2 and with 4 views per image at equal compute, probe both, and write a report with pictures.',
    )
    .option(
      '--data-dir <folder>',
      'folder that holds CIFAR-10 in its official binary format (default: downloaded into the cache)',
    )
    .option('--minutes <minutes>', 'pretraining time of each of the two runs', positive('--minutes'))
    .option('--steps <count>', 'number of steps of each of the two runs, instead of --minutes', positive('--steps'))
    .option('--tune', 'measure the kernel variants of each product first; earlier measurements are used again')
    .option('--out <folder>', 'folder for runs, summary and report', join('runs', 'quickstart')),
)

function positive(option: string): (text: string) => number {
  const parse = number(option)
  return (text) => {
    const value = parse(text)
    if (!(value > 0) || value === Infinity) throw new Error(`${option}: ${text} is not a positive number`)
    return value
  }
}

interface Session {
  engine: NodeEngine
  dataset: ArrayDataset
  probeImages: ProbeImages
  scale: Scale
  options: Options
  configOf(views: number, steps: number): PretrainConfig
}

interface Trained {
  arms: Arm[]
  backbones: { name: string; backbone: Backbone }[]
}

async function open(options: Options): Promise<Session> {
  const { dataDir, out } = options
  await checkFolder('--out', out)
  const dataset = await inMemory(await loadDataset('cifar10', 'train', { dataDir }))
  const test = await inMemory(await loadDataset('cifar10', 'test', { dataDir }))
  const probeImages = {
    train: subset(dataset, firstOfEachClass(dataset, TRAIN_PER_CLASS)),
    test: subset(test, firstOfEachClass(test, TEST_PER_CLASS)),
  }
  // Held until the process ends: a second quickstart would replace the runs.
  await takeLock(join(out, '.lock'), `--out ${out}`)
  const engine = await openWithNote(options.adapter)
  if (options.tune) tuneByMeasurement(engine)
  const scale = scaleFor(engine)
  const configOf = (views: number, steps: number): PretrainConfig =>
    configFor({ views, steps }, dataset, dataDir, scale)
  return { engine, dataset, probeImages, scale, options, configOf }
}

/** Measures the speed, chooses the steps of each arm and says how long everything takes. */
async function chooseSteps(
  { engine, dataset, probeImages: { train, test }, scale, options }: Session,
  untrained: Backbone,
  config: PretrainConfig,
): Promise<number> {
  const phase = beginPhase('measuring the speed')
  const stepSeconds = await secondsPerStep(engine, dataset, config)
  const how = { recipe: config.augmentation, ...READOUT, ks: [20] }
  const readoutSeconds = await estimateReadoutSeconds(engine, untrained, train, test, how)
  phase.finish()
  const fitting = Math.floor((60 * (options.minutes ?? scale.minutes)) / stepSeconds)
  const steps = Math.ceil(options.steps ?? Math.max(2, Math.min(fitting, options.minutes ? Infinity : scale.mostSteps)))
  const expected = ARMS.length * steps * stepSeconds + (ARMS.length + 2) * readoutSeconds
  console.error(
    `ResNet-18 of width ${scale.width}, views of ${scale.size} px: ${formatCount(steps)} steps of ${VIEWS_PER_STEP} views, ` +
      `once with 2 views per image and once with 4.\nThis takes about ${duration(Math.ceil(expected / 10) * 10)} from here.`,
  )
  return steps
}

/** Probes the untrained backbone, then trains and probes each arm. */
async function trainAndProbe(
  { engine, dataset, probeImages, options, configOf }: Session,
  untrained: Backbone,
  steps: number,
): Promise<Trained> {
  const last = configOf(ARMS[ARMS.length - 1], steps)
  await fillStatistics(engine, untrained, dataset, last)
  const arms = [await probeArm(engine, untrained, { name: 'untrained' }, probeImages, last)]
  const backbones = [{ name: 'untrained', backbone: untrained }]
  for (const views of ARMS) {
    const config = configOf(views, steps)
    const { backbone, arm } = await trainArm(engine, dataset, config, options.out)
    arms.push(await probeArm(engine, backbone, arm, probeImages, config))
    backbones.push({ name: arm.name, backbone })
  }
  return { arms, backbones }
}

function summarize(
  { engine, dataset, probeImages: { train, test } }: Session,
  { date, seconds, arms, backbone }: { date: string; seconds: number; arms: Arm[]; backbone: Backbone },
  { arch, width, projectorDim, lambda, lr, weightDecay, seed, augmentation }: PretrainConfig,
): QuickstartSummary {
  return {
    date,
    adapter: { kind: engine.driver.kind, description: engine.driver.description },
    seconds,
    dataset: { name: 'CIFAR-10', count: dataset.count, classes: dataset.classes },
    network: {
      arch,
      width,
      projectorDim,
      lambda: lambda!,
      lr,
      weightDecay,
      seed,
      parameters: backbone.dict.parameterCount,
      features: backbone.features,
      imageSize: augmentation.size,
    },
    readout: { trainCount: train.count, testCount: test.count, ...READOUT },
    arms,
  }
}

await runCommand(async () => {
  const date = new Date().toISOString()
  const session = await open(parseOptions<Options>(command))
  const { engine, dataset, probeImages, scale, options, configOf } = session
  const begun = performance.now()
  const config = configOf(ARMS[ARMS.length - 1], scale.trial)
  const untrained = buildNetwork(config).backbone
  const steps = await chooseSteps(session, untrained, config)
  const { arms, backbones } = await trainAndProbe(session, untrained, steps)

  const { augmentation: recipe } = config
  const images = firstAcrossClasses(dataset, SHEET.images)
  const sheet = await imagesWithViews(engine, dataset, { recipe, views: SHEET.views, images, seed: SEED })
  const compared = [backbones[0], backbones[backbones.length - 1]]
  const neighbours = await findNeighbours(engine, compared, probeImages, config)
  const seconds = round((performance.now() - begun) / 1000)
  const summary = summarize(session, { date, seconds, arms, backbone: untrained }, config)
  const [numbers, report] = ['summary.json', 'report.html'].map((name) => join(options.out, name))
  await writeAtomically(numbers, `${JSON.stringify(summary, null, 2)}\n`)
  const views = { png: await contactSheet(sheet, SHEET), count: SHEET.views }
  await writeAtomically(report, await quickstartReport(summary, { views, neighbours }))
  const { trainCount, testCount } = summary.readout
  console.log(`\n${terminalTable(summary)}\n`)
  console.log(
    `Top-1 on ${formatCount(testCount)} test images, ${formatCount(trainCount)} labelled training images, ` +
      `one clean view per image,\nmean of ${READOUT.seeds.length} probe seeds; ± one standard error over the test images.`,
  )
  console.log(`${findings(summary)}\n\nPictures and curves: ${report}\nNumbers: ${numbers}`)
})
