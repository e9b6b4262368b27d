/** Claim 2 with competition: fewer functions than eigenfunctions, in a world of real images where T is exact. */
import { lines } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import type { Analysis, Context, Experiment, Plot } from '../experiment.js'
import { flow, type FlowReading } from '../world/competition.js'
import { describeWorld, worldOf } from './kernel_world.js'

const WIDTH = 4
const INITIAL = 0.001
const READINGS = 120

interface Strength {
  name: string
  beta: number
  step: number
  until: number
}

/** At β = 0.1 an eigenfunction with (1 − λ)² < 0.2 is worth learning, at β = 5 every one. */
const STRENGTHS: readonly [Strength, Strength] = [
  { name: 'low β = 0.1', beta: 0.1, step: 0.1, until: 1000 },
  { name: 'high β = 5', beta: 5, step: 0.01, until: 400 },
]

const FIELDS = 3 + 2 * WIDTH
const packed = (list: readonly FlowReading[]): number[] =>
  list.flatMap(({ time, effectiveRank, energy, cosines, shares }) => [
    time,
    effectiveRank,
    energy,
    ...cosines,
    ...shares,
  ])
const unpacked = (figures: readonly number[]): FlowReading[] =>
  Array.from({ length: figures.length / FIELDS }, (_, i) => {
    const [time, effectiveRank, energy, ...rest] = figures.slice(i * FIELDS, (i + 1) * FIELDS)
    return { time, effectiveRank, energy, cosines: rest.slice(0, WIDTH), shares: rest.slice(WIDTH) }
  })

async function trajectories(context: Context, strength: Strength): Promise<FlowReading[][]> {
  const { seeds, figures, scale, onProgress, signal } = context
  const list: FlowReading[][] = []
  for (const [i, seed] of seeds.entries()) {
    signal.throwIfAborted()
    const { beta, step, until } = strength
    const of = {
      part: 'competition',
      scale,
      width: WIDTH,
      initial: INITIAL,
      readings: READINGS,
      beta,
      step,
      until,
      seed,
    }
    const compute = async (): Promise<number[]> => {
      const { eigenvalues, images, count } = await worldOf(context)
      const options = { ...{ beta, step, until, seed }, width: WIDTH, initial: INITIAL, readings: READINGS }
      return packed(flow(eigenvalues.slice(1), { ...options, nullModes: count - images }))
    }
    list.push(unpacked(await figures(of, compute)))
    onProgress(strength.name, i + 1, seeds.length)
  }
  return list
}

const least = (list: readonly FlowReading[]): FlowReading =>
  list.reduce((best, one) => (one.effectiveRank < best.effectiveRank ? one : best))
const last = (list: readonly FlowReading[]): FlowReading => list[list.length - 1]
const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

/** The time at which the mean square reaches half of its last value. */
const halfTime = (list: readonly FlowReading[]): number =>
  list.find(({ energy }) => energy >= last(list).energy / 2)!.time

const plotOf = ({ name }: Strength, [first]: readonly FlowReading[][]): Plot => ({
  name: name.startsWith('low') ? 'low-beta' : 'high-beta',
  title: `${WIDTH} functions against the ${WIDTH} dominant eigenfunctions, ${name}`,
  spec: lines(
    [
      ...Array.from({ length: WIDTH }, (_, k) => ({
        name: `cos² of angle ${k + 1}`,
        points: first.map(({ time, cosines }) => ({ x: time, y: cosines[k] })),
      })),
      {
        name: `effective rank / ${WIDTH}`,
        dashed: true,
        points: first.map(({ time, effectiveRank }) => ({ x: time, y: effectiveRank / WIDTH })),
      },
      {
        name: 'share of the dominant one',
        dashed: true,
        points: first.map(({ time, shares }) => ({ x: time, y: shares[0] })),
      },
    ],
    { x: { title: 'time of the gradient flow', log: true }, y: { title: '' }, markers: false },
  ),
})

async function run(context: Context): Promise<Analysis> {
  const [low, high] = [await trajectories(context, STRENGTHS[0]), await trajectories(context, STRENGTHS[1])]
  const rows = [low, high].map((list, i) => [
    STRENGTHS[i].name,
    meanAndSpread(list.map((one) => least(one).effectiveRank)),
    meanAndSpread(
      list.map((one) => least(one).time),
      1,
    ),
    meanAndSpread(list.map((one) => least(one).shares[0])),
    meanAndSpread(list.map(halfTime), 1),
    meanAndSpread(list.map((one) => last(one).effectiveRank)),
    meanAndSpread(
      list.map((one) => average(last(one).cosines)),
      3,
    ),
  ])
  return {
    claims: [
      {
        statement: `low β: lowest effective rank of the ${WIDTH} functions on the way`,
        unit: '',
        perSeed: low.map((list) => least(list).effectiveRank),
        bound: { below: 2 },
      },
      {
        statement: 'low β: share of the functions’ mean square in the dominant eigenfunction at that time',
        unit: '',
        perSeed: low.map((list) => least(list).shares[0]),
        bound: { above: 0.8 },
      },
      {
        statement: `high β: lowest effective rank of the ${WIDTH} functions on the way`,
        unit: '',
        perSeed: high.map((list) => least(list).effectiveRank),
        bound: { above: 3.6 },
      },
      {
        statement: `mean cos² between the final span and the ${WIDTH} dominant eigenfunctions, the smaller of both β`,
        unit: '',
        perSeed: low.map((list, i) => Math.min(average(last(list).cosines), average(last(high[i]).cosines))),
        bound: { above: 0.95 },
      },
    ],
    table: {
      header: [
        '',
        'lowest effective rank',
        'at time',
        'share of the dominant one then',
        'time of half of the mean square',
        'final effective rank',
        'final mean cos²',
      ],
      rows,
    },
    figures: [
      {
        what: 'low β: collapse toward the dominant eigenfunction first; high β: distinct eigenfunctions together',
        paper: 'lowest effective rank near 1 and near d',
        ours: `${rows[0][1]} at low β, ${rows[1][1]} at high β, d = ${WIDTH}`,
      },
    ],
    plots: [plotOf(STRENGTHS[0], low), plotOf(STRENGTHS[1], high)],
    notes: [
      describeWorld(context.scale),
      `Curves: seed ${context.seeds[0]}. Initial coefficients from N(0, ${INITIAL}²). Most functions of a table have eigenvalue 0: they dominate at first, so at high β the functions are distinct at once, and turn toward the dominant eigenfunctions later.`,
      'The constraint mixes the functions within their span, so the span turns toward the dominant eigenfunctions at the same pace for every β. What β decides is whether the functions are distinct on the way.',
    ],
  }
}

export const kernelCompetition: Experiment = {
  name: 'kernel-competition',
  title: 'Low and high β with competition',
  claim:
    'Where fewer functions are learned than there are eigenfunctions, a weak orthogonality constraint makes the features collapse toward the dominant eigenfunction first; a strong one finds distinct eigenfunctions together.',
  protocol: `The gradient flow of the idealised loss with exact T, ${WIDTH} functions, by Euler steps from the same initial values at low and at high β. β, the bounds and the seeds were fixed before the first run.`,
  seeds: { tiny: 5, small: 5, full: 5 },
  arms: () => [],
  run,
}
