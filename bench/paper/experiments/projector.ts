/** Claim 2 in practice: a small projector serves as well as a large one, if its orthogonality constraint is stronger. */
import { lines } from '../../charts.js'
import { projectorArms, widthsOf } from '../arms.js'
import { finalTable } from '../curves.js'
import {
  differences,
  finals,
  known,
  meanAndSpread,
  type Analysis,
  type ArmResult,
  type Context,
  type Experiment,
} from '../experiment.js'
import type { Loss } from '../scales.js'
import { mean } from '../statistics.js'

const MARGIN = 1
const LOSSES: readonly { loss: Loss; name: string }[] = [
  { loss: 'barlow-twins', name: 'Barlow Twins' },
  { loss: 'vicreg', name: 'VICReg' },
]

async function run({ scale, runs }: Context): Promise<Analysis> {
  const results = await runs(projectorArms(scale))
  /** [best, fixed] of a loss and width, in the order that the arms were named in. */
  const pairs = new Map<string, [ArmResult, ArmResult]>()
  let next = 0
  for (const { loss } of LOSSES)
    for (const width of widthsOf(scale, loss)) pairs.set(`${loss} ${width}`, [results[next++], results[next++]])
  const of = (loss: Loss, width: number): [number[], number[]] => {
    const [best, fixed] = pairs.get(`${loss} ${width}`)!
    return [finals(best), finals(fixed)]
  }
  return {
    claims: LOSSES.flatMap(({ loss, name }) => {
      const widths = widthsOf(scale, loss)
      const [small, large] = [widths[0], widths[widths.length - 1]]
      const [[best, fixed], [wide, wideFixed]] = [of(loss, small), of(loss, large)]
      return [
        {
          statement: `${name}, d = ${small}: accuracy with its own λ − with the baseline’s`,
          unit: 'points',
          perSeed: differences(best, fixed),
          bound: { above: 0 },
        },
        {
          statement: `${name}: accuracy of d = ${small} with its own λ − of the best of d = ${large}`,
          unit: 'points',
          perSeed: best.map((v, i) => v - Math.max(wide[i], wideFixed[i])),
          bound: { above: -MARGIN },
        },
      ]
    }),
    table: finalTable(results),
    figures: [
      {
        what: 'd = 64 with its best λ against d = 8192',
        paper: 'about as good',
        ours: LOSSES.map(({ loss, name }) => {
          const widths = widthsOf(scale, loss)
          const [[small], [large]] = [of(loss, widths[0]), of(loss, widths[widths.length - 1])]
          return `${name}, d = ${widths[0]}: ${meanAndSpread(small)}, d = ${widths.at(-1)}: ${meanAndSpread(large)} %`
        }).join('; '),
      },
    ],
    plots: LOSSES.map(({ loss, name }) => ({
      name: loss,
      title: `Accuracy by projector width, ${name}`,
      spec: lines(
        ["each width's λ", "the baseline's λ"].map((series, which) => ({
          name: series,
          dashed: which === 1,
          points: widthsOf(scale, loss).flatMap((width) => {
            const values = known(of(loss, width)[which])
            return values.length
              ? [{ x: width, y: mean(values), low: Math.min(...values), high: Math.max(...values) }]
              : []
          }),
        })),
        { x: { title: 'projector width d', log: true }, y: { title: 'linear top-1, %' } },
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
  protocol: `Two views, equal data, epochs and readout; at each width once with the λ that the paper found best for it and once with the one that its baseline keeps for all (Barlow Twins 0.0004, VICReg 750). As good means: not more than ${MARGIN} point below. Narrowest and widest projector of the scale stand for 64 and 8192.`,
  seeds: { tiny: 3, small: 3, full: 3 },
  arms: projectorArms,
  run,
}
