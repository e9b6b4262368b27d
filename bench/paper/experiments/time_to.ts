/** Minutes until the baseline's accuracy, and until a set one, by views and share of the data. */
import { lines } from '../../runs/charts.js'
import { baselineArm, fractionArms, viewsArms } from '../arms.js'
import { beside, paperCifar } from '../beside.js'
import { accuracyAxis, curveOf, minutesOf, secondsTo } from '../curves.js'
import {
  finals,
  known,
  meanAndSpread,
  type Analysis,
  type Arm,
  type ArmResult,
  type Context,
  type Experiment,
  type Setup,
} from '../experiment.js'
import { protocolOf } from '../scales.js'
import { mean } from '../../runs/intervals.js'

function arms(setup: Setup): Arm[] {
  const [main] = protocolOf(setup).views
  return [baselineArm(setup), ...viewsArms(setup, main), ...fractionArms(setup, main).slice(1)]
}

/** Minutes by seed; Infinity where a run never gets there, NaN where it failed. */
const minutesTo = ({ seeds }: ArmResult, accuracies: readonly number[]): number[] =>
  seeds.map(({ readings }, i) => (readings.length ? secondsTo(readings, accuracies[i]) / 60 : NaN))

/** `1.2 ± 0.1`, with how many seeds got there where not all did. */
function reached(values: readonly number[]): string {
  const there = known(values)
  if (there.length === 0) return 'never'
  return meanAndSpread(there) + (there.length < values.length ? ` (${there.length} of ${values.length})` : '')
}

async function run(context: Context): Promise<Analysis> {
  const { target } = protocolOf(context)
  const all = await context.runs(arms(context))
  const [baseline, ...results] = all
  const goal = finals(baseline)
  const base = minutesTo(baseline, goal)
  const multi = results.filter(({ arm }) => (arm.config.views ?? 0) > 2)
  const whole = multi.filter(({ arm }) => !arm.name.includes('@'))
  return {
    claims: whole.map((result) => ({
      statement: `log₂ of the baseline’s time to its own accuracy over that of ${result.arm.name}`,
      unit: '',
      perSeed: minutesTo(result, goal).map((minutes, i) => {
        // Twice its whole time, for a run that never gets there.
        const counted = minutes === Infinity ? (2 * (result.seeds[i].readings.at(-1)?.seconds ?? NaN)) / 60 : minutes
        return Math.log2(base[i] / counted)
      }),
      bound: { above: 0 },
    })),
    table: {
      header: [
        '',
        'minutes to the baseline’s accuracy',
        ...(target === undefined ? [] : [`minutes to ${target} %`]),
        'views read',
      ],
      rows: all.map((result, i) => [
        i ? result.arm.name : `baseline: ${result.arm.name}`,
        ...[goal, ...(target === undefined ? [] : [goal.map(() => target)])].map((accuracies) =>
          reached(minutesTo(result, accuracies)),
        ),
        String(result.arm.readout.views),
      ]),
    },
    figures: [
      beside(
        baseline.arm,
        {
          what: 'minutes to the baseline (2 views, d = 8192): more views take less',
          paper: 'fewer minutes with 4 and 8 views',
          ours: [baseline, ...whole].map((r) => `${r.arm.name}: ${reached(minutesTo(r, goal))}`).join('; '),
        },
        { ...paperCifar, projectorDim: 8192, views: 16 },
      ),
      beside(
        results[0].arm,
        {
          what: 'minutes of 100 epochs with 2 views: a third party’s port on an A100, 45,000 images',
          paper: '36.7 to 40.8',
          ours: meanAndSpread(minutesOf(results[0])),
        },
        { dataset: 'CIFAR-10', images: 90, epochs: 100 },
        { read: false },
      ),
    ],
    plots: [
      {
        name: 'minutes',
        title: 'Accuracy against wall-clock; dashed: the baseline’s',
        spec: lines(
          (baseline.arm.name === results[0].arm.name ? results : all).map((r) => curveOf(r, 'minutes')),
          {
            x: { title: 'minutes of training', log: true },
            y: accuracyAxis(all),
            level: known(goal).length ? mean(known(goal)) : undefined,
          },
        ),
      },
    ],
    notes: [
      'Whiskers: least and most of the seeds. The first checkpoint is the soonest that an accuracy can be seen at.',
    ],
  }
}

export const timeTo: Experiment = {
  name: 'time-to',
  title: 'Minutes to an accuracy',
  claim: 'More views reach the accuracy of the baseline (2 views, the widest projector) in fewer minutes.',
  protocol:
    'Time is training alone, without compilation and readouts, between checkpoints by linear interpolation. The goal of each seed is its own baseline’s final linear accuracy; a run that never reaches it counts with twice its whole time.',
  seeds: { tiny: 3, small: 3, full: 3 },
  arms,
  run,
}
