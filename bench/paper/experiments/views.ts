/** Claim 3: more views per image reach an accuracy sooner. */
import { lines } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import { differences, finalAccuracies, resultsOf } from '../arm_results.js'
import { titleOf, viewsArms } from '../arms.js'
import { compare, paperCifar } from '../comparison.js'
import { accuracyAt, accuracyAxis, curveOf, finalTable } from '../curves.js'
import type { Analysis, Arm, ArmResult, Claim, Context, Experiment, PaperFigure, Setup } from '../experiment.js'
import { protocolOf } from '../scales.js'

const arms = (setup: Setup): Arm[] => protocolOf(setup).views.flatMap((family) => viewsArms(setup, family))

/**
 * @param prefix names the family if there are several
 * @param list results with 2, 4 and, if the paper has them, 8 views
 */
function claimsOf(prefix: string, list: readonly ArmResult[]): Claim[] {
  const [two, four] = list
  const most = list[list.length - 1]
  const baseline = finalAccuracies(two)
  const fourAtEndOfTwo = four.seeds.map(({ readings }, i) =>
    accuracyAt(readings, two.seeds[i].readings.at(-1)?.seconds ?? NaN),
  )
  return [
    {
      statement: `${prefix}after the same epochs: accuracy with ${most.arm.config.views} views − with 2`,
      unit: 'points',
      perSeed: differences(finalAccuracies(most), baseline),
      bound: { above: 0 },
    },
    {
      statement: `${prefix}after the time of the whole 2-view run: accuracy with 4 views − with 2`,
      unit: 'points',
      perSeed: differences(fourAtEndOfTwo, baseline),
      bound: { above: 0 },
    },
  ]
}

/** Accuracies of EMP-SSL, which uses 20 patches of each image in place of views. */
const EMP_SSL: readonly [epoch: number, accuracy: string][] = [
  [1, '80.6'],
  [10, '90.7'],
  [30, '93.1'],
]

function figuresOf([two, ...more]: readonly ArmResult[]): PaperFigure[] {
  const most = more[more.length - 1]
  const paper = { ...paperCifar, projectorDim: 256, views: 16 }
  return [
    compare(
      two.arm,
      {
        what: 'linear, ResNet-50, 100 epochs, 16-view readout, d = 256: 2 views',
        paper: '86.43 ± 0.72',
        ours: meanAndSpread(finalAccuracies(two)),
      },
      paper,
    ),
    compare(
      most.arm,
      { what: 'the same with 8 views', paper: '92.71 ± 0.19', ours: meanAndSpread(finalAccuracies(most)) },
      paper,
    ),
    ...EMP_SSL.flatMap(([epoch, accuracy]) => {
      const readings = most.seeds.flatMap((seed) => seed.readings.filter((r) => r.epoch === epoch))
      const figure = {
        what: `EMP-SSL, another method, ResNet-18, 20 patches, after ${epoch} epoch${epoch === 1 ? '' : 's'}; here 8 views`,
        paper: accuracy,
        ours: meanAndSpread(readings.map(({ top1 }) => 100 * top1)),
      }
      const theirs = { dataset: 'CIFAR-10', network: 'ResNet-18', width: 64 }
      return readings.length ? [compare(most.arm, figure, theirs)] : []
    }),
  ]
}

async function run(context: Context): Promise<Analysis> {
  const { dataset } = context
  const families = protocolOf(context).views
  const results = await context.timedRuns(arms(context))
  const lists = families.map((family) => resultsOf(results, viewsArms(context, family)))
  const y = accuracyAxis(results)
  return {
    claims: lists.flatMap((list, i) => claimsOf(lists.length > 1 ? `${titleOf(context, families[i])}: ` : '', list)),
    table: finalTable(results),
    figures: dataset === 'cifar10' ? figuresOf(lists[0]) : [],
    plots: [
      {
        name: 'epochs',
        title: 'Accuracy against epochs',
        spec: lines(
          results.map((r) => curveOf(r, 'epoch')),
          { x: { title: 'epochs' }, y },
        ),
      },
      {
        name: 'minutes',
        title: 'Accuracy against training time',
        spec: lines(
          results.map((r) => curveOf(r, 'minutes')),
          { x: { title: 'minutes of training' }, y },
        ),
      },
    ],
    notes: [
      'Whiskers: smallest and largest of the seeds.',
      ...(dataset === 'cifar10' ? ['The paper’s figures are quoted from a third party that cites its Table 7.'] : []),
    ],
  }
}

export const views: Experiment = {
  name: 'views',
  title: 'More views',
  claim: 'More views per image (2 → 4 → 8) reach a given accuracy in fewer epochs and in less time.',
  protocol:
    'Each loss and width uses the paper’s λ for each number of views. The images of a step, the epochs and so the optimiser steps are equal, as in the paper: m views cost m / 2 times the compute of two. Readout at every checkpoint. Time is training only, without compilation and readouts; accuracies between checkpoints are interpolated. At tiny scale the time of a step is measured for all runs of a seed in turn, on one machine.',
  seeds: { tiny: 6, small: 3, full: 3 },
  arms,
  run,
}
