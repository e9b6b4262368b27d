/** Claim 3: more views an image reach an accuracy sooner. */
import { lines } from '../../runs/charts.js'
import { titleOf, viewsArms } from '../arms.js'
import { beside, paperCifar } from '../beside.js'
import { accuracyAt, accuracyAxis, curveOf, finalTable } from '../curves.js'
import {
  differences,
  finals,
  meanAndSpread,
  resultsOf,
  type Analysis,
  type Arm,
  type ArmResult,
  type Claim,
  type Context,
  type Experiment,
  type PaperFigure,
  type Setup,
} from '../experiment.js'
import { protocolOf } from '../scales.js'

const arms = (setup: Setup): Arm[] => protocolOf(setup).views.flatMap((family) => viewsArms(setup, family))

/** @param list fewest views first */
function claimsOf(title: string, list: readonly ArmResult[]): Claim[] {
  const [two, four] = list
  const most = list[list.length - 1]
  const fewest = finals(two)
  const atTwosEnd = four.seeds.map(({ readings }, i) =>
    accuracyAt(readings, two.seeds[i].readings.at(-1)?.seconds ?? NaN),
  )
  return [
    {
      statement: `${title}after the same epochs: accuracy with ${most.arm.config.views} views − with 2`,
      unit: 'points',
      perSeed: differences(finals(most), fewest),
      bound: { above: 0 },
    },
    {
      statement: `${title}after the wall-clock of the whole 2-view run: accuracy with 4 views − with 2`,
      unit: 'points',
      perSeed: differences(atTwosEnd, fewest),
      bound: { above: 0 },
    },
  ]
}

/** EMP-SSL's accuracies after so many epochs, with 20 patches an image in place of views. */
const patches: readonly [epoch: number, accuracy: string][] = [
  [1, '80.6'],
  [10, '90.7'],
  [30, '93.1'],
]

function figuresOf([two, ...more]: readonly ArmResult[]): PaperFigure[] {
  const most = more[more.length - 1]
  const paper = { ...paperCifar, projectorDim: 256, views: 16 }
  return [
    beside(
      two.arm,
      {
        what: 'linear, ResNet-50, 100 epochs, 16-view readout, d = 256: 2 views',
        paper: '86.43 ± 0.72',
        ours: meanAndSpread(finals(two)),
      },
      paper,
    ),
    beside(most.arm, { what: 'the same, 8 views', paper: '92.71 ± 0.19', ours: meanAndSpread(finals(most)) }, paper),
    ...patches.flatMap(([epoch, accuracy]) => {
      const there = most.seeds.flatMap(({ readings }) => readings.filter((r) => r.epoch === epoch))
      const figure = {
        what: `EMP-SSL, another method, ResNet-18, 20 patches, after ${epoch} epoch${epoch === 1 ? '' : 's'}; here 8 views`,
        paper: accuracy,
        ours: meanAndSpread(there.map(({ top1 }) => 100 * top1)),
      }
      return there.length ? [beside(most.arm, figure, { dataset: 'CIFAR-10', network: 'ResNet-18', width: 64 })] : []
    }),
  ]
}

async function run(context: Context): Promise<Analysis> {
  const { dataset } = context
  const families = protocolOf(context).views
  const results = await context.runs(arms(context))
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
        title: 'Accuracy against wall-clock',
        spec: lines(
          results.map((r) => curveOf(r, 'minutes')),
          { x: { title: 'minutes of training' }, y },
        ),
      },
    ],
    notes: [
      'Whiskers: least and most of the seeds.',
      ...(dataset === 'cifar10' ? ['The paper’s figures are a third party’s quotation of its Table 7.'] : []),
    ],
  }
}

export const views: Experiment = {
  name: 'views',
  title: 'More views',
  claim: 'More views per image (2 → 4 → 8) reach a given accuracy in fewer epochs and in less wall-clock time.',
  protocol:
    'Each loss and width with the paper’s λ for each number of views; equal images a step, epochs and so optimiser steps, as in the paper: m views cost m / 2 times the compute of two. Readout at every checkpoint; time is training alone, without compilation and readouts, and accuracies between checkpoints are interpolated.',
  seeds: { tiny: 3, small: 3, full: 3 },
  arms,
  run,
}
