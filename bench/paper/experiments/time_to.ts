/** Claim 3 as time: minutes to the baseline's accuracy and to a fixed one, by views and share of the images. */
import { lines } from '../../report/charts.js'
import { finite, mean } from '../../report/statistics.js'
import { meanAndSpread } from '../../report/text.js'
import { finalAccuracies, minutesOf } from '../arm_results.js'
import { baselineArm, fractionArms, viewsArms } from '../arms.js'
import { compare, paperCifar } from '../comparison.js'
import { accuracyAxis, curveOf, secondsTo } from '../curves.js'
import type { Analysis, Arm, ArmResult, Claim, Context, Experiment, PaperFigure, Setup, Table } from '../experiment.js'
import { protocolOf } from '../scales.js'

function arms(setup: Setup): Arm[] {
  const [main] = protocolOf(setup).views
  return [baselineArm(setup), ...viewsArms(setup, main), ...fractionArms(setup, main).slice(1)]
}

/**
 * Minutes of training to an accuracy, by seed. Infinity if the run never reaches it; NaN if the run failed.
 *
 * @param accuracies in %, by seed
 */
const minutesTo = ({ seeds }: ArmResult, accuracies: readonly number[]): number[] =>
  seeds.map(({ readings }, i) => (readings.length ? secondsTo(readings, accuracies[i]) / 60 : NaN))

/** `1.2 ± 0.1`, with the number of seeds that reached the accuracy if not all did. */
function reached(minutes: readonly number[]): string {
  const list = finite(minutes)
  if (list.length === 0) return 'never'
  return meanAndSpread(list) + (list.length < minutes.length ? ` (${list.length} of ${minutes.length})` : '')
}

/** log₂ of the speed-up over the baseline. A run that never reaches the goal counts with twice its whole time. */
function claimOf(baseline: ArmResult, result: ArmResult): Claim {
  const goal = finalAccuracies(baseline)
  const base = minutesTo(baseline, goal)
  const whole = minutesOf(result)
  return {
    statement: `log₂ of the baseline’s time to its own accuracy over the time of ${result.arm.name}`,
    unit: '',
    perSeed: minutesTo(result, goal).map((minutes, i) =>
      Math.log2(base[i] / (minutes === Infinity ? 2 * whole[i] : minutes)),
    ),
    bound: { above: 0 },
  }
}

function tableOf(all: readonly ArmResult[], goal: readonly number[], target: number | undefined): Table {
  const goals = [goal, ...(target === undefined ? [] : [goal.map(() => target)])]
  return {
    header: [
      '',
      'minutes to the baseline’s accuracy',
      ...(target === undefined ? [] : [`minutes to ${target} %`]),
      'views read',
    ],
    rows: all.map((result, i) => [
      i ? result.arm.name : `baseline: ${result.arm.name}`,
      ...goals.map((accuracies) => reached(minutesTo(result, accuracies))),
      String(result.arm.readout.views),
    ]),
  }
}

function figuresOf(baseline: ArmResult, two: ArmResult, more: readonly ArmResult[]): PaperFigure[] {
  const goal = finalAccuracies(baseline)
  return [
    compare(
      baseline.arm,
      {
        what: 'minutes to the accuracy of the baseline (2 views, d = 8192)',
        paper: 'fewer minutes with 4 and 8 views',
        ours: [baseline, ...more].map((r) => `${r.arm.name}: ${reached(minutesTo(r, goal))}`).join('; '),
      },
      { ...paperCifar, projectorDim: 8192, views: 16 },
    ),
    compare(
      two.arm,
      {
        what: 'minutes of 100 epochs with 2 views: a third party’s port on an A100, 45,000 images',
        paper: '36.7 to 40.8',
        ours: meanAndSpread(minutesOf(two)),
      },
      { dataset: 'CIFAR-10', images: 90, epochs: 100 },
      { accuracy: false },
    ),
  ]
}

async function run(context: Context): Promise<Analysis> {
  const all = await context.timedRuns(arms(context))
  const [baseline, ...results] = all
  const goal = finalAccuracies(baseline)
  const more = results.filter(({ arm }) => (arm.config.views ?? 0) > 2 && !arm.name.includes('@'))
  return {
    claims: more.map((result) => claimOf(baseline, result)),
    table: tableOf(all, goal, protocolOf(context).target),
    figures: figuresOf(baseline, results[0], more),
    plots: [
      {
        name: 'minutes',
        title: 'Accuracy against training time; dashed: the baseline',
        spec: lines(
          (baseline.arm.name === results[0].arm.name ? results : all).map((r) => curveOf(r, 'minutes')),
          {
            x: { title: 'minutes of training', log: true },
            y: accuracyAxis(all),
            level: finite(goal).length ? mean(finite(goal)) : undefined,
          },
        ),
      },
    ],
    notes: [
      'Whiskers: smallest and largest of the seeds. No time can be shorter than the time of the first checkpoint.',
    ],
  }
}

export const timeTo: Experiment = {
  name: 'time-to',
  title: 'Minutes to an accuracy',
  claim: 'More views reach the accuracy of the baseline (2 views, the widest projector) in fewer minutes.',
  protocol:
    'Time is training only, without compilation and readouts, with linear interpolation between checkpoints. At tiny scale the time of a step is measured for all runs of a seed in turn, on one machine. The goal of each seed is the final linear accuracy of its own baseline. A run that never reaches the goal counts with twice its whole time.',
  seeds: { tiny: 6, small: 3, full: 3 },
  arms,
  run,
}
