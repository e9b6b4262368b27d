/** The experiments by name; `pareto` comes last, for it takes in what the others have run. */
import { ConfigError } from '../../../train/config/config.js'
import type { Experiment, Setup } from '../experiment.js'
import { dynamics } from './dynamics.js'
import { fidelity } from './fidelity.js'
import { fraction } from './fraction.js'
import { pareto } from './pareto.js'
import { projector } from './projector.js'
import { timeTo } from './time_to.js'
import { views } from './views.js'

export const experiments: readonly Experiment[] = [dynamics, views, timeTo, fraction, projector, fidelity, pareto]

/**
 * The experiments of that name, or all that the paper has runs of.
 *
 * @param wanted a name, or 'all'
 * @throws ConfigError where the paper has none on the data set, or the data set is not to be had
 */
export function experimentsFor(wanted: string, setup: Setup): Experiment[] {
  const { scale, dataset, dataDir } = setup
  if (dataset !== 'cifar10' && scale !== 'full')
    throw new ConfigError(`--dataset ${dataset}: is for --scale full; --scale ${scale} takes cifar10 alone`)
  if (dataset === 'imagenet100' && dataDir === undefined)
    throw new ConfigError('--dataset imagenet100: say where its folders train/ and val/ are with --data-dir')
  const there = experiments.filter((experiment) => dataset === 'cifar10' || experiment.arms(setup).length > 0)
  const chosen = there.filter(({ name }) => wanted === 'all' || name === wanted)
  if (chosen.length === 0)
    throw new ConfigError(
      `${wanted}: the paper has no runs for it on ${dataset}; there are ${there.map(({ name }) => name).join(', ')}`,
    )
  return chosen
}
