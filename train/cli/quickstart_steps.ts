/** The steps of the quickstart: what to train on this adapter, training, probing, and neighbours to look at. */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { NodeEngine } from '../../engine/node/index.js'
import type { Backbone } from '../../models/index.js'
import { resolveConfig, type PretrainConfig } from '../config/config.js'
import type { ArrayDataset, ImageDataset } from '../data/dataset.js'
import { firstAcrossClasses } from '../data/subset.js'
import { imageTile } from '../augment/pictures.js'
import { tilePng } from '../node/contact_sheet.js'
import { estimateStatistics, extractFeatures, typicalStatistics } from '../readout/features.js'
import { nearestNeighbours } from '../readout/knn.js'
import { readout } from '../readout/readout.js'
import type { LabelledPicture, NeighbourRow } from '../report/quickstart_report.js'
import type { Arm } from '../report/quickstart_summary.js'
import { pretrain } from '../node/pretrain.js'
import { beginPhase } from './phases.js'

/** Views per step in every arm: batch = VIEWS_PER_STEP / views. */
export const VIEWS_PER_STEP = 256
export const SEED = 1
export const READOUT = { views: 1, seeds: [1, 2, 3] }
const NEIGHBOURS = 6

/** The labelled images: the first ones of each class. */
export interface ProbeImages {
  train: ArrayDataset
  test: ArrayDataset
}

/** What fits an adapter. */
export interface Scale {
  /** Height and width of a view in pixels. */
  size: number
  width: number
  /** Training time of one arm, where the user gives none. */
  minutes: number
  mostSteps: number
  /** Steps to measure the speed with. */
  trial: number
}

/** A software adapter trains a small network on small views for at most 720 steps. */
export function scaleFor(engine: NodeEngine): Scale {
  if (engine.target.adapterClass !== 'cpu') return { size: 32, width: 64, minutes: 3, mostSteps: Infinity, trial: 60 }
  const slow = /swiftshader/i.test(`${engine.driver.kind} ${engine.driver.description}`)
  return { size: 16, width: 8, minutes: slow ? 15 : 3, mostSteps: 720, trial: 8 }
}

/** The paper's smallest projector with its λ, at the size that the adapter allows. */
export function configFor(
  { views, steps }: { views: number; steps: number },
  dataset: ImageDataset,
  dataDir: string | undefined,
  scale: Scale,
): PretrainConfig {
  const batch = VIEWS_PER_STEP / views
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

/** Seconds of one step, measured over a few steps whose result is dropped. The compiled kernels stay. */
export async function secondsPerStep(
  engine: NodeEngine,
  dataset: ImageDataset,
  config: PretrainConfig,
): Promise<number> {
  const { steps, seconds, secondsToFirstStep } = await pretrain({ engine, dataset, config, maxMinutes: 0.5 })
  return steps > 1 ? seconds / (steps - 1) : secondsToFirstStep
}

/** Gives an untrained backbone the running statistics that training would. */
export async function fillStatistics(
  engine: NodeEngine,
  backbone: Backbone,
  dataset: ImageDataset,
  config: PretrainConfig,
): Promise<void> {
  const phase = beginPhase('statistics, untrained')
  const onProgress = (done: number, total: number): void => phase.update(done, total)
  await estimateStatistics(engine, backbone, dataset, { ...typicalStatistics(config), onProgress })
  phase.finish()
}

/** Pretrains one arm into its folder. A folder from an earlier quickstart is replaced. */
export async function trainArm(
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
  const training = {
    views: config.views,
    batch: config.batch,
    steps,
    seconds: round(seconds),
    viewsPerSecond: round(imagesPerSecond * config.views),
    losses: losses.map(round),
    times,
    folder,
  }
  return { backbone, arm: { name, training } }
}

/** Six significant digits. */
export const round = (value: number): number => Number(value.toPrecision(6))

/** Adds the accuracies of its backbone to an arm. */
export async function probeArm(
  engine: NodeEngine,
  backbone: Backbone,
  arm: Arm,
  { train, test }: ProbeImages,
  config: PretrainConfig,
): Promise<Arm> {
  const phase = beginPhase(`reading, ${arm.name}`)
  const { linear, knn } = await readout(engine, backbone, train, test, {
    recipe: config.augmentation,
    ...READOUT,
    ks: [20],
    onProgress: (part, done, total) => phase.update(done, total, part),
  })
  phase.finish()
  const { top1, standardError, seedStandardError } = linear
  const [{ k: _, ...knn20 }] = knn
  return { ...arm, linear: { top1, standardError, seedStandardError }, knn20 }
}

/** For the first test image of each class, the nearest training images by each backbone's features. */
export async function findNeighbours(
  engine: NodeEngine,
  backbones: readonly { name: string; backbone: Backbone }[],
  { train, test }: ProbeImages,
  config: PretrainConfig,
): Promise<NeighbourRow[]> {
  const phase = beginPhase('neighbours to look at')
  const queries = firstAcrossClasses(test, test.classes.length)
  const picture = async (dataset: ArrayDataset, index: number): Promise<LabelledPicture> => ({
    png: await tilePng(imageTile(dataset, index)),
    label: dataset.classes[dataset.labels[index]],
  })
  const rows: NeighbourRow[] = await Promise.all(
    queries.map(async (index) => ({ query: await picture(test, index), found: [] })),
  )
  for (const { name, backbone } of backbones) {
    const onProgress = (done: number, total: number): void => phase.update(done, total, name)
    const options = { recipe: config.augmentation, seed: SEED, onProgress }
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
