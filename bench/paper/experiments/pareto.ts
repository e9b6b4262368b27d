/** Error against runtime for all runs: which of them are on the Pareto front. */
import { resolveConfig } from '../../../train/config/config.js'
import { scatter } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import { keyOf, nameOfReadout } from '../../runs/cached_runs.js'
import { viewsRead } from '../arm_results.js'
import { baselineArm, fidelityRuns, fractionArms, projectorArms, viewsArms } from '../arms.js'
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

/** The runs that the experiment makes if they are not in the cache: more views, of all images and of fewer. */
const ownArms = (setup: Setup): Arm[] =>
  protocolOf(setup).views.flatMap((family) => [...viewsArms(setup, family), ...fractionArms(setup, family).slice(1)])

/** Further arms of the scale with the same readout, each run once. Only cached runs of these are used. */
function otherArms(setup: Setup): Arm[] {
  const keyOfArm = ({ config }: Arm): string => keyOf(resolveConfig(config))
  const readout = nameOfReadout(protocolOf(setup).viewsReadout)
  const seen = new Set(ownArms(setup).map(keyOfArm))
  return [baselineArm(setup), ...projectorArms(setup), ...fidelityRuns(setup)].filter((arm) => {
    const key = keyOfArm(arm)
    if (nameOfReadout(arm.readout) !== readout || seen.has(key)) return false
    seen.add(key)
    return true
  })
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
  const results = [...(await context.runs(ownArms(context))), ...(await context.cached(otherArms(context)))]
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
        results[0].arm,
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
      `${points.length} readings of ${results.filter((r) => r.seeds.some((s) => s.readings.length)).length} arms; each checkpoint that was read is a point. The least errors by seed differ by ${meanAndSpread(perSeed)} points.`,
    ],
  }
}

export const pareto: Experiment = {
  name: 'pareto',
  title: 'Error against runtime',
  claim: 'More views move the Pareto front of error against runtime toward less error and less time.',
  protocol:
    'Its own runs are those with more views, of all images and of fewer. It also uses every finished run of the other experiments that has the same readout. Time is training only.',
  seeds: { tiny: 3, small: 3, full: 3 },
  arms: ownArms,
  run,
}
