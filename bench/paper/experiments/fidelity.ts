/**
 * Whether the research code's deviations from the paper matter: no ReLU after the stem, batch-norm over all views
 * jointly, and on STL-10 and ImageNet-100 images divided by the mean instead of the standard deviation.
 */
import { intervals } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import { differences, finalAccuracies, viewsRead } from '../arm_results.js'
import { fidelityArms } from '../arms.js'
import { judge } from '../claims.js'
import { compare, paperCifar, type Conditions } from '../comparison.js'
import { finalTable } from '../curves.js'
import type { Analysis, ArmResult, Claim, Context, Experiment, PaperFigure } from '../experiment.js'

/** Largest difference in points that counts as none. */
const MARGIN = 2

/** The third party's port names neither its network nor the number of views of its readout. */
const port: Conditions = { dataset: 'CIFAR-10', images: 90, epochs: 100, lambda: 1 / 256 }

function figuresOf(research: ArmResult, usual: ArmResult): PaperFigure[] {
  return [
    compare(
      research.arm,
      {
        what: '2 views, CIFAR-10, ResNet-50, readout with one clean view, as in the research code',
        paper: '83.75',
        ours: meanAndSpread(finalAccuracies(research)),
      },
      { ...paperCifar, views: 1 },
    ),
    compare(
      usual.arm,
      {
        what: 'a third party’s port, 2 views, 45,000 images, λ = 1/256: linear, %',
        paper: '84.0',
        ours: meanAndSpread(finalAccuracies(usual)),
      },
      port,
    ),
    compare(
      usual.arm,
      { what: 'the same port: kNN-20, %', paper: '79.1', ours: meanAndSpread(finalAccuracies(usual, 'knn20')) },
      port,
    ),
  ]
}

async function run(context: Context): Promise<Analysis> {
  const results = await context.runs(fidelityArms(context))
  const [research, clean, usual] = results
  const claim: Claim = {
    statement: 'accuracy with the research code’s deviations − without them',
    unit: 'points',
    perSeed: differences(finalAccuracies(research), finalAccuracies(clean)),
    bound: { within: MARGIN },
  }
  return {
    claims: [claim],
    table: finalTable(results),
    figures: context.dataset === 'cifar10' ? figuresOf(research, usual) : [],
    plots: [
      {
        name: 'difference',
        title: 'Research code − clean, with 95 % interval',
        spec: intervals(
          [{ name: 'research − clean', ...judge(claim).interval }],
          { title: `points, ${viewsRead(results)}` },
          0,
        ),
      },
    ],
    notes: [],
  }
}

export const fidelity: Experiment = {
  name: 'fidelity',
  title: 'Deviations of the research code',
  claim:
    'The paper’s figures come from a stem without ReLU and from batch-norm over all views jointly, on STL-10 and ImageNet-100 also from images divided by the mean instead of the standard deviation. The paper mentions none of these.',
  protocol: `Two views; everything else is equal. This is not a claim of the paper, but its reproduction depends on it: the difference should be at most ${MARGIN} points.`,
  seeds: { tiny: 8, small: 3, full: 3 },
  arms: fidelityArms,
  run,
}
