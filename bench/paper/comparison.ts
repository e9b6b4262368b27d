/** Figures from the paper and other sources beside ours, and why the two may not be comparable. */
import { resolveConfig } from '../../train/config/config.js'
import { PROBE_BATCH } from '../../train/readout/linear_probe.js'
import { readoutLike } from '../../train/readout/readout.js'
import type { Arm, PaperFigure } from './experiment.js'

/** How a figure was measured, as far as it is known. */
export interface Conditions {
  dataset?: string
  network?: string
  /** Channels of the network's first stage. */
  width?: number
  /** Pixels of a pretraining view. */
  size?: number
  /** Share of the images, in %. */
  images?: number
  epochs?: number
  projectorDim?: number
  lambda?: number
  /** Initial weights of the convolutions. */
  weights?: string
  interpolation?: string
  /** 'no ReLU', or 'ReLU'. */
  stem?: string
  /** What becomes of an epoch's last batch. */
  lastBatch?: string
  /** Rows per step of the probe. */
  probeBatch?: number
  /** Pretraining's divisor of the centred pixels. */
  divisor?: string
  /** Views averaged for each image in the readout. */
  views?: number
}

const titles: Record<string, string> = { cifar10: 'CIFAR-10', stl10: 'STL-10', folder: 'ImageNet-100' }

/** What the research code does on every data set. */
const researchCode: Conditions = {
  weights: 'PyTorch’s',
  interpolation: 'OpenCV’s area',
  stem: 'no ReLU',
  lastBatch: 'kept',
}

/** The paper's multi-view Barlow Twins on CIFAR-10. */
export const paperCifar: Conditions = {
  ...researchCode,
  dataset: 'CIFAR-10',
  network: 'ResNet-50',
  width: 64,
  size: 32,
  images: 100,
  epochs: 100,
}

export function conditionsOf({ config, readout }: Arm): Required<Conditions> {
  const resolved = resolveConfig(config)
  const { data, arch, width, fraction, epochs, projectorDim, lambda, augmentation } = resolved
  const { initialWeights = 'he', zeroInitResidual, stemRelu, lastBatch = 'drop' } = resolved
  const started = initialWeights === 'he' ? 'He’s' : 'PyTorch’s'
  return {
    dataset: titles[data] ?? data,
    network: arch.replace('resnet', 'ResNet-'),
    width,
    size: augmentation.size,
    images: 100 * fraction,
    epochs,
    projectorDim,
    lambda: lambda ?? NaN,
    weights: zeroInitResidual ? `${started} with blocks that start as identities` : started,
    interpolation: augmentation.interpolation === 'area' ? 'OpenCV’s area' : 'bilinear',
    stem: stemRelu ? 'ReLU' : 'no ReLU',
    lastBatch: lastBatch === 'keep' ? 'kept' : 'dropped',
    probeBatch: readoutLike(resolved, data, { batch: readout.batch }).batch ?? PROBE_BATCH,
    divisor: String(augmentation.std) === String(augmentation.mean) ? 'mean' : 'standard deviation',
    views: readout.views,
  }
}

/** The text before and after a value. */
const texts: Record<keyof Conditions, [before: string, after: string]> = {
  dataset: ['', ''],
  network: ['', ''],
  width: ['width ', ''],
  size: ['', ' px'],
  images: ['', ' % of the images'],
  epochs: ['', ' epochs'],
  projectorDim: ['d = ', ''],
  lambda: ['λ = ', ''],
  weights: ['initial weights: ', ''],
  interpolation: ['interpolation: ', ''],
  stem: ['after the stem: ', ''],
  lastBatch: ['last batch: ', ''],
  probeBatch: ['probe batch: ', ''],
  divisor: ['pixels divided by the ', ''],
  views: ['views read: ', ''],
}

/** `4 epochs, not 100`: one text for each difference. A condition that is unknown counts as equal. */
export const differencesFrom = (ours: Required<Conditions>, theirs: Conditions): string[] =>
  (Object.keys(texts) as (keyof Conditions)[]).flatMap((field) => {
    const [before, after] = texts[field]
    const their = theirs[field]
    return their === undefined || their === ours[field] ? [] : [`${before}${ours[field]}${after}, not ${their}`]
  })

/**
 * A figure beside ours, with the differences between the conditions.
 *
 * @param arm the arm that our figure comes from
 * @param theirs the conditions of the other figure
 * @param options.accuracy false if the figure is no accuracy, so that the readout does not matter
 */
export function compare(
  arm: Arm,
  { what, paper, ours }: Pick<PaperFigure, 'what' | 'paper' | 'ours'>,
  theirs: Conditions,
  { accuracy = true } = {},
): PaperFigure {
  const conditions = conditionsOf(arm)
  const differs = differencesFrom(conditions, theirs)
  if (!accuracy) return { what, paper, ours, differs }
  if (theirs.views === undefined) differs.push('the number of views of their readout is unknown')
  const paperViews = theirs.views !== undefined && { paperViews: theirs.views }
  return { what, paper, ours, ...paperViews, ourViews: conditions.views, differs }
}
