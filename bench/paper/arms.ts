/**
 * The runs of the experiments. Each is a recipe of the paper with the changes of its scale. Two arms with the same
 * configuration share their runs.
 */
import { overlay, type PartialConfig } from '../../train/config/config.js'
import { readRecipe, recipeNames } from '../../train/recipes/index.js'
import type { Arm, Setup } from './experiment.js'
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

/** Augmentations with the research code's mistake in the normalisation, on the data sets that have it. */
const RESEARCH_AUGMENTATION: Partial<Record<Setup['dataset'], string>> = {
  stl10: 'stl-research-code',
  imagenet100: 'imagenet100-research-code',
}

/** Two views: with the research code's deviations, without any of them, and the default of the other experiments. */
export function fidelityArms(setup: Setup): [research: Arm, clean: Arm, usual: Arm] {
  const { views, projectorReadout } = protocolOf(setup)
  const { config } = viewsArm(setup, `${views[0]}-v2`)
  const recipe = RESEARCH_AUGMENTATION[setup.dataset]
  const arm = (name: string, changes: PartialConfig): Arm => ({
    name,
    config: overlay(config, changes),
    // The only known figure of the research code is read with one clean view.
    readout: projectorReadout,
  })
  return [
    arm(`research code: no ReLU after the stem, joint batch-norm${recipe ? ', divided by the mean' : ''}`, {
      stemRelu: false,
      bn: 'joint',
      augmentation: recipe ? { recipe } : undefined,
    }),
    arm('clean: ReLU after the stem, batch-norm per view', { stemRelu: true, bn: 'per-view' }),
    arm('ReLU, joint batch-norm', {}),
  ]
}
