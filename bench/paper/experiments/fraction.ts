/** Claim 3: more views make up for less data. */
import { intervals } from '../../runs/charts.js'
import { fractionArms, titleOf } from '../arms.js'
import { beside } from '../beside.js'
import { finalTable } from '../curves.js'
import {
  differences,
  finals,
  judge,
  meanAndSpread,
  resultsOf,
  viewsRead,
  type Analysis,
  type Arm,
  type Claim,
  type Context,
  type Experiment,
  type Setup,
} from '../experiment.js'
import { protocolOf } from '../scales.js'

/** Points that count as none: about the standard deviation over seeds of the paper's own two-view figure, doubled. */
const MARGIN = 1.5
const SHARES = ['4 views on half of the images', '8 views on a quarter of the images']

const arms = (setup: Setup): Arm[] => protocolOf(setup).views.flatMap((family) => fractionArms(setup, family))

async function run(context: Context): Promise<Analysis> {
  const families = protocolOf(context).views
  const results = await context.runs(arms(context))
  const lists = families.map((family) => resultsOf(results, fractionArms(context, family)))
  const judged = lists.flatMap(([two, ...fewer], i) =>
    fewer.map((result, j): { claim: Claim; name: string } => ({
      claim: {
        statement: `${lists.length > 1 ? `${titleOf(context, families[i])}: ` : ''}accuracy of ${SHARES[j]} − of 2 views on all of them`,
        unit: 'points',
        perSeed: differences(finals(result), finals(two)),
        bound: { above: -MARGIN },
      },
      name: result.arm.name,
    })),
  )
  const [[two, four]] = lists
  return {
    claims: judged.map(({ claim }) => claim),
    table: finalTable(results),
    figures: [
      beside(
        two.arm,
        {
          what: '4 views @ 50 % against 2 views @ 100 % (the paper: ImageNet-100, ResNet-18)',
          paper: 'they match',
          ours: `${meanAndSpread(finals(four))} against ${meanAndSpread(finals(two))} %`,
        },
        { dataset: 'ImageNet-100', network: 'ResNet-18', width: 64, size: 128, images: 100, epochs: 100, views: 1 },
      ),
    ],
    plots: [
      {
        name: 'difference',
        title: 'Accuracy less that of 2 views on all images, with 95 % intervals',
        spec: intervals(
          judged.map(({ claim, name }) => ({ name, ...judge(claim).interval })),
          { title: `points, ${viewsRead(results)}` },
          -MARGIN,
        ),
      },
    ],
    notes: [`Dashed: the margin of ${MARGIN} points.`],
  }
}

export const fraction: Experiment = {
  name: 'fraction',
  title: 'More views of fewer images',
  claim: 'More views allow half of the pretraining data: 4 views on 50 % serve as well as 2 views on 100 %.',
  protocol: `Views times images held equal, and epochs: 2 views @ 100 %, 4 @ 50 %, 8 @ 25 %, so that every run sees as many views; fewer images mean proportionally fewer optimiser steps, as in the paper. Shares are of the scale’s own images and hold for pretraining only. As good means: not more than ${MARGIN} points below.`,
  seeds: { tiny: 3, small: 3, full: 3 },
  arms,
  run,
}
