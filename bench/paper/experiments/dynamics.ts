/** Claim 2 on the circle: the strength of the orthogonality constraint decides the order in which features are learned. */
import { lines, meanPoint } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import type { Analysis, Context, Experiment, Plot, Scale, Table } from '../experiment.js'
import {
  closedForm,
  descend,
  eigenvalue,
  halfTimes,
  INITIAL,
  largestError,
  relativeSpread,
  ROTATION,
  type Setting,
  type Trajectory,
} from './circle.js'

/** Points on the circle: an odd number, so that every frequency except zero has a cosine and a sine. */
const POINTS: Record<Scale, number> = { tiny: 17, small: 65, full: 129 }

const SETTINGS: readonly [Setting, Setting] = [
  { name: 'low β = 0.1', beta: 0.1, step: 0.25, readings: 120, stride: 4 },
  { name: 'high β = 5', beta: 5, step: 0.01, readings: 150, stride: 1 },
]

/** Frequencies whose half-times are compared: both settings learn them. */
const TIMED = [1, 2, 3, 4]

/** The trajectories of one setting, by seed. */
interface Trained {
  setting: Setting
  trajectories: Trajectory[]
}

async function train({ engine, scale, seeds, onProgress, signal }: Context): Promise<Trained[]> {
  const trained: Trained[] = []
  for (const setting of SETTINGS) {
    const trajectories: Trajectory[] = []
    for (const seed of seeds) {
      signal.throwIfAborted()
      const tick = (done: number): void => onProgress(`${setting.name}, seed ${seed}`, done, setting.readings)
      trajectories.push(await descend(engine, POINTS[scale], seed, setting, tick))
    }
    trained.push({ setting, trajectories })
  }
  return trained
}

const finalScales = ({ trajectories }: Trained, k: number): number[] =>
  trajectories.map(({ scales }) => scales[scales.length - 1][k - 1])

async function run(context: Context): Promise<Analysis> {
  const points = POINTS[context.scale]
  const trained = await train(context)
  const spreads = trained.map(({ trajectories }) => trajectories.map((t) => relativeSpread(halfTimes(t, TIMED))))
  const errors = trained.map(({ setting, trajectories }) => trajectories.map((t) => largestError(t, setting.beta)))
  const frequencies = Array.from({ length: Math.min(8, (points - 1) / 2) }, (_, i) => i + 1)
  return {
    claims: [
      {
        statement: 'largest error of a final squared scale against the closed form, both β',
        unit: '',
        perSeed: context.seeds.map((_, i) => Math.max(errors[0][i], errors[1][i])),
        bound: { below: 0.02 },
      },
    ],
    table: tableOf(trained, frequencies),
    figures: [
      {
        what: 'low β: the dominant eigenfunctions first; high β: distinct eigenfunctions together (spread of half-times)',
        paper: 'low β: one after another; high β: together',
        ours: `${meanAndSpread(spreads[0])} at low β, ${meanAndSpread(spreads[1])} at high β`,
      },
    ],
    plots: [...trained.map((one) => trajectoryPlot(one, frequencies)), finalPlot(trained, frequencies)],
    notes: [
      `${points} points, rotations up to ${ROTATION} rad, functions as a table of ${points - 1} columns with initial values from N(0, ${INITIAL}²); T is exact. The squared scales over time are those of seed ${context.seeds[0]}.`,
    ],
  }
}

const tableOf = (trained: readonly Trained[], frequencies: readonly number[]): Table => ({
  header: [
    'frequency',
    'λₖ',
    ...trained.flatMap(({ setting: { name } }) => [`final scale², ${name}`, 'closed form', 'half-time']),
  ],
  rows: frequencies.map((k) => [
    String(k),
    eigenvalue(k).toFixed(3),
    ...trained.flatMap((one) => {
      const { setting, trajectories } = one
      const digits = setting === SETTINGS[0] ? 1 : 3
      const halfTime = () => trajectories.map((t) => halfTimes(t, [k])[0])
      return [
        meanAndSpread(finalScales(one, k), 3),
        closedForm(k, setting.beta).toFixed(3),
        TIMED.includes(k) ? meanAndSpread(halfTime(), digits) : '–',
      ]
    }),
  ]),
})

const trajectoryPlot = ({ setting, trajectories }: Trained, frequencies: readonly number[]): Plot => {
  const [{ times, scales }] = trajectories
  return {
    name: setting === SETTINGS[0] ? 'low-beta' : 'high-beta',
    title: `Squared scale by frequency, ${setting.name}`,
    spec: lines(
      frequencies.map((k) => ({ name: `k = ${k}`, points: times.map((x, i) => ({ x, y: scales[i][k - 1] })) })),
      { x: { title: 'time of the gradient flow' }, y: { title: 'squared scale' }, markers: false },
    ),
  }
}

const finalPlot = (trained: readonly Trained[], frequencies: readonly number[]): Plot => ({
  name: 'final-scales',
  title: 'Final squared scales and the closed form',
  spec: lines(
    trained.flatMap((one) => {
      const { name, beta } = one.setting
      return [
        { name, points: frequencies.map((k) => meanPoint(k, finalScales(one, k))) },
        {
          name: `closed form, ${name}`,
          dashed: true,
          points: frequencies.map((k) => ({ x: k, y: closedForm(k, beta) })),
        },
      ]
    }),
    { x: { title: 'frequency k' }, y: { title: 'squared scale' } },
  ),
})

export const dynamics: Experiment = {
  name: 'dynamics',
  title: 'Learning dynamics on the circle',
  claim:
    'Gradient descent on the idealised loss learns the eigenfunctions of T; their final scales follow from β and their eigenvalues.',
  protocol:
    'Gradient descent with the exact T, from the same initial values at low and at high β. The final squared scales must equal the closed form within 0.02. The half-times are shown without a verdict: without competition, a low β spreads them for every spectrum.',
  seeds: { tiny: 5, small: 5, full: 5 },
  arms: () => [],
  run,
}
