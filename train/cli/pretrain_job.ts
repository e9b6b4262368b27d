/** `pretrain --slurm`: submits a run to Slurm, on one node or several, instead of making it here. */
import { mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { ConfigError } from '../config/config.js'
import { writeAtomically } from '../node/files.js'
import { ownCommand } from '../node/own_command.js'
import { nodesScript } from '../node/slurm/script.js'
import { submitScript } from '../node/slurm/slurm.js'
import { CONFIG_FILE } from '../run/folder.js'
import { readOptions, type PretrainCliOptions } from './pretrain_options.js'
import { givenOptions, slurmNames, slurmOf } from './slurm_options.js'

/** Options that a run which continues takes again; the others are in its folder. */
const AGAIN = [
  'out',
  'adapter',
  'csv',
  'tensorboard',
  'maxMinutes',
  'keep',
  'keepWeights',
  'debugNan',
  'tune',
  'dataDir',
  'stream',
]

/**
 * Submits the run, or prints its script with `--dry-run`.
 *
 * @throws ConfigError in one line if the options do not describe a run; Error with what sbatch says
 */
export async function submitPretraining(command: Command, options: PretrainCliOptions): Promise<void> {
  const { out, nodes = 1, ranksPerNode = 1, dryRun } = options
  if (out === undefined) throw new ConfigError('--slurm: the job resumes from a folder: give --out')
  const begun = join(out, CONFIG_FILE)
  // A wrong option is reported here, and not by a job that starts tomorrow.
  await readOptions({ ...options, resume: options.resume ?? existsSync(begun) }, false)
  const start = ownCommand('pretrain')
  const log = join(out, 'slurm.log')
  const script = nodesScript({
    ...{ name: basename(out), nodes, ranksPerNode, log, begun, options: await slurmOf(options) },
    command: [...start, ...givenOptions(command, (name) => name !== 'resume' && !slurmNames.includes(name))],
    resume: [...start, '--resume', ...givenOptions(command, (name) => AGAIN.includes(name))],
  })
  if (dryRun) return console.log(script)
  await mkdir(out, { recursive: true })
  const file = join(out, 'slurm.sh')
  await writeAtomically(file, script)
  const id = await submitScript(file)
  console.log(`job ${id}: its output goes to ${log}; scancel ${id} ends it`)
  console.error(`Follow it: npx webgpu-ssl watch ${out}`)
}

/** @throws Error in one line if options about jobs are given without `--slurm` */
export function refuseJobOptions(options: PretrainCliOptions): void {
  const given = slurmNames.find((name) => options[name as keyof PretrainCliOptions] !== undefined)
  if (given) throw new ConfigError(`\`${given}\`: belongs to \`slurm\``)
}
