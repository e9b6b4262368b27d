/**
 * The runs that experiments have in common: the same arm is the same run, made once. Each is a recipe of the paper with
 * what the scale changes of it.
 */
import { overlay, type PartialConfig } from '../../train/config/config.js'
import { readRecipe, recipeNames } from '../../train/node/recipes.js'
import type { Arm, Setup } from './experiment.js'
import { protocolOf } from './scales.js'

/** @param name a recipe's, without its data set */
function configOf(setup: Setup, name: string, batch: number | undefined): PartialConfig {
  const { changes } = protocolOf(setup)
  const recipe = readRecipe(`${setup.dataset}-${name}`)
  const fraction = (recipe.fraction ?? 1) * (changes.fraction ?? 1)
  return overlay(recipe, { ...changes, fraction, batch, dataDir: setup.dataDir })
}

const lossOf = ({ objective }: PartialConfig): string => (objective === 'vicreg' ? 'VICReg' : 'Barlow Twins')

/** `Barlow Twins, d = 256`: a loss and a width whose views are varied. */
export function titleOf(setup: Setup, family: string): string {
  const recipe = readRecipe(`${setup.dataset}-${family}`)
  return `${lossOf(recipe)}, d = ${recipe.projectorDim}`
}

/** A run of the tables by views, read at every checkpoint. */
export function viewsArm(setup: Setup, name: string): Arm {
  const { viewsBatch, viewsReadout, views } = protocolOf(setup)
  const config = configOf(setup, name, viewsBatch)
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

/** Those of a family that the paper has. */
function armsOf(setup: Setup, family: string, endings: readonly string[]): Arm[] {
  const names = recipeNames()
  const there = endings
    .map((ending) => `${family}-${ending}`)
    .filter((name) => names.includes(`${setup.dataset}-${name}`))
  return there.map((name) => viewsArm(setup, name))
}

/** Views at full data, fewest first. */
export const viewsArms = (setup: Setup, family: string): Arm[] => armsOf(setup, family, ['v2', 'v4', 'v8'])

/** Views times share of the data constant: 2 @ 100 %, 4 @ 50 %, 8 @ 25 %. */
export const fractionArms = (setup: Setup, family: string): Arm[] =>
  armsOf(setup, family, ['v2', 'v4-half', 'v8-quarter'])

/** The paper's baseline: two views and the scale's widest projector. */
export const baselineArm = (setup: Setup): Arm => viewsArm(setup, protocolOf(setup).baseline)

/** Two views with a projector of some width, and λ as the paper has it for that width or as its baseline keeps it. */
export function projectorArm(setup: Setup, name: string, which: 'best' | 'fixed'): Arm {
  const { projectorBatch, projectorReadout } = protocolOf(setup)
  const config = configOf(setup, which === 'fixed' ? `${name}-fixed` : name, projectorBatch)
  return {
    name: `${lossOf(config)}, d = ${config.projectorDim}, ${which === 'fixed' ? 'fixed' : "the width's"} λ = ${config.lambda}`,
    config,
    readout: projectorReadout,
  }
}

/** Of each width and loss the arm with its own λ, then the one with the shared λ. */
export const projectorArms = (setup: Setup): Arm[] =>
  protocolOf(setup).projector.flatMap((name) =>
    (['best', 'fixed'] as const).map((which) => projectorArm(setup, name, which)),
  )

/** Augmentations as the research code has them by accident, where it has. */
const accidents: Partial<Record<Setup['dataset'], string>> = {
  stl10: 'stl-research-code',
  imagenet100: 'imagenet100-research-code',
}

/** Two views as the research code has them by accident, as it was meant, and the usual run, which is in between. */
export function fidelityArms(setup: Setup): [research: Arm, clean: Arm, usual: Arm] {
  const { views, projectorReadout } = protocolOf(setup)
  const { config } = viewsArm(setup, `${views[0]}-v2`)
  const recipe = accidents[setup.dataset]
  const arm = (name: string, changes: PartialConfig): Arm => ({
    name,
    config: overlay(config, changes),
    // The one figure of it that is known is of one clean view, whatever the comparison of views is read with.
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
