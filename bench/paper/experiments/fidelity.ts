/**
 * Whether the accidents of the research code matter, together and each alone: PyTorch's initial weights, no ReLU after the
 * stem, OpenCV's interpolation, the last batch kept, the batch of the probe; on STL-10 and ImageNet-100 also images divided
 * by the mean, clean views of another size, and on ImageNet-100 whole pictures and another colour jitter. For BYOL: a target
 * that follows at a constant rate. Beside them: batch-norm per view instead of over all views jointly.
 */
import { intervals } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import { differences, finalAccuracies, viewsRead } from '../arm_results.js'
import { fidelityArms, fidelityRuns } from '../arms.js'
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

const claimOf = (statement: string, changed: ArmResult, base: ArmResult): Claim => ({
  statement,
  unit: 'points',
  perSeed: differences(finalAccuracies(changed), finalAccuracies(base)),
  bound: { within: MARGIN },
})

async function run(context: Context): Promise<Analysis> {
  const arms = fidelityArms(context)
  const results = await context.runs(fidelityRuns(context))
  const [clean, research, ...rest] = results
  const alone = rest.slice(0, arms.alone.length)
  const [rising, constant] = rest.slice(arms.alone.length)
  const claims = [
    claimOf('accuracy with all accidents of the research code − with none', research, clean),
    ...alone.map((one) => claimOf(`accuracy with ${one.arm.name} alone − with none`, one, clean)),
    ...(constant ? [claimOf('BYOL: accuracy with a constant rate − with a rising one', constant, rising)] : []),
  ]
  return {
    claims,
    table: finalTable(results),
    figures: context.dataset === 'cifar10' ? figuresOf(research, clean) : [],
    plots: [
      {
        name: 'difference',
        title: 'With accidents − without, with 95 % interval',
        spec: intervals(
          claims.map((claim) => ({ name: claim.statement.replace(/^accuracy with /, ''), ...judge(claim).interval })),
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
    'The paper’s figures come from code with accidents that it does not mention: initial weights, a stem without ReLU, interpolation, batches, and on STL-10 and ImageNet-100 the normalisation.',
  protocol: `Two views; everything else is equal. Each accident alone, and all together. This is not a claim of the paper, but its reproduction depends on it: a difference should be at most ${MARGIN} points.`,
  seeds: { tiny: 8, small: 3, full: 3 },
  arms: fidelityRuns,
  run,
}
