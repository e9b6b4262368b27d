/** Error against runtime for all runs: which of them are on the Pareto front. */
import { scatter } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import { resultsOf, viewsRead } from '../arm_results.js'
import { baselineArm, fractionArms, viewsArms } from '../arms.js'
import { compare, paperCifar } from '../comparison.js'
import type { Analysis, Arm, ArmResult, Context, Experiment, Setup, Table } from '../experiment.js'
import { protocolOf } from '../scales.js'

/** One reading of a run. */
interface Point {
  arm: string
  views: number
  seed: number
  epoch: number
  /** Minutes of training. */
  x: number
  /** Error in %. */
  y: number
}

/** The points for which no other point is as good or better in both x and y, ordered by x. */
export function frontOf<P extends { x: number; y: number }>(points: readonly P[]): P[] {
  const front: P[] = []
  for (const point of [...points].sort((a, b) => a.x - b.x || a.y - b.y))
    if (front.length === 0 || point.y < front[front.length - 1].y) front.push(point)
  return front
}

/** Two views with the widest projector; two views and more of all images; more views of fewer images. */
function arms(setup: Setup): Arm[] {
  const all = protocolOf(setup).views.flatMap((family) => [
    ...viewsArms(setup, family),
    ...fractionArms(setup, family).slice(1),
  ])
  const baseline = baselineArm(setup)
  return all.some(({ name }) => name === baseline.name) ? all : [baseline, ...all]
}

const pointsOf = (results: readonly ArmResult[]): Point[] =>
  results.flatMap(({ arm, seeds }) =>
    seeds.flatMap(({ seed, readings }) =>
      readings.map(({ epoch, seconds, top1 }) => ({
        arm: arm.name,
        views: arm.config.views!,
        seed,
        epoch,
        x: seconds / 60,
        y: 100 * (1 - top1),
      })),
    ),
  )

const leastError = (points: readonly Point[]): number => (points.length ? Math.min(...points.map(({ y }) => y)) : NaN)

/** Within the longest time of a 2-view run: least error of 2-view runs − of runs with more views. */
function gainOfViews(points: readonly Point[]): number {
  const two = points.filter(({ views }) => views === 2)
  const budget = Math.max(...two.map(({ x }) => x))
  return leastError(two) - leastError(points.filter(({ views, x }) => views > 2 && x <= budget))
}

const frontTable = (front: readonly Point[], viewsRead: number): Table => ({
  header: ['on the front', 'seed', 'epoch', 'minutes', 'error, %', 'views read'],
  rows: front.map(({ arm, seed, epoch, x, y }) => [
    arm,
    String(seed),
    String(epoch),
    x.toFixed(2),
    y.toFixed(2),
    String(viewsRead),
  ]),
})

async function run(context: Context): Promise<Analysis> {
  const results = await context.timedRuns(arms(context))
  const points = pointsOf(results)
  const perSeed = context.seeds.map((seed) => gainOfViews(points.filter((p) => p.seed === seed)))
  const front = frontOf(points)
  const counts = [...new Set(points.map(({ views }) => views))].sort((a, b) => a - b)
  return {
    claims: [
      {
        statement: 'within the time of the longest 2-view run: least error of 2-view runs − of runs with more views',
        unit: 'points',
        perSeed,
        bound: { above: 0 },
      },
    ],
    table: frontTable(front, protocolOf(context).viewsReadout.views),
    figures: [
      compare(
        resultsOf(results, viewsArms(context, protocolOf(context).views[0]))[0].arm,
        {
          what: 'the Pareto front of error against runtime',
          paper: 'runs with more views are on it',
          ours: `${front.filter(({ views }) => views > 2).length} of its ${front.length} points have more than two views`,
        },
        { ...paperCifar, views: 16 },
      ),
    ],
    plots: [
      {
        name: 'front',
        title: 'Error against runtime; dashed: the Pareto front',
        spec: scatter(
          counts.map((m) => ({ name: `${m} views`, points: points.filter(({ views }) => views === m) })),
          {
            x: { title: 'minutes of training', log: true },
            y: { title: `linear error, %, ${viewsRead(results)}` },
            front,
          },
        ),
      },
    ],
    notes: [
      `${points.length} readings of ${results.length} arms; each checkpoint that was read is a point. The least errors by seed differ by ${meanAndSpread(perSeed)} points.`,
    ],
  }
}

export const pareto: Experiment = {
  name: 'pareto',
  title: 'Error against runtime',
  claim: 'More views move the Pareto front of error against runtime toward less error and less time.',
  protocol:
    'The runs with two views and with more, of all images and of fewer, and the baseline with the widest projector; every checkpoint is read. Time is training only. At tiny scale the time of a step is measured for all runs of a seed in turn, on one machine.',
  seeds: { tiny: 16, small: 3, full: 3 },
  arms,
  run,
}
