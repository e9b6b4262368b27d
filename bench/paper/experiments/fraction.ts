/** Claim 3: more views make up for less data. */
import { intervals } from '../../charts.js'
import { fractionArms } from '../arms.js'
import { finalTable } from '../curves.js'
import {
  differences,
  finals,
  judge,
  meanAndSpread,
  type Analysis,
  type Claim,
  type Context,
  type Experiment,
} from '../experiment.js'

/** Points that count as none: about the standard deviation over seeds of the paper's own two-view figure, doubled. */
const MARGIN = 1.5

async function run({ scale, runs }: Context): Promise<Analysis> {
  const results = await runs(fractionArms(scale))
  const [two, four, eight] = results.map(finals)
  const claims: Claim[] = [
    ['4 views on half of the images', four] as const,
    ['8 views on a quarter of the images', eight] as const,
  ].map(([name, accuracies]) => ({
    statement: `accuracy of ${name} − of 2 views on all of them`,
    unit: 'points',
    perSeed: differences(accuracies, two),
    bound: { above: -MARGIN },
  }))
  return {
    claims,
    table: finalTable(results),
    figures: [
      {
        what: '4 views @ 50 % against 2 views @ 100 % (the paper: ImageNet-100, ResNet-18)',
        paper: 'they match',
        ours: `${meanAndSpread(four)} against ${meanAndSpread(two)} %`,
      },
    ],
    plots: [
      {
        name: 'difference',
        title: 'Accuracy less that of 2 views on all images, with 95 % intervals',
        spec: intervals(
          claims.map((claim, i) => ({ name: results[i + 1].arm.name, ...judge(claim).interval })),
          { title: 'points' },
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
  arms: fractionArms,
  run,
}
