/** Claim 3: more views an image reach an accuracy sooner. */
import { lines } from '../../charts.js'
import { viewsArms } from '../arms.js'
import { accuracyAt, curveOf, finalTable } from '../curves.js'
import { differences, finals, meanAndSpread, type Analysis, type Context, type Experiment } from '../experiment.js'

async function run({ scale, runs }: Context): Promise<Analysis> {
  const results = await runs(viewsArms(scale))
  const [two, four] = results
  const eight = results[results.length - 1]
  const [first, last] = [finals(two), finals(eight)]
  const atTwosEnd = four.seeds.map(({ readings }, i) =>
    accuracyAt(readings, two.seeds[i].readings.at(-1)?.seconds ?? NaN),
  )
  const y = { title: 'linear top-1, %' }
  return {
    claims: [
      {
        statement: 'after the same epochs: accuracy with 8 views − with 2',
        unit: 'points',
        perSeed: differences(last, first),
        bound: { above: 0 },
      },
      {
        statement: 'after the wall-clock of the whole 2-view run: accuracy with 4 views − with 2',
        unit: 'points',
        perSeed: differences(atTwosEnd, first),
        bound: { above: 0 },
      },
    ],
    table: finalTable(results),
    figures: [
      {
        what: 'linear, ResNet-50, 100 epochs, 16-view readout, d = 256: 2 views',
        paper: '86.43 ± 0.72',
        ours: meanAndSpread(first),
      },
      { what: 'the same, 8 views', paper: '92.71 ± 0.19', ours: meanAndSpread(last) },
    ],
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
    notes: ['Whiskers: least and most of the seeds. The paper’s figures are a third party’s quotation of its Table 7.'],
  }
}

export const views: Experiment = {
  name: 'views',
  title: 'More views',
  claim: 'More views per image (2 → 4 → 8) reach a given accuracy in fewer epochs and in less wall-clock time.',
  protocol:
    'Multi-view Barlow Twins with the paper’s λ for each number of views; equal images a step, epochs and so optimiser steps, as in the paper: m views cost m / 2 times the compute of two. Readout at every checkpoint; time is training alone, without compilation and readouts, and accuracies between checkpoints are interpolated.',
  seeds: { tiny: 3, small: 3, full: 3 },
  arms: viewsArms,
  run,
}
