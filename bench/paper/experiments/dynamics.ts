/**
 * Claim 2 where everything is known: points on a circle, augmentations rotate by U[−a, a], functions are centred. The
 * eigenfunctions of T are then cos kθ and sin kθ with eigenvalue λₖ = sin(ka) / (ka), and gradient descent on
 *
 *   (1/N) ‖T F − F‖² + β ‖Fᵀ F / N − I‖²
 *
 * leads each to the squared scale max(0, 1 − (1 − λₖ)² / (2β)).
 */
import {
  Purpose,
  RandomStream,
  add,
  assign,
  constant,
  crossCorrelation,
  gradients,
  matmul,
  orthogonalityLoss,
  scale,
  square,
  subtract,
  sum,
  variable,
  type Engine,
} from '../../../engine/index.js'
import { lines } from '../../runs/charts.js'
import { meanAndSpread, type Analysis, type Context, type Experiment, type Scale } from '../experiment.js'
import { mean } from '../../runs/intervals.js'

/** Points on the circle, an odd number: every frequency but the constant has a cosine and a sine. */
const POINTS: Record<Scale, number> = { tiny: 17, small: 65, full: 129 }
/** The augmentations' largest rotation, radians. */
const ROTATION = 0.4
/** Standard deviation of the values that training starts from. */
const INITIAL = 0.01

interface Setting {
  name: string
  beta: number
  /** Length of a step of gradient descent in function space: the time of the gradient flow that it takes. */
  step: number
  /** Times at which energies are read, `stride` steps apart. */
  readings: number
  stride: number
}

const SETTINGS: readonly [Setting, Setting] = [
  { name: 'low β = 0.1', beta: 0.1, step: 0.25, readings: 120, stride: 4 },
  { name: 'high β = 5', beta: 5, step: 0.01, readings: 150, stride: 1 },
]

/** sin(ka) / (ka) */
export const eigenvalue = (k: number): number => Math.sin(k * ROTATION) / (k * ROTATION)

/** The squared scale of the eigenfunctions of frequency k where the loss is least. */
export const closedForm = (k: number, beta: number): number => Math.max(0, 1 - (1 - eigenvalue(k)) ** 2 / (2 * beta))

/** Frequencies that both settings learn well enough to be timed. */
const TIMED = [1, 2, 3, 4]

/** Rows cos kθ, sin kθ of unit mean square on N points, [N − 1, N]: row 2(k − 1) is the cosine of frequency k. */
function basis(points: number): Float32Array {
  const rows = new Float32Array((points - 1) * points)
  for (let k = 1; k <= (points - 1) / 2; k++)
    for (let i = 0; i < points; i++) {
      const angle = (2 * Math.PI * k * i) / points
      rows[2 * (k - 1) * points + i] = Math.SQRT2 * Math.cos(angle)
      rows[(2 * k - 1) * points + i] = Math.SQRT2 * Math.sin(angle)
    }
  return rows
}

/** Σₖ f(k) · (projection on frequency k), [N, N]; the constant is taken out. */
function circulant(points: number, f: (k: number) => number): Float32Array {
  const frequencies = (points - 1) / 2
  const matrix = new Float32Array(points * points)
  for (let i = 0; i < points; i++)
    for (let j = 0; j < points; j++) {
      let total = 0
      for (let k = 1; k <= frequencies; k++)
        total += f(k) * (2 / points) * Math.cos((2 * Math.PI * k * (i - j)) / points)
      matrix[i * points + j] = total
    }
  return matrix
}

/** Of one training: at each time the mean squared scale of each frequency's two eigenfunctions, from k = 1. */
export interface Trajectory {
  times: number[]
  /** [time][frequency − 1] */
  scales: number[][]
}

/**
 * Gradient descent on a table of function values [N, N − 1], wide enough for every eigenfunction.
 *
 * @param points N, odd
 */
export async function descend(
  engine: Engine,
  points: number,
  seed: number,
  { beta, step, readings, stride }: Setting,
  onReading?: (done: number) => void,
): Promise<Trajectory> {
  const width = points - 1
  const table = variable('table', [points, width], () => {
    const random = new RandomStream(seed, Purpose.weights)
    return Float32Array.from({ length: points * width }, () => INITIAL * random.normal())
  })
  // The functions' mean is taken out, and never comes back.
  const z = matmul(
    constant(
      circulant(points, () => 1),
      [points, points],
    ),
    table,
  )
  const averaged = matmul(constant(circulant(points, eigenvalue), [points, points]), table)
  const invariance = scale(sum(square(subtract(averaged, z))), 1 / points)
  const loss = add(invariance, scale(orthogonalityLoss(crossCorrelation(z, z)), beta))
  const [gradient] = gradients(loss, [table])
  const coefficients = scale(matmul(constant(basis(points), [width, points]), z), 1 / points)
  // The gradient of a mean over N points is N times smaller in the table than it is in function space.
  const next = subtract(table, scale(gradient, step * points))
  const program = await engine.compile({
    label: 'dynamics',
    updates: [assign(table, next)],
    outputs: { scales: sum(square(coefficients), [1]) },
  })
  const result: Trajectory = { times: [], scales: [] }
  try {
    for (let at = 0; at < readings * stride; at++) {
      await program.run()
      if (at % stride) continue
      const each = await program.read('scales')
      result.times.push(at * step)
      result.scales.push(Array.from({ length: width / 2 }, (_, k) => (each[2 * k] + each[2 * k + 1]) / 2))
      onReading?.(at / stride + 1)
    }
    return result
  } finally {
    program.destroy()
    engine.release(table)
  }
}

/** When each timed frequency reaches half of its last energy, by linear interpolation. */
export function halfTimes({ times, scales }: Trajectory, frequencies: readonly number[] = TIMED): number[] {
  return frequencies.map((k) => {
    const energies = scales.map((at) => at[k - 1])
    const half = energies[energies.length - 1] / 2
    const after = energies.findIndex((energy) => energy >= half)
    if (after === 0) return times[0]
    const share = (half - energies[after - 1]) / (energies[after] - energies[after - 1])
    return times[after - 1] + share * (times[after] - times[after - 1])
  })
}

/** How far apart they are, in units of their mean: 0 where all come together. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / mean(values)
}

const largestError = ({ scales }: Trajectory, beta: number): number =>
  Math.max(...scales[scales.length - 1].map((value, i) => Math.abs(value - closedForm(i + 1, beta))))

async function run({ engine, scale: size, seeds, onProgress, signal }: Context): Promise<Analysis> {
  const points = POINTS[size]
  const trained: Trajectory[][] = []
  for (const setting of SETTINGS) {
    const list: Trajectory[] = []
    for (const seed of seeds) {
      signal.throwIfAborted()
      const tick = (done: number): void => onProgress(`${setting.name}, seed ${seed}`, done, setting.readings)
      list.push(await descend(engine, points, seed, setting, tick))
    }
    trained.push(list)
  }
  const spreads = trained.map((list) => list.map((t) => spread(halfTimes(t))))
  const errors = SETTINGS.map(({ beta }, s) => trained[s].map((t) => largestError(t, beta)))
  const frequencies = Array.from({ length: Math.min(8, (points - 1) / 2) }, (_, i) => i + 1)
  const finalOf = (s: number, k: number): number[] => trained[s].map(({ scales }) => scales[scales.length - 1][k - 1])
  return {
    claims: [
      {
        statement: `largest error of a final squared scale against the closed form, both β`,
        unit: '',
        perSeed: seeds.map((_, i) => Math.max(errors[0][i], errors[1][i])),
        bound: { below: 0.02 },
      },
      {
        statement: `spread of the times at which frequencies ${TIMED[0]}–${TIMED.at(-1)} reach half of their final energy, (latest − earliest) / mean: at low β minus at high β`,
        unit: '',
        perSeed: seeds.map((_, i) => spreads[0][i] - spreads[1][i]),
        bound: { above: 0 },
      },
    ],
    table: {
      header: [
        'frequency',
        'λₖ',
        ...SETTINGS.flatMap(({ name }) => [`final scale², ${name}`, 'closed form', 'half-time']),
      ],
      rows: frequencies.map((k) => [
        String(k),
        eigenvalue(k).toFixed(3),
        ...SETTINGS.flatMap(({ beta }, s) => [
          meanAndSpread(finalOf(s, k), 3),
          closedForm(k, beta).toFixed(3),
          TIMED.includes(k)
            ? meanAndSpread(
                trained[s].map((t) => halfTimes(t, [k])[0]),
                s ? 3 : 1,
              )
            : '–',
        ]),
      ]),
    },
    figures: [
      {
        what: 'low β: dominant eigenfunctions first; high β: distinct ones together (spread of half-times)',
        paper: 'low β: one after another; high β: together',
        ours: `${meanAndSpread(spreads[0])} at low β, ${meanAndSpread(spreads[1])} at high β`,
      },
    ],
    plots: [
      ...SETTINGS.map(({ name }, s) => ({
        name: s ? 'high-beta' : 'low-beta',
        title: `Energy by frequency, ${name}`,
        spec: lines(
          frequencies.map((k) => ({
            name: `k = ${k}`,
            points: trained[s][0].times.map((x, i) => ({ x, y: trained[s][0].scales[i][k - 1] })),
          })),
          { x: { title: 'time of the gradient flow' }, y: { title: 'squared scale' }, markers: false },
        ),
      })),
      {
        name: 'final-scales',
        title: 'Final squared scales and the closed form',
        spec: lines(
          SETTINGS.flatMap(({ name, beta }, s) => [
            {
              name,
              points: frequencies.map((k) => {
                const values = finalOf(s, k)
                return { x: k, y: mean(values), low: Math.min(...values), high: Math.max(...values) }
              }),
            },
            {
              name: `closed form, ${name}`,
              dashed: true,
              points: frequencies.map((k) => ({ x: k, y: closedForm(k, beta) })),
            },
          ]),
          { x: { title: 'frequency k' }, y: { title: 'squared scale' } },
        ),
      },
    ],
    notes: [
      `${points} points, rotations up to ${ROTATION} rad, functions in a table of ${points - 1} columns that starts at N(0, ${INITIAL}²); T is exact. Energies over time are those of seed ${seeds[0]}.`,
    ],
  }
}

export const dynamics: Experiment = {
  name: 'dynamics',
  title: 'Learning dynamics on the circle',
  claim:
    'With a weak orthogonality constraint features collapse toward the dominant eigenfunction first; with a strong one they find distinct eigenfunctions together.',
  protocol:
    'Gradient descent with exact T, from the same initial values at low and at high β. Claims: the final squared scales are those of the closed form within 0.02; the relative spread of the half-times is larger at low β.',
  seeds: { tiny: 5, small: 5, full: 5 },
  arms: () => [],
  run,
}
