/** Figures that are known from elsewhere beside ours, and what keeps them from comparing. */
import { resolveConfig } from '../../train/config/config.js'
import type { Arm, PaperFigure } from './experiment.js'

/** How a figure came about, as far as it is known. */
export interface Conditions {
  dataset?: string
  network?: string
  /** Channels of the network's first stage. */
  width?: number
  /** Pixels of a pretraining view. */
  size?: number
  /** Of all images, in %. */
  images?: number
  epochs?: number
  projectorDim?: number
  lambda?: number
  /** That each image was read with. */
  views?: number
}

const titles: Record<string, string> = { cifar10: 'CIFAR-10', stl10: 'STL-10', folder: 'ImageNet-100' }

/** The paper's multi-view Barlow Twins on CIFAR-10. */
export const paperCifar: Conditions = {
  dataset: 'CIFAR-10',
  network: 'ResNet-50',
  width: 64,
  size: 32,
  images: 100,
  epochs: 100,
}

export function conditionsOf({ config, readout }: Arm): Required<Conditions> {
  const { data, arch, width, fraction, epochs, projectorDim, lambda, augmentation } = resolveConfig(config)
  return {
    dataset: titles[data] ?? data,
    network: arch.replace('resnet', 'ResNet-'),
    width,
    size: augmentation.size,
    images: 100 * fraction,
    epochs,
    projectorDim,
    lambda: lambda ?? NaN,
    views: readout.views,
  }
}

/** What is said before and after a value. */
const described: Record<keyof Conditions, [before: string, after: string]> = {
  dataset: ['', ''],
  network: ['', ''],
  width: ['width ', ''],
  size: ['', ' px'],
  images: ['', ' % of the images'],
  epochs: ['', ' epochs'],
  projectorDim: ['d = ', ''],
  lambda: ['λ = ', ''],
  views: ['views read: ', ''],
}

/** `4 epochs, not 100` and so on; what is not known of theirs is taken to be equal. */
export const differencesFrom = (ours: Required<Conditions>, theirs: Conditions): string[] =>
  (Object.keys(described) as (keyof Conditions)[]).flatMap((field) => {
    const [before, after] = described[field]
    const there = theirs[field]
    return there === undefined || there === ours[field] ? [] : [`${before}${ours[field]}${after}, not ${there}`]
  })

/**
 * @param arm the one of ours that the figure is of
 * @param read false where the figure is no accuracy, and the views of a readout nothing to it
 */
export function beside(
  arm: Arm,
  { what, paper, ours }: Pick<PaperFigure, 'what' | 'paper' | 'ours'>,
  theirs: Conditions,
  { read = true } = {},
): PaperFigure {
  const own = conditionsOf(arm)
  const differs = differencesFrom(own, theirs)
  if (!read) return { what, paper, ours, differs }
  if (theirs.views === undefined) differs.push('with how many views theirs was read is not known')
  const paperViews = theirs.views !== undefined && { paperViews: theirs.views }
  return { what, paper, ours, ...paperViews, ourViews: own.views, differs }
}
