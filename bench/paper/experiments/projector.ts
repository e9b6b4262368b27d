/** Claim 2 in practice: a small projector is as good as a large one if its orthogonality constraint is stronger. */
import { lines, meanPoint } from '../../report/charts.js'
import { finite } from '../../report/statistics.js'
import { meanAndSpread } from '../../report/text.js'
import { differences, finalAccuracies, resultsOf } from '../arm_results.js'
import { projectorArms } from '../arms.js'
import { compare, paperCifar, type Conditions } from '../comparison.js'
import { accuracyAxis, finalTable } from '../curves.js'
import type { Analysis, Arm, Claim, Context, Experiment, PaperFigure, Plot, Setup } from '../experiment.js'

/** Points below the large projector that still count as equally good. */
const MARGIN = 1

/** The arms of one projector width: with its best λ, and with the fixed λ of all widths. */
interface Pair {
  width: number
  best: Arm
  fixed: Arm
}

interface Loss {
  objective: string
  name: string
  /** Accuracy of solo-learn's online probe after 1000 epochs of ResNet-18, in %. */
  soloLearn: string
  /** Narrowest first. */
  pairs: Pair[]
}

function lossesOf(setup: Setup): Loss[] {
  const arms = projectorArms(setup)
  const pairs = arms.flatMap((best, i): Pair[] =>
    i % 2 ? [] : [{ width: best.config.projectorDim!, best, fixed: arms[i + 1] }],
  )
  return [
    { objective: 'barlow-twins', name: 'Barlow Twins', soloLearn: '92.10' },
    { objective: 'vicreg', name: 'VICReg', soloLearn: '92.07' },
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
  views: 1,
}

/** Accuracies of an arm by seed. */
type Accuracies = (arm: Arm) => number[]

const narrowest = ({ pairs }: Loss): Pair => pairs[0]
const widest = ({ pairs }: Loss): Pair => pairs[pairs.length - 1]

function claimsOf(loss: Loss, accuracies: Accuracies): Claim[] {
  const [small, large] = [narrowest(loss), widest(loss)]
  const [best, wide, wideFixed] = [small.best, large.best, large.fixed].map(accuracies)
  return [
    {
      statement: `${loss.name}, d = ${small.width}: accuracy with its best λ − with the baseline’s λ`,
      unit: 'points',
      perSeed: differences(best, accuracies(small.fixed)),
      bound: { above: 0 },
    },
    {
      statement: `${loss.name}: accuracy of d = ${small.width} with its best λ − of d = ${large.width} with the better λ`,
      unit: 'points',
      perSeed: best.map((v, i) => v - Math.max(wide[i], wideFixed[i])),
      bound: { above: -MARGIN },
    },
  ]
}

function figuresOf(losses: readonly Loss[], accuracies: Accuracies, { dataset }: Setup): PaperFigure[] {
  const ours = ({ width, best }: Pair): string => `d = ${width}: ${meanAndSpread(accuracies(best))}`
  return [
    compare(
      widest(losses[0]).best,
      {
        what: 'd = 64 with its best λ against d = 8192',
        paper: 'about as good',
        ours: losses.map((loss) => `${loss.name}, ${ours(narrowest(loss))}, ${ours(widest(loss))} %`).join('; '),
      },
      { ...paperCifar, projectorDim: 8192, views: 1 },
    ),
    ...(dataset === 'cifar10' ? losses : []).map((loss) => {
      const { best, width } = widest(loss)
      const what = `${loss.name}, solo-learn: ResNet-18, 1000 epochs, online probe; here d = ${width}`
      return compare(best, { what, paper: loss.soloLearn, ours: meanAndSpread(accuracies(best)) }, soloLearn)
    }),
  ]
}

const plotOf = ({ objective, name, pairs }: Loss, accuracies: Accuracies, y: { title: string }): Plot => ({
  name: objective,
  title: `Accuracy by projector width, ${name}`,
  spec: lines(
    (['best', 'fixed'] as const).map((which) => ({
      name: which === 'best' ? 'best λ of each width' : "the baseline's λ",
      dashed: which === 'fixed',
      points: pairs.flatMap((pair) => {
        const values = finite(accuracies(pair[which]))
        return values.length ? [meanPoint(pair.width, values)] : []
      }),
    })),
    { x: { title: 'projector width d', log: true }, y },
  ),
})

async function run(context: Context): Promise<Analysis> {
  const results = await context.runs(projectorArms(context))
  const accuracies: Accuracies = (arm) => finalAccuracies(resultsOf(results, [arm])[0])
  const losses = lossesOf(context)
  return {
    claims: losses.flatMap((loss) => claimsOf(loss, accuracies)),
    table: finalTable(results),
    figures: figuresOf(losses, accuracies, context),
    plots: losses.map((loss) => plotOf(loss, accuracies, accuracyAxis(results))),
    notes: ['Whiskers: smallest and largest of the seeds.'],
  }
}

export const projector: Experiment = {
  name: 'projector',
  title: 'Small projectors',
  claim:
    'A small projector with a stronger orthogonality constraint is as good as a huge one: d = 64 with its best λ is about as good as d = 8192.',
  protocol: `Two views; equal data, epochs and readout. Each width runs with the λ that the paper found best for it and with the λ that the paper’s baseline uses for all widths (Barlow Twins 0.0004, on ImageNet-100 0.001; VICReg 750). As good means at most ${MARGIN} point below. The narrowest and the widest projector of the scale take the place of 64 and 8192.`,
  seeds: { tiny: 10, small: 3, full: 3 },
  arms: projectorArms,
  run,
}
