/** Figures that are known from elsewhere beside ours, and what keeps them from comparing. */
import { resolveConfig } from '../../train/config.js'
import type { Arm, PaperFigure } from './experiment.js'

/** How a figure came about, as far as it is known. */
export interface Conditions {
  dataset?: string
  /** Of width 64 unless it says so. */
  network?: string
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
  size: 32,
  images: 100,
  epochs: 100,
}

export function conditionsOf({ config, readout }: Arm): Required<Conditions> {
  const { data, arch, width, fraction, epochs, projectorDim, lambda, augmentation } = resolveConfig(config)
  const network = arch.replace('resnet', 'ResNet-')
  return {
    dataset: titles[data] ?? data,
    network: width === 64 ? network : `${network} of width ${width}`,
    size: augmentation.size,
    images: 100 * fraction,
    epochs,
    projectorDim,
    lambda: lambda ?? NaN,
    views: readout.views,
  }
}

const described: { [K in keyof Conditions]-?: (value: NonNullable<Conditions[K]>) => string } = {
  dataset: (name) => name,
  network: (name) => name,
  size: (pixels) => `${pixels} px`,
  images: (percent) => `${percent} % of the images`,
  epochs: (count) => `${count} epochs`,
  projectorDim: (d) => `d = ${d}`,
  lambda: (value) => `λ = ${value}`,
  views: (count) => `${count} view${count === 1 ? '' : 's'} read`,
}

/** What differs, `4 epochs, not 100 epochs`; what is not known of theirs differs in nothing but the views read. */
export function differencesFrom(ours: Required<Conditions>, theirs: Conditions): string[] {
  const list = (Object.keys(described) as (keyof Conditions)[]).flatMap((field) => {
    const say = described[field] as (value: unknown) => string
    const there = theirs[field]
    return there === undefined || there === ours[field] ? [] : [`${say(ours[field])}, not ${say(there)}`]
  })
  return theirs.views === undefined ? [...list, 'with how many views it was read is not known'] : list
}

/** @param arm the one of ours that the figure is of */
export function beside(
  arm: Arm,
  { what, paper, ours }: Pick<PaperFigure, 'what' | 'paper' | 'ours'>,
  theirs: Conditions,
): PaperFigure {
  const own = conditionsOf(arm)
  return {
    what,
    paper,
    ours,
    ...(theirs.views !== undefined && { paperViews: theirs.views }),
    ourViews: own.views,
    differs: differencesFrom(own, theirs),
  }
}
