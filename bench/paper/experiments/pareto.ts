/** Runtime against error of its own runs and all others at hand, and the front of those that no other beats in both. */
import { resolveConfig } from '../../../train/config/config.js'
import { scatter } from '../../runs/charts.js'
import { keyOf, nameOfReadout } from '../../runs/runs.js'
import { baselineArm, fidelityArms, fractionArms, projectorArms, viewsArms } from '../arms.js'
import { beside, paperCifar } from '../beside.js'
import {
  meanAndSpread,
  viewsRead,
  type Analysis,
  type Arm,
  type Context,
  type Experiment,
  type Setup,
} from '../experiment.js'
import { protocolOf } from '../scales.js'

interface Point {
  arm: string
  views: number
  seed: number
  epoch: number
  /** Minutes of training. */
  x: number
  /** Error, in %. */
  y: number
}

/** The points that no other beats or equals in both, by time. */
export function frontOf<P extends { x: number; y: number }>(points: readonly P[]): P[] {
  const front: P[] = []
  for (const point of [...points].sort((a, b) => a.x - b.x || a.y - b.y))
    if (front.length === 0 || point.y < front[front.length - 1].y) front.push(point)
  return front
}

/** What it runs where it is not at hand: views, at full and at fewer images. */
const own = (setup: Setup): Arm[] =>
  protocolOf(setup).views.flatMap((family) => [...viewsArms(setup, family), ...fractionArms(setup, family).slice(1)])

/** Further arms of the scale that are read in the way that views are compared in; the same run counts once. */
function others(setup: Setup): Arm[] {
  const keyOfArm = ({ config }: Arm): string => keyOf(resolveConfig(config))
  const way = nameOfReadout(protocolOf(setup).viewsReadout)
  const seen = new Set(own(setup).map(keyOfArm))
  return [baselineArm(setup), ...projectorArms(setup), ...fidelityArms(setup)].filter((arm) => {
    const key = keyOfArm(arm)
    if (nameOfReadout(arm.readout) !== way || seen.has(key)) return false
    seen.add(key)
    return true
  })
}

const least = (points: readonly Point[]): number => (points.length ? Math.min(...points.map(({ y }) => y)) : NaN)

async function run(context: Context): Promise<Analysis> {
  const { seeds } = context
  const results = [...(await context.runs(own(context))), ...(await context.atHand(others(context)))]
  const points = results.flatMap(({ arm, seeds: list }) =>
    list.flatMap(({ seed, readings }) =>
      readings.map(({ epoch, seconds, top1 }): Point => ({
        arm: arm.name,
        views: arm.config.views!,
        seed,
        epoch,
        x: seconds / 60,
        y: 100 * (1 - top1),
      })),
    ),
  )
  const perSeed = seeds.map((seed) => {
    const itsOwn = points.filter((p) => p.seed === seed)
    const few = itsOwn.filter(({ views }) => views === 2)
    const budget = Math.max(...few.map(({ x }) => x))
    return least(few) - least(itsOwn.filter(({ views, x }) => views > 2 && x <= budget))
  })
  const front = frontOf(points)
  const { views: readViews } = protocolOf(context).viewsReadout
  const counts = [...new Set(points.map(({ views }) => views))].sort((a, b) => a - b)
  return {
    claims: [
      {
        statement: 'within the longest 2-view run’s time: least error of 2-view runs − of runs with more views',
        unit: 'points',
        perSeed,
        bound: { above: 0 },
      },
    ],
    table: {
      header: ['on the front', 'seed', 'epoch', 'minutes', 'error, %', 'views read'],
      rows: front.map(({ arm, seed, epoch, x, y }) => [
        arm,
        String(seed),
        String(epoch),
        x.toFixed(2),
        y.toFixed(2),
        String(readViews),
      ]),
    },
    figures: [
      beside(
        results[0].arm,
        {
          what: 'the front of runtime against error',
          paper: 'runs with more views are on it',
          ours: `${front.filter(({ views }) => views > 2).length} of its ${front.length} points have more than two views`,
        },
        { ...paperCifar, views: 16 },
      ),
    ],
    plots: [
      {
        name: 'front',
        title: 'Error against runtime; dashed: the front',
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
      `${points.length} readings of ${results.filter((r) => r.seeds.some((s) => s.readings.length)).length} settings at hand, every checkpoint that was read a point; least errors by seed differ by ${meanAndSpread(perSeed)} points.`,
    ],
  }
}

export const pareto: Experiment = {
  name: 'pareto',
  title: 'Runtime against error',
  claim: 'With more views the Pareto front of runtime against error moves toward less of both.',
  protocol:
    'Its own runs are those of views and of fewer images; it takes in every finished run of the other experiments that was read in the same way. Time is training alone.',
  seeds: { tiny: 3, small: 3, full: 3 },
  arms: own,
  run,
}
