/** Claim 2 as a rule: the best weight of the orthogonality constraint falls as 1/d. */
import { overlay } from '../../../train/config/config.js'
import { lines, meanPoint } from '../../report/charts.js'
import { finite } from '../../report/statistics.js'
import { meanAndSpread } from '../../report/text.js'
import { finalAccuracies, resultsOf } from '../arm_results.js'
import { viewsArm } from '../arms.js'
import { accuracyAxis } from '../curves.js'
import type { Analysis, Arm, ArmResult, Context, Experiment, Setup } from '../experiment.js'
import { protocolOf } from '../scales.js'
import { slope } from './kernel_views.js'

const WIDTHS = [16, 32, 64, 128, 256, 512, 1024]
/** λ · d / CENTRE. */
const FACTORS = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4]
const CENTRE = 4
/** The slope that the paper states, and how far from it still counts as that slope. */
const [SLOPE, MARGIN] = [-1, 0.15]

const lambdasOf = (width: number): number[] => FACTORS.map((factor) => (factor * CENTRE) / width)

function armOf(setup: Setup, width: number, lambda: number): Arm {
  const { views, projectorReadout } = protocolOf(setup)
  const { config } = viewsArm(setup, `${views[0]}-v2`)
  return {
    name: `d = ${width}, λ = ${Number(lambda.toPrecision(3))}`,
    config: overlay(config, { projectorDim: width, lambda }),
    readout: projectorReadout,
  }
}

const arms = (setup: Setup): Arm[] =>
  WIDTHS.flatMap((width) => lambdasOf(width).map((lambda) => armOf(setup, width, lambda)))

/**
 * The λ of the highest accuracy: the vertex of the parabola through the best point and its neighbours, over log λ. At an
 * end of the grid it is that end.
 */
export function bestLambda(lambdas: readonly number[], accuracies: readonly number[]): number {
  const at = accuracies.indexOf(Math.max(...accuracies))
  if (at <= 0 || at === lambdas.length - 1) return lambdas[Math.max(at, 0)]
  const [left, centre, right] = accuracies.slice(at - 1, at + 2)
  const step = Math.log(lambdas[at + 1] / lambdas[at])
  const shift = (left - right) / (2 * (left - 2 * centre + right))
  return lambdas[at] * Math.exp(step * (Number.isFinite(shift) ? shift : 0))
}

/** [width][seed] */
function bestBySeed(results: readonly ArmResult[], setup: Setup, seeds: readonly number[]): number[][] {
  return WIDTHS.map((width) => {
    const own = resultsOf(
      results,
      lambdasOf(width).map((lambda) => armOf(setup, width, lambda)),
    ).map((result) => finalAccuracies(result))
    return seeds.map((_, s) => {
      const accuracies = own.map((list) => list[s])
      return accuracies.every(Number.isFinite) ? bestLambda(lambdasOf(width), accuracies) : NaN
    })
  })
}

async function run(context: Context): Promise<Analysis> {
  const results = await context.runs(arms(context))
  const best = bestBySeed(results, context, context.seeds)
  const slopes = context.seeds.map((_, s) =>
    slope(
      WIDTHS,
      best.map((list) => list[s]),
    ),
  )
  const accuracies = (width: number, lambda: number): number[] =>
    finite(finalAccuracies(resultsOf(results, [armOf(context, width, lambda)])[0]))
  return {
    claims: [
      {
        statement: 'slope of log λ* on log d, + 1',
        unit: '',
        perSeed: slopes.map((value) => value - SLOPE),
        bound: { within: MARGIN },
      },
    ],
    table: {
      header: ['d', 'best λ', 'accuracy there on the grid, %'],
      rows: WIDTHS.map((width, i) => [
        String(width),
        meanAndSpread(best[i], 4),
        Math.max(
          ...lambdasOf(width).map(
            (lambda) => accuracies(width, lambda).reduce((a, b) => a + b, 0) / context.seeds.length,
          ),
        ).toFixed(2),
      ]),
    },
    figures: [
      {
        what: 'the best λ against the projector width: slope on log axes',
        paper: '−1 (its recipes from d = 64 to 8192: −0.81)',
        ours: meanAndSpread(slopes),
      },
    ],
    plots: [
      {
        name: 'grid',
        title: 'Accuracy by λ for each projector width',
        spec: lines(
          WIDTHS.map((width) => ({
            name: `d = ${width}`,
            points: lambdasOf(width).flatMap((lambda) => {
              const values = accuracies(width, lambda)
              return values.length ? [meanPoint(lambda, values)] : []
            }),
          })),
          { x: { title: 'λ', log: true }, y: accuracyAxis(results) },
        ),
      },
      {
        name: 'best',
        title: 'The best λ by projector width',
        spec: lines(
          [
            { name: 'best λ', points: WIDTHS.map((width, i) => meanPoint(width, finite(best[i]))) },
            { name: `${CENTRE} / d`, dashed: true, points: WIDTHS.map((width) => ({ x: width, y: CENTRE / width })) },
          ],
          { x: { title: 'projector width d', log: true }, y: { title: 'λ', log: true } },
        ),
      },
    ],
    notes: ['Whiskers: smallest and largest of the seeds.'],
  }
}

export const lambda: Experiment = {
  name: 'lambda',
  title: 'The best λ by projector width',
  claim: 'The best weight of the orthogonality constraint falls as 1/d.',
  protocol: `Barlow Twins with two views; λ · d from ${CENTRE * FACTORS[0]} to ${CENTRE * FACTORS[FACTORS.length - 1]} in factors of 2. The best λ of a seed is the vertex of a parabola through the best point and its neighbours. The slope is right within ± ${MARGIN} of ${SLOPE}.`,
  seeds: { tiny: 3, small: 3, full: 3 },
  firstSeed: 1,
  apart: true,
  arms,
  run,
}
