/** The options that choose where runs are made. */
import { Option, type Command } from 'commander'
import { wholeNumber } from '../../train/cli/common.js'
import { slurmOf, withSlurm, type SlurmCliOptions } from '../../train/cli/slurm_options.js'
import type { Launcher } from './launcher.js'
import { localLauncher } from './local.js'
import { slurmLauncher, type SlurmLauncherOptions } from './slurm.js'

export interface LauncherCliOptions extends SlurmCliOptions {
  launcher?: 'local' | 'slurm'
  jobs?: number
}

export const withLauncher = (command: Command): Command =>
  withSlurm(
    command
      .addOption(
        new Option(
          '--launcher <where>',
          'local: a process for each run, --jobs of them at once; slurm: a job array, one task for each run (all runs in this process)',
        ).choices(['local', 'slurm']),
      )
      .option('--jobs <n>', 'runs at once (1; slurm: as many as the cluster allows)', wholeNumber('--jobs', 1)),
  )

/** The options of a job, if `--launcher slurm` is given. @throws Error in one line if the options contradict each other */
export async function slurmLauncherOf(options: LauncherCliOptions): Promise<SlurmLauncherOptions | undefined> {
  const { launcher, jobs } = options
  if (launcher === 'slurm') return { slurm: await slurmOf(options), most: jobs }
  const given = (['partition', 'gres', 'time', 'account', 'slurmFile', 'dryRun'] as const).filter(
    (name) => options[name],
  )
  if (given.length) throw new Error(`\`${given[0]}\`: belongs to --launcher slurm`)
  if (!launcher && jobs !== undefined) throw new Error('--jobs: belongs to --launcher local or slurm')
  return undefined
}

/** The launcher that the options choose; undefined if runs are made in this process. */
export const launcherOf = (
  { launcher, jobs = 1 }: LauncherCliOptions,
  slurm?: SlurmLauncherOptions,
): Launcher | undefined => (slurm ? slurmLauncher(slurm) : launcher === 'local' ? localLauncher(jobs) : undefined)
