/**
 * The runs of the experiments. Each is a recipe of the paper with the changes of its scale. Two arms with the same
 * configuration share their runs.
 */
import { overlay, type PartialConfig } from '../../train/config/config.js'
import { recipes } from '../../train/augment/recipe.js'
import { readRecipe, recipeNames } from '../../train/recipes/index.js'
import type { ReadoutSpec } from '../runs/cached_runs.js'
import type { Arm, Dataset, Setup } from './experiment.js'
import { protocolOf } from './scales.js'

/** @param name name of a recipe without its data set */
function configOf(
  setup: Setup,
  name: string,
  { changes, batch }: { changes: PartialConfig; batch?: number },
): PartialConfig {
  const recipe = readRecipe(`${setup.dataset}-${name}`)
  const fraction = (recipe.fraction ?? 1) * (changes.fraction ?? 1)
  return overlay(recipe, { ...changes, fraction, batch, dataDir: setup.dataDir })
}

const lossOf = ({ objective }: PartialConfig): string => (objective === 'vicreg' ? 'VICReg' : 'Barlow Twins')

/** `Barlow Twins, d = 256`: the loss and the projector width of a family of recipes. */
export function titleOf(setup: Setup, family: string): string {
  const recipe = readRecipe(`${setup.dataset}-${family}`)
  return `${lossOf(recipe)}, d = ${recipe.projectorDim}`
}

/** A run of the comparison of views, read at every checkpoint. */
export function viewsArm(setup: Setup, name: string, protocol = protocolOf(setup)): Arm {
  const { changes, viewsBatch: batch, viewsReadout, views } = protocol
  const config = configOf(setup, name, { changes, batch })
  const { fraction: share = 1 } = readRecipe(`${setup.dataset}-${name}`)
  const [loss, width] = [lossOf(config), `, d = ${config.projectorDim}`]
  return {
    name: [
      loss === 'Barlow Twins' ? '' : `${loss}, `,
      `${config.views} views`,
      share < 1 ? ` @ ${100 * share} %` : '',
      views[0].endsWith(`-d${config.projectorDim}`) ? '' : width,
    ].join(''),
    config,
    readout: viewsReadout,
    curve: true,
  }
}

/** The recipes of a family with these endings, as far as the paper has them. */
function armsOf(setup: Setup, family: string, endings: readonly string[], protocol = protocolOf(setup)): Arm[] {
  const all = recipeNames()
  return endings
    .map((ending) => `${family}-${ending}`)
    .filter((name) => all.includes(`${setup.dataset}-${name}`))
    .map((name) => viewsArm(setup, name, protocol))
}

/** 2, 4 and 8 views of all images. */
export const viewsArms = (setup: Setup, family: string): Arm[] => armsOf(setup, family, ['v2', 'v4', 'v8'])

/** The product of views and share of the images is constant: 2 @ 100 %, 4 @ 50 %, 8 @ 25 %. */
const SHARES = ['v2', 'v4-half', 'v8-quarter']

/** The runs with these shares, trained as the other runs of the scale. */
export const fractionArms = (setup: Setup, family: string): Arm[] => armsOf(setup, family, SHARES)

/** The runs with these shares, trained for so long that images are what they lack, and not steps. */
export function convergedArms(setup: Setup, family: string): Arm[] {
  const protocol = protocolOf(setup)
  const { changes, viewsBatch, converged } = protocol
  return armsOf(setup, family, SHARES, {
    ...protocol,
    changes: { ...changes, ...converged },
    viewsBatch: converged?.batch ?? viewsBatch,
  })
}

/** The paper's baseline: two views and the widest projector of the scale. */
export const baselineArm = (setup: Setup): Arm => viewsArm(setup, protocolOf(setup).baseline)

/**
 * Two views with one projector width.
 *
 * @param which `best`: the λ that the paper found best for this width; `fixed`: the baseline's λ for all widths
 */
export function projectorArm(setup: Setup, name: string, which: 'best' | 'fixed'): Arm {
  const { changes, projectorBatch: batch, projectorReadout } = protocolOf(setup)
  const config = configOf(setup, which === 'fixed' ? `${name}-fixed` : name, { changes, batch })
  return {
    name: `${lossOf(config)}, d = ${config.projectorDim}, ${which} λ = ${config.lambda}`,
    config,
    readout: projectorReadout,
  }
}

/** For each loss and width the arm with its best λ, then the arm with the fixed λ. */
export const projectorArms = (setup: Setup): Arm[] =>
  protocolOf(setup).projector.flatMap((name) =>
    (['best', 'fixed'] as const).map((which) => projectorArm(setup, name, which)),
  )

/** The differences of the research code, each alone. */
interface Accident {
  name: string
  config?: PartialConfig
  readout?: Partial<ReadoutSpec>
}

/** The accidents that matter for a data set, with the objective of the experiment. */
function accidentsOf(dataset: Dataset, batch: number | undefined): Accident[] {
  const { mean, clean } = recipes['imagenet100-research-code']
  const stl = recipes['stl-research-code']
  const own: Record<Dataset, Accident[]> = {
    cifar10: [],
    stl10: [
      { name: 'divided by the mean', config: { augmentation: { std: stl.std, clean: { std: stl.clean.std } } } },
      { name: 'clean view of 96 px', config: { augmentation: { clean: { size: 96 } } } },
    ],
    imagenet100: [
      { name: 'divided by the mean', config: { augmentation: { std: mean, clean: { std: clean.std } } } },
      { name: 'whole pictures', config: { resize: 'whole', resolution: 500 } },
      { name: 'clean view of the central half', config: { augmentation: { clean: { centre: clean.centre } } } },
      { name: 'jitter with the first grey', config: { augmentation: { jitter: { grey: 'first' } } } },
    ],
  }
  return [
    { name: 'PyTorch’s initial weights', config: { initialWeights: 'pytorch', zeroInitResidual: false } },
    { name: 'no ReLU after the stem', config: { stemRelu: false } },
    { name: 'area interpolation', config: { augmentation: { interpolation: 'area' } } },
    { name: 'last batch kept', config: { lastBatch: 'keep' } },
    ...own[dataset],
    { name: 'probe batch of the pretraining', readout: { batch } },
    // Not an accident, but a choice that the paper does not mention: the research code normalises all views jointly.
    { name: 'batch-norm per view', config: { bn: 'per-view' } },
  ]
}

/** Arms of the experiment on the research code. */
export interface FidelityArms {
  /** None of its accidents. */
  clean: Arm
  /** All of them. */
  research: Arm
  /** Each of them alone; compared with `clean`. */
  alone: Arm[]
  /** BYOL with a rate that rises and with a constant one, on CIFAR-10. */
  byol?: [rising: Arm, constant: Arm]
}

/** All arms of the experiment: without accidents, with all, each alone, then BYOL's two. */
export function fidelityRuns(setup: Setup): Arm[] {
  const { clean, research, alone, byol } = fidelityArms(setup)
  return [clean, research, ...alone, ...(byol ?? [])]
}

/** Two views: without accidents, with all, and with each alone. */
export function fidelityArms(setup: Setup): FidelityArms {
  const { views, projectorReadout: readout } = protocolOf(setup)
  const { fidelity: _, ...bare } = viewsArm(setup, `${views[0]}-v2`).config
  const config = overlay(bare, { zeroInitResidual: true })
  // The only known figure of the research code is read with one clean view.
  const arm = (name: string, changes: PartialConfig = {}, own: Partial<ReadoutSpec> = {}): Arm => ({
    name,
    config: overlay(config, changes),
    readout: { ...readout, ...own },
  })
  const byol = (name: string, targetSchedule: 'cosine' | 'constant'): Arm =>
    arm(name, { objective: 'byol', targetSchedule })
  return {
    clean: arm('good practice'),
    research: arm('research code', { fidelity: 'research-code' }),
    alone: accidentsOf(setup.dataset, config.batch).map((one) => arm(one.name, one.config, one.readout)),
    ...(setup.dataset === 'cifar10' && {
      byol: [byol('BYOL, rising rate', 'cosine'), byol('BYOL, constant rate', 'constant')],
    }),
  }
}
