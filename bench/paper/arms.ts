/** The runs that experiments have in common: the same arm is the same run, made once. */
import type { Arm, Scale } from './experiment.js'
import { lambdaOf, lambdas, protocols, type Loss } from './scales.js'

/** Multi-view Barlow Twins with the paper's λ, on a share of the scale's images, read at every checkpoint. */
export function viewsArm(scale: Scale, views: number, share = 1, width = protocols[scale].viewsWidth): Arm {
  const { base, viewsBatch, viewsReadout, viewsWidth } = protocols[scale]
  const fraction = (base.fraction ?? 1) * share
  return {
    name: `${views} views${share < 1 ? ` @ ${100 * share} %` : ''}${width === viewsWidth ? '' : `, d = ${width}`}`,
    config: {
      ...base,
      fraction,
      views,
      batch: viewsBatch,
      projectorDim: width,
      objective: 'barlow-twins',
      lambda: lambdaOf(width, views, share),
    },
    readout: viewsReadout,
    curve: true,
  }
}

/** Views at full data, fewest first. */
export const viewsArms = (scale: Scale): Arm[] => protocols[scale].views.map((m) => viewsArm(scale, m))

/** Views times share of the data constant: 2 @ 100 %, 4 @ 50 %, 8 @ 25 %. */
export const fractionArms = (scale: Scale): Arm[] => [2, 4, 8].map((m) => viewsArm(scale, m, 2 / m))

/** The paper's baseline: two views and the scale's widest projector. */
export const baselineArm = (scale: Scale): Arm => viewsArm(scale, 2, 1, protocols[scale].widths.at(-1))

/** Two views with a projector of some width, and λ as the paper has it for that width or as its baseline keeps it. */
export function projectorArm(scale: Scale, loss: Loss, width: number, which: 'best' | 'fixed'): Arm {
  const { base, projectorBatch, projectorReadout } = protocols[scale]
  const lambda = which === 'fixed' ? lambdas[loss].fixed : lambdas[loss].best[width]
  return {
    name: `${loss === 'vicreg' ? 'VICReg' : 'Barlow Twins'}, d = ${width}, ${which === 'fixed' ? 'fixed' : "the width's"} λ = ${lambda}`,
    config: { ...base, views: 2, batch: projectorBatch, projectorDim: width, objective: loss, lambda },
    readout: projectorReadout,
  }
}

/** Widths of the scale that the paper has a λ for. */
export function widthsOf(scale: Scale, loss: Loss): number[] {
  const { widths, vicregWidths = widths } = protocols[scale]
  return (loss === 'vicreg' ? vicregWidths : widths).filter((width) => lambdas[loss].best[width] !== undefined)
}

export const projectorArms = (scale: Scale): Arm[] =>
  (['barlow-twins', 'vicreg'] as const).flatMap((loss) =>
    widthsOf(scale, loss).flatMap((width) =>
      (['best', 'fixed'] as const).map((which) => projectorArm(scale, loss, width, which)),
    ),
  )

/** Two views as the research code has them by accident, and as it was meant; the usual run is in between. */
export function fidelityArms(scale: Scale): [Arm, Arm] {
  const usual = viewsArm(scale, 2)
  const { curve: _, ...arm } = usual
  return [
    {
      ...arm,
      name: 'research code: no ReLU after the stem, joint batch-norm',
      config: { ...arm.config, stemRelu: false, bn: 'joint' },
    },
    {
      ...arm,
      name: 'clean: ReLU after the stem, batch-norm per view',
      config: { ...arm.config, stemRelu: true, bn: 'per-view' },
    },
  ]
}
