/** Whether accidents of the research code matter: no ReLU after the stem, batch-norm over all views jointly. */
import { intervals } from '../../charts.js'
import { fidelityArms, viewsArm } from '../arms.js'
import { finalTable } from '../curves.js'
import {
  differences,
  finals,
  judge,
  meanAndSpread,
  type Analysis,
  type Claim,
  type Context,
  type Experiment,
  type Scale,
} from '../experiment.js'

const MARGIN = 2

/** With what is in between: the usual run of the other experiments. */
const arms = (scale: Scale) => [...fidelityArms(scale), { ...viewsArm(scale, 2), name: 'ReLU, joint batch-norm' }]

async function run({ scale, runs }: Context): Promise<Analysis> {
  const results = await runs(arms(scale))
  const [research, clean] = results.map(finals)
  const claim: Claim = {
    statement: 'accuracy of the research code’s modes − of the clean ones',
    unit: 'points',
    perSeed: differences(research, clean),
    bound: { within: MARGIN },
  }
  return {
    claims: [claim],
    table: finalTable(results),
    figures: [
      {
        what: '2 views, CIFAR-10, ResNet-50, clean 1-view readout, as the research code has it',
        paper: '83.75',
        ours: meanAndSpread(research),
      },
    ],
    plots: [
      {
        name: 'difference',
        title: 'Research code less clean, with its 95 % interval',
        spec: intervals([{ name: 'research − clean', ...judge(claim).interval }], { title: 'points' }, 0),
      },
    ],
    notes: [],
  }
}

export const fidelity: Experiment = {
  name: 'fidelity',
  title: 'The research code’s accidents',
  claim: 'The paper’s figures come from a stem without ReLU and batch-norm over all views jointly; it names neither.',
  protocol: `Two views, equal in all else. Not a claim of the paper, but what its reproduction rests on: the modes should differ by no more than ${MARGIN} points.`,
  seeds: { tiny: 3, small: 3, full: 3 },
  arms,
  run,
}
