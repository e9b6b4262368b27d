/** Claim 1: the losses are forms of one functional, so whatever learns from them converges to the same eigenfunctions. */
import { lines, meanPoint } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import { differences } from '../arm_results.js'
import type { Analysis, Claim, Context, Experiment, Table } from '../experiment.js'
import { learn, learners, pictureVariable, type LearnerName, type Training } from '../world/learners.js'
import { overlap } from '../world/spans.js'
import type { World } from '../world/world.js'
import { describeWorld, worldOf } from './kernel_world.js'

/** The width of the claims lies at a gap of the spectrum; the other one does not. */
const [WIDTH, WIDE] = [5, 16]

/** Targets: the least mean overlap of the table, and of the ResNet. */
const TARGET = { table: 0.95, resnet: 0.6 }

type Schedule = Pick<Training, 'views' | 'draws' | 'steps' | 'rate'>

/**
 * How each learner is trained, whatever the loss. The covariance of a batch varies, and its variance acts as one more
 * penalty on the functions. In small batches it outweighs the gaps between the eigenvalues, so that other eigenfunctions
 * win. Every image is therefore in a step many times, with few views each time.
 */
const SCHEDULES: Record<LearnerName, Schedule> = {
  table: { views: 2, draws: 64, steps: 400, rate: 0.03 },
  mlp: { views: 2, draws: 4, steps: 600, rate: 0.003 },
  resnet: { views: 2, draws: 4, steps: 600, rate: 0.003 },
}

type Loss = Pick<Training, 'objective' | 'options'> & { name: string; table?: Partial<Schedule> }

/** The spectral loss compares two halves of the views. With more views this comparison is less noisy. */
const SPECTRAL: Partial<Schedule> = { views: 8, draws: 32 }
/** SimCLR compares all pairs of a batch, so it takes fewer rows. */
const SIMCLR: Partial<Schedule> = { draws: 8 }

/** Each loss with the constraint of the claims, fixed before the runs. SimCLR has a temperature in its place. */
const MAIN: readonly Loss[] = [
  { name: 'spectral, β = 1', objective: 'spectral', options: { beta: 1 }, table: SPECTRAL },
  { name: 'Barlow Twins, λ = 1', objective: 'barlow-twins-original', options: { lambda: 1 } },
  { name: 'VICReg, λ = 25', objective: 'vicreg', options: { lambda: 25 } },
  { name: 'SimCLR, τ = 0.5', objective: 'simclr', options: { temperature: 0.5 }, table: SIMCLR },
]
/** Other constraints, and the paper's form of Barlow Twins, which normalises rows. */
const OTHER: readonly Loss[] = [
  { name: 'spectral, β = 0.1', objective: 'spectral', options: { beta: 0.1 }, table: SPECTRAL },
  { name: 'Barlow Twins, λ = 0.02', objective: 'barlow-twins-original', options: { lambda: 0.02 } },
  { name: 'Barlow Twins, rows normalised, λ = 1', objective: 'barlow-twins', options: { lambda: 1 } },
  { name: 'VICReg, λ = 1', objective: 'vicreg', options: { lambda: 1 } },
  { name: 'SimCLR, τ = 0.1', objective: 'simclr', options: { temperature: 0.1 }, table: SIMCLR },
]

/** One loss, learner and width, with the overlaps by seed. */
interface Cell {
  loss: Loss
  learner: LearnerName
  width: number
  before: number[]
  after: number[]
}

/** Overlap with the dominant eigenfunctions, before and after training. */
async function overlaps(
  context: Context,
  world: () => Promise<World>,
  training: Training,
  targets: number,
  seed: number,
) {
  const { engine, signal, onProgress, figures, scale } = context
  const label = `${training.learner}, ${training.objective}, d = ${training.width}, seed ${seed}`
  return figures({ part: 'losses', scale, ...training, targets, seed }, async () => {
    const known = await world()
    const pictures = pictureVariable(known)
    try {
      const onStep = (done: number): void => onProgress(label, done, training.steps)
      const { before, after } = await learn(engine, known, pictures, training, { seed, signal, onStep })
      const functions = Array.from({ length: targets }, (_, k) => known.eigenfunction(k + 1))
      return [before, after].map((z) => overlap(z, training.width, functions, known.weights))
    } finally {
      engine.release(pictures)
    }
  })
}

async function cellOf(
  context: Context,
  { loss, learner, width }: Pick<Cell, 'loss' | 'learner' | 'width'>,
  seeds: readonly number[],
): Promise<Cell> {
  // The spectral loss gets one more function for the constant, so that all losses have the same targets.
  const own = loss.objective === 'spectral' ? width + 1 : width
  const { objective, options } = loss
  const schedule: Schedule = { ...SCHEDULES[learner], ...(learner === 'table' && loss.table) }
  const training: Training = { learner, objective, options, width: own, ...schedule }
  const cell: Cell = { loss, learner, width, before: [], after: [] }
  for (const seed of seeds) {
    const [before, after] = await overlaps(context, () => worldOf(context), training, width, seed)
    cell.before.push(before)
    cell.after.push(after)
  }
  return cell
}

function claimsOf(cells: readonly Cell[]): Claim[] {
  const of = (learner: LearnerName): Cell[] => cells.filter((cell) => cell.learner === learner && cell.width === WIDTH)
  const main = (list: Cell[]): Cell[] => list.filter(({ loss }) => MAIN.includes(loss))
  const overlapWith = `overlap with the ${WIDTH} dominant eigenfunctions`
  return [
    ...main(of('table')).map(({ loss, after }) => ({
      statement: `table, ${loss.name}: ${overlapWith}`,
      unit: '',
      perSeed: after,
      bound: { above: TARGET.table },
    })),
    ...main(of('resnet')).flatMap(({ loss, before, after }) => [
      { statement: `ResNet, ${loss.name}: ${overlapWith}`, unit: '', perSeed: after, bound: { above: TARGET.resnet } },
      {
        statement: `ResNet, ${loss.name}: gain over the untrained network`,
        unit: '',
        perSeed: differences(after, before),
        bound: { above: 0 },
      },
    ]),
  ]
}

const tableOf = (cells: readonly Cell[]): Table => ({
  header: ['', 'd', 'loss', 'overlap', 'untrained', 'seeds'],
  rows: cells.map(({ learner, loss, width, before, after }) => [
    learner,
    String(width),
    loss.name,
    meanAndSpread(after, 3),
    meanAndSpread(before, 3),
    String(after.length),
  ]),
})

async function run(context: Context): Promise<Analysis> {
  const cells: Cell[] = []
  for (const learner of learners)
    for (const loss of MAIN) cells.push(await cellOf(context, { loss, learner, width: WIDTH }, context.seeds))
  // Other strengths and widths are shown for one seed.
  const [first] = context.seeds
  for (const learner of learners) {
    for (const loss of OTHER) cells.push(await cellOf(context, { loss, learner, width: WIDTH }, [first]))
    for (const loss of MAIN) cells.push(await cellOf(context, { loss, learner, width: WIDE }, [first]))
  }
  const main = cells.filter(({ loss, width }) => width === WIDTH && MAIN.includes(loss))
  return {
    claims: claimsOf(cells),
    table: tableOf(cells),
    figures: [],
    plots: [
      {
        name: 'overlap',
        title: `Overlap with the ${WIDTH} dominant eigenfunctions`,
        spec: lines(
          learners.flatMap((learner) =>
            (['after', 'before'] as const)
              .filter((when) => when === 'after' || learner !== 'table')
              .map((when) => ({
                name: when === 'after' ? learner : `${learner}, untrained`,
                dashed: when === 'before',
                points: main.filter((cell) => cell.learner === learner).map((cell, i) => meanPoint(i + 1, cell[when])),
              })),
          ),
          {
            x: { title: 'loss: 1 spectral, 2 Barlow Twins, 3 VICReg, 4 SimCLR' },
            y: { title: 'overlap' },
          },
        ),
      },
    ],
    notes: [
      describeWorld(context.scale),
      `Overlap: the mean share of each of the first eigenfunctions that lies in the span of the learned functions. The spectral loss learns the constant function too, so it has one function more. Losses that normalise rows are read after it. Every step takes all images several times, with other views each time: ${learners.map((l) => `${l} ${SCHEDULES[l].draws} times ${SCHEDULES[l].views} views, ${SCHEDULES[l].steps} steps`).join('; ')}. The table takes ${SPECTRAL.draws} times ${SPECTRAL.views} views for the spectral loss, and ${SIMCLR.draws} times ${SCHEDULES.table.views} views for SimCLR. Networks are trained by Adam, and the table by gradient descent in L²(ρ). The learning rate falls as a cosine.`,
      'Whiskers: smallest and largest of the seeds.',
    ],
  }
}

export const kernelLosses: Experiment = {
  name: 'kernel-losses',
  title: 'One functional, many losses',
  claim: 'Self-supervised losses minimise one functional: the features converge to the dominant eigenfunctions of T.',
  protocol: `A table of free values, an MLP and a ResNet-18 of width 8 learn from augmentations of all images in each step. Loss weights, d = ${WIDTH}, steps and targets were fixed before the runs of these seeds: table at least ${TARGET.table}, ResNet at least ${TARGET.resnet}, with a gain over the untrained network.`,
  seeds: { tiny: 5, small: 5, full: 5 },
  apart: true,
  arms: () => [],
  run,
}
