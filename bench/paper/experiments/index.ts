/**
 * All experiments, in the order in which their runs are made: first those of the paper that decide the most statistics for
 * their time, our own comparison with the research code last.
 */
import { ConfigError } from '../../../train/config/config.js'
import type { Experiment, Setup } from '../experiment.js'
import { autoLambda } from './auto_lambda.js'
import { dynamics } from './dynamics.js'
import { fidelity } from './fidelity.js'
import { fraction } from './fraction.js'
import { kernelCompetition } from './kernel_competition.js'
import { kernelLosses } from './kernel_losses.js'
import { kernelViews } from './kernel_views.js'
import { lambda } from './lambda.js'
import { pareto } from './pareto.js'
import { projector } from './projector.js'
import { related } from './related.js'
import { timeTo } from './time_to.js'
import { views } from './views.js'

export const experiments: readonly Experiment[] = [
  dynamics,
  kernelCompetition,
  kernelViews,
  kernelLosses,
  views,
  timeTo,
  projector,
  fraction,
  pareto,
  fidelity,
  lambda,
  autoLambda,
  related,
]

/**
 * The experiments with a name, as far as the paper has runs for the setup.
 *
 * @param wanted the name of an experiment, the first word of several names, or 'all'
 * @throws ConfigError if the paper has no such runs, or if the scale or folder does not fit the data set
 */
export function experimentsFor(wanted: string, setup: Setup): Experiment[] {
  const { scale, dataset, dataDir } = setup
  if (dataset !== 'cifar10' && scale !== 'full')
    throw new ConfigError(`--dataset ${dataset}: needs --scale full; --scale ${scale} uses cifar10 only`)
  if (dataset === 'imagenet100' && dataDir === undefined)
    throw new ConfigError('--dataset imagenet100: needs --data-dir, the folder that holds train/ and val/')
  const available = experiments.filter(({ arms, apart }) => dataset === 'cifar10' || (!apart && arms(setup).length > 0))
  const chosen = available.filter(({ name, apart }) =>
    wanted === 'all' ? !apart : name === wanted || name.startsWith(`${wanted}-`),
  )
  if (chosen.length === 0)
    throw new ConfigError(
      `${wanted}: the paper has no runs for this experiment on ${dataset}; it has ${available.map(({ name }) => name).join(', ')}`,
    )
  return chosen
}
