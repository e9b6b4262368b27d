/** Claim 3: more views make up for fewer images. */
import { intervals } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import { differences, finalAccuracies, resultsOf, viewsRead } from '../arm_results.js'
import { convergedArms, titleOf } from '../arms.js'
import { judge } from '../claims.js'
import { compare } from '../comparison.js'
import { finalTable } from '../curves.js'
import type { Analysis, Arm, Claim, Context, Experiment, Setup } from '../experiment.js'
import { protocolOf } from '../scales.js'

/** Points that count as equally good: about twice the standard deviation over seeds of the paper's two-view figure. */
const MARGIN = 1.5
const SHARES = ['4 views on half of the images', '8 views on a quarter of the images']

const arms = (setup: Setup): Arm[] => protocolOf(setup).views.flatMap((family) => convergedArms(setup, family))

async function run(context: Context): Promise<Analysis> {
  const families = protocolOf(context).views
  const results = await context.runs(arms(context))
  const lists = families.map((family) => resultsOf(results, convergedArms(context, family)))
  const named = lists.flatMap(([two, ...fewer], i) =>
    fewer.map((result, j): { claim: Claim; name: string } => ({
      claim: {
        statement: `${lists.length > 1 ? `${titleOf(context, families[i])}: ` : ''}accuracy of ${SHARES[j]} − of 2 views on all images`,
        unit: 'points',
        perSeed: differences(finalAccuracies(result), finalAccuracies(two)),
        bound: { above: -MARGIN },
      },
      name: result.arm.name,
    })),
  )
  const [[two, four]] = lists
  return {
    claims: named.map(({ claim }) => claim),
    table: finalTable(results),
    figures: [
      compare(
        two.arm,
        {
          what: '4 views @ 50 % against 2 views @ 100 % (the paper: ImageNet-100, ResNet-18)',
          paper: 'they match',
          ours: `${meanAndSpread(finalAccuracies(four))} against ${meanAndSpread(finalAccuracies(two))} %`,
        },
        { dataset: 'ImageNet-100', network: 'ResNet-18', width: 64, size: 128, images: 100, epochs: 100, views: 1 },
      ),
    ],
    plots: [
      {
        name: 'difference',
        title: 'Accuracy − accuracy of 2 views on all images, with 95 % intervals',
        spec: intervals(
          named.map(({ claim, name }) => ({ name, ...judge(claim).interval })),
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
  claim: 'With more views half of the pretraining data is enough: 4 views on 50 % are as good as 2 views on 100 %.',
  protocol: `Equal epochs, and an equal product of views and images: 2 views @ 100 %, 4 @ 50 %, 8 @ 25 %. So every run sees the same number of views, and fewer images mean proportionally fewer optimiser steps, as in the paper. Shares refer to the images of the scale and apply to pretraining only. As good means at most ${MARGIN} points below.`,
  seeds: { tiny: 8, small: 3, full: 3 },
  arms,
  run,
}
