/** The checkpoint that `--run` and `--checkpoint` name. */
import { join } from 'node:path'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import { checkFiles, readCheckpoint, validCheckpoints } from '../run/checkpoint_record.js'
import { checkpointPath, stepOf } from '../run/folder.js'
import { openRun, runFolder, type Checkpoint } from '../node/run_folder.js'
import { say } from './common.js'

/**
 * Chooses a checkpoint of a run: the newest, or the one with a given name or step.
 *
 * @param wanted as a user gives it: `step-00000390` or `390`
 * @throws ConfigError in one line that lists the steps of the checkpoints
 */
export async function chooseCheckpoint(
  folder: string,
  wanted?: string,
): Promise<{ config: PretrainConfig; checkpoint: Checkpoint }> {
  const { config, latest } = await openRun(folder, { onMessage: say })
  if (!latest)
    throw new ConfigError(`--run ${folder}: holds no checkpoint yet; let it reach one, or stop it with Ctrl-C`)
  if (wanted === undefined) return { config, checkpoint: latest }
  const store = runFolder(folder)
  const names = await validCheckpoints(store)
  const found = names.find((one) => one === wanted || (/^\d+$/.test(wanted) && stepOf(one) === Number(wanted)))
  if (found === undefined)
    throw new ConfigError(
      `--checkpoint ${wanted}: the run in ${folder} has no checkpoint with that name or step; it has those of the steps ${names.map(stepOf).join(', ')}`,
    )
  const chosen = await readCheckpoint(store, found)
  await checkFiles(store, chosen, 'read')
  const { name, ...progress } = chosen
  return { config, checkpoint: { ...progress, folder: join(folder, checkpointPath(name)) } }
}
