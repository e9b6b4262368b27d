/** Pretraining with a run folder on disk. */
import {
  pretrain as pretrainInStore,
  type PretrainOptions as StoreOptions,
  type PretrainResult,
} from '../run/pretrain.js'
import { checkFolder } from './files.js'
import { checkHoldsRun, runFolder } from './run_folder.js'
import { readInitialWeights } from './weights.js'

export interface PretrainOptions extends Omit<StoreOptions, 'out'> {
  /** Folder for checkpoints, metrics and the summary; without it nothing is written. */
  out?: string
}

/**
 * Pretrains a network on a data set, as `pretrain` in train/run/ does, with the run's files in a folder. Reads the
 * weights that the option `init` names, unless `initial` holds them.
 *
 * @throws ConfigError if the configuration does not fit the data, or the folder does not hold the run to resume;
 *   DivergedError, which names the step, if the loss is not finite
 */
export async function pretrain({ out, ...given }: PretrainOptions): Promise<PretrainResult> {
  const { init } = given.config
  const reads = init !== undefined && !given.initial && !given.resume
  const options = { ...given, ...(reads && { initial: await readInitialWeights(init) }) }
  if (out === undefined) return pretrainInStore(options)
  await checkFolder('`out`', out)
  if (options.resume) checkHoldsRun(out)
  return pretrainInStore({ ...options, out: runFolder(out) })
}
