/**
 * Whether accidents of the research code matter: no ReLU after the stem, batch-norm over all views jointly; on STL-10 and
 * ImageNet-100 also images divided by the mean, where the deviation was meant.
 */
import { intervals } from '../../runs/charts.js'
import { fidelityArms } from '../arms.js'
import { beside, paperCifar, type Conditions } from '../beside.js'
import { finalTable, lastOf } from '../curves.js'
import {
  differences,
  finals,
  judge,
  meanAndSpread,
  viewsRead,
  type Analysis,
  type Claim,
  type Context,
  type Experiment,
} from '../experiment.js'

const MARGIN = 2

/** The port says neither its network nor how many views it was read with. */
const port: Conditions = { dataset: 'CIFAR-10', images: 90, epochs: 100, lambda: 1 / 256 }

async function run(context: Context): Promise<Analysis> {
  const results = await context.runs(fidelityArms(context))
  const [research, clean, usual] = results.map(finals)
  const [researchArm, , usualArm] = results.map(({ arm }) => arm)
  const claim: Claim = {
    statement: 'accuracy of the research code’s modes − of the clean ones',
    unit: 'points',
    perSeed: differences(research, clean),
    bound: { within: MARGIN },
  }
  return {
    claims: [claim],
    table: finalTable(results),
    figures:
      context.dataset === 'cifar10'
        ? [
            beside(
              researchArm,
              {
                what: '2 views, CIFAR-10, ResNet-50, clean 1-view readout, as the research code has it',
                paper: '83.75',
                ours: meanAndSpread(research),
              },
              { ...paperCifar, views: 1 },
            ),
            beside(
              usualArm,
              {
                what: 'a third party’s port, 2 views, 45,000 images, λ = 1/256: linear, %',
                paper: '84.0',
                ours: meanAndSpread(usual),
              },
              port,
            ),
            beside(
              usualArm,
              { what: 'the same: kNN-20, %', paper: '79.1', ours: meanAndSpread(lastOf(results[2], 'knn20')) },
              port,
            ),
          ]
        : [],
    plots: [
      {
        name: 'difference',
        title: 'Research code less clean, with its 95 % interval',
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
  title: 'The research code’s accidents',
  claim:
    'The paper’s figures come from a stem without ReLU and batch-norm over all views jointly, and on STL-10 and ImageNet-100 from images divided by the mean in place of the deviation; it names none of these.',
  protocol: `Two views, equal in all else. Not a claim of the paper, but what its reproduction rests on: the modes should differ by no more than ${MARGIN} points.`,
  seeds: { tiny: 3, small: 3, full: 3 },
  arms: fidelityArms,
  run,
}
