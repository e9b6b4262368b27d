/** Whether `--lambda auto` is as good as the best λ of each projector width and number of views. */
import { overlay } from '../../../train/config/config.js'
import { lines, meanPoint } from '../../report/charts.js'
import { mean } from '../../report/statistics.js'
import { meanAndSpread } from '../../report/text.js'
import { automaticLambda } from '../../../train/objectives/barlow_twins.js'
import { differences, finalAccuracies } from '../arm_results.js'
import { viewsArm } from '../arms.js'
import type { Analysis, Arm, Context, Experiment, Setup } from '../experiment.js'
import { protocolOf } from '../scales.js'

const WIDTHS = [64, 256, 1024]
const VIEWS = [2, 4, 8]
/** λ of the grid, relative to the rule. */
const FACTORS = [1 / 4, 1 / 2, 1, 2, 4]
/** Points that the rule may lose. */
const MARGIN = 1
/** Seeds that choose the best λ. The comparison has others. */
const CHOOSING = [1, 2, 3]

interface Cell {
  width: number
  views: number
}

const cells: Cell[] = WIDTHS.flatMap((width) => VIEWS.map((views) => ({ width, views })))

const nameOf = ({ width, views }: Cell): string => `d = ${width}, ${views} views`

function armOf(setup: Setup, cell: Cell, factor: number): Arm {
  const { views, projectorReadout } = protocolOf(setup)
  // Recipes with other numbers of views differ in that number and in λ alone.
  const { config } = viewsArm(setup, `${views[0]}-v2`)
  const lambda = factor * automaticLambda(cell.width, cell.views)
  return {
    name: `${nameOf(cell)}, ${factor} × auto`,
    config: overlay(config, { projectorDim: cell.width, views: cell.views, lambda }),
    readout: projectorReadout,
  }
}

/** The arms of the rule. Those with the best λ are known only when the grid has been run. */
const arms = (setup: Setup): Arm[] => cells.map((cell) => armOf(setup, cell, 1))

/** The factor with the highest mean accuracy over the seeds that choose. */
async function bestFactor(context: Context, cell: Cell): Promise<number> {
  const grid = await context.runs(
    FACTORS.map((factor) => armOf(context, cell, factor)),
    CHOOSING,
  )
  const means = grid.map((result) => mean(finalAccuracies(result)))
  const known = means.map((value) => (Number.isFinite(value) ? value : -Infinity))
  return FACTORS[known.indexOf(Math.max(...known))]
}

async function run(context: Context): Promise<Analysis> {
  const found: { cell: Cell; factor: number; auto: number[]; best: number[]; lost: number[] }[] = []
  for (const cell of cells) {
    const factor = await bestFactor(context, cell)
    const [auto, best] = (await context.runs([armOf(context, cell, 1), armOf(context, cell, factor)])).map((result) =>
      finalAccuracies(result),
    )
    found.push({ cell, factor, auto, best, lost: differences(auto, best) })
  }
  return {
    claims: [
      {
        statement: `auto − best λ, mean over ${cells.length} widths and numbers of views`,
        unit: 'points',
        perSeed: context.seeds.map((_, s) => mean(found.map(({ lost }) => lost[s]))),
        bound: { above: -MARGIN },
      },
    ],
    table: {
      header: ['', 'λ auto', 'best λ', 'accuracy with auto, %', 'with the best, %', 'difference'],
      rows: found.map(({ cell, factor, auto, best, lost }) => {
        const lambda = automaticLambda(cell.width, cell.views)
        return [
          nameOf(cell),
          String(Number(lambda.toPrecision(3))),
          String(Number((factor * lambda).toPrecision(3))),
          meanAndSpread(auto),
          meanAndSpread(best),
          meanAndSpread(lost),
        ]
      }),
    },
    figures: [],
    plots: [
      {
        name: 'difference',
        title: 'Accuracy with λ auto − with the best λ, points',
        spec: lines(
          VIEWS.map((views) => ({
            name: `${views} views`,
            points: found
              .filter(({ cell }) => cell.views === views)
              .map(({ cell, lost }) => meanPoint(cell.width, lost)),
          })),
          { x: { title: 'projector width d', log: true }, y: { title: 'points' } },
        ),
      },
    ],
    notes: [
      'Whiskers: smallest and largest of the seeds. Where auto itself is the best of the grid, the difference is 0.',
    ],
  }
}

export const autoLambda: Experiment = {
  name: 'auto-lambda',
  title: 'λ by rule',
  claim: '(ours) λ = (3 / d) · s(m) is as good as the best λ of each projector width d and number of views m.',
  protocol: `Barlow Twins, d = ${WIDTHS.join(', ')} with ${VIEWS.join(', ')} views. The best λ of each is chosen among ${FACTORS.join(', ')} times the rule by the mean over seeds ${CHOOSING.join(', ')}; rule and best are then compared on other seeds. The rule may lose ${MARGIN} point.`,
  seeds: { tiny: 5, small: 5, full: 5 },
  firstSeed: 4,
  apart: true,
  arms,
  run,
}
