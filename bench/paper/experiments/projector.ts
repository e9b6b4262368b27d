/** Claim 2 in practice: a small projector serves as well as a large one, if its orthogonality constraint is stronger. */
import { lines } from '../../runs/charts.js'
import { projectorArms } from '../arms.js'
import { beside, paperCifar, type Conditions } from '../beside.js'
import { accuracyAxis, finalTable } from '../curves.js'
import {
  differences,
  finals,
  known,
  meanAndSpread,
  resultsOf,
  type Analysis,
  type Arm,
  type ArmResult,
  type Context,
  type Experiment,
  type Setup,
} from '../experiment.js'
import { mean } from '../../runs/intervals.js'

const MARGIN = 1

/** Of one width: with its own λ, and with the one that all widths share. */
interface Pair {
  width: number
  best: Arm
  fixed: Arm
}

interface Loss {
  objective: string
  name: string
  /** solo-learn's online probe after 1000 epochs, ResNet-18. */
  elsewhere: string
  /** Narrowest first. */
  pairs: Pair[]
}

function lossesOf(setup: Setup): Loss[] {
  const arms = projectorArms(setup)
  const pairs = arms.flatMap((best, i): Pair[] =>
    i % 2 ? [] : [{ width: best.config.projectorDim!, best, fixed: arms[i + 1] }],
  )
  return [
    { objective: 'barlow-twins', name: 'Barlow Twins', elsewhere: '92.10' },
    { objective: 'vicreg', name: 'VICReg', elsewhere: '92.07' },
  ].flatMap((loss) => {
    const own = pairs.filter(({ best }) => best.config.objective === loss.objective)
    return own.length ? [{ ...loss, pairs: own }] : []
  })
}

const soloLearn: Conditions = {
  dataset: 'CIFAR-10',
  network: 'ResNet-18',
  width: 64,
  size: 32,
  images: 100,
  epochs: 1000,
}

async function run(context: Context): Promise<Analysis> {
  const results = await context.runs(projectorArms(context))
  const resultOf = (arm: Arm): ArmResult => resultsOf(results, [arm])[0]
  const accuracies = (arm: Arm): number[] => finals(resultOf(arm))
  const losses = lossesOf(context)
  const ends = ({ pairs }: Loss): [small: Pair, large: Pair] => [pairs[0], pairs[pairs.length - 1]]
  const widest = ends(losses[0])[1].best
  return {
    claims: losses.flatMap((loss) => {
      const [small, large] = ends(loss)
      const [best, wide, wideFixed] = [small.best, large.best, large.fixed].map(accuracies)
      return [
        {
          statement: `${loss.name}, d = ${small.width}: accuracy with its own λ − with the baseline’s`,
          unit: 'points',
          perSeed: differences(best, accuracies(small.fixed)),
          bound: { above: 0 },
        },
        {
          statement: `${loss.name}: accuracy of d = ${small.width} with its own λ − of the best of d = ${large.width}`,
          unit: 'points',
          perSeed: best.map((v, i) => v - Math.max(wide[i], wideFixed[i])),
          bound: { above: -MARGIN },
        },
      ]
    }),
    table: finalTable(results),
    figures: [
      beside(
        widest,
        {
          what: 'd = 64 with its best λ against d = 8192',
          paper: 'about as good',
          ours: losses
            .map((loss) =>
              ends(loss)
                .map(({ width, best }) => `d = ${width}: ${meanAndSpread(accuracies(best))}`)
                .join(', '),
            )
            .map((text, i) => `${losses[i].name}, ${text} %`)
            .join('; '),
        },
        { ...paperCifar, projectorDim: 8192, views: 1 },
      ),
      ...(context.dataset === 'cifar10'
        ? losses.map((loss) => {
            const { best, width } = ends(loss)[1]
            const what = `${loss.name}, solo-learn: ResNet-18, 1000 epochs, online probe; here d = ${width}`
            return beside(
              best,
              { what, paper: loss.elsewhere, ours: meanAndSpread(accuracies(best)) },
              { ...soloLearn, views: 1 },
            )
          })
        : []),
    ],
    plots: losses.map(({ objective, name, pairs }) => ({
      name: objective,
      title: `Accuracy by projector width, ${name}`,
      spec: lines(
        (['best', 'fixed'] as const).map((which) => ({
          name: which === 'best' ? "each width's λ" : "the baseline's λ",
          dashed: which === 'fixed',
          points: pairs.flatMap((pair) => {
            const values = known(accuracies(pair[which]))
            return values.length
              ? [{ x: pair.width, y: mean(values), low: Math.min(...values), high: Math.max(...values) }]
              : []
          }),
        })),
        { x: { title: 'projector width d', log: true }, y: accuracyAxis(results) },
      ),
    })),
    notes: ['Whiskers: least and most of the seeds.'],
  }
}

export const projector: Experiment = {
  name: 'projector',
  title: 'Small projectors',
  claim:
    'A small projector with a stronger orthogonality constraint serves as well as a huge one: d = 64 with its best λ is about as good as d = 8192.',
  protocol: `Two views, equal data, epochs and readout; at each width once with the λ that the paper found best for it and once with the one that its baseline keeps for all (Barlow Twins 0.0004, on ImageNet-100 0.001; VICReg 750). As good means: not more than ${MARGIN} point below. Narrowest and widest projector of the scale stand for 64 and 8192.`,
  seeds: { tiny: 3, small: 3, full: 3 },
  arms: projectorArms,
  run,
}
