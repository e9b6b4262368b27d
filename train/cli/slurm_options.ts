/** The options of commands that submit jobs to Slurm. */
import { Option, type Command } from 'commander'
import { overlaySlurm, readSlurmFile, slurmOptions, type SlurmOptions } from '../node/slurm/options.js'

export interface SlurmCliOptions {
  partition?: string
  gres?: string
  time?: string
  account?: string
  slurmFile?: string
  dryRun?: boolean
}

/** Adds the options of a job. */
export const withSlurm = (command: Command): Command =>
  command
    .addOption(new Option('--partition <name>', 'Slurm: the partition of the job').helpGroup('Slurm:'))
    .addOption(
      new Option('--gres <list>', 'Slurm: what each node gives the job, for example gpu:1').helpGroup('Slurm:'),
    )
    .addOption(
      new Option(
        '--time <limit>',
        'Slurm: limit of a job, for example 4:00:00; a run that needs longer is saved, queued again and resumed',
      ).helpGroup('Slurm:'),
    )
    .addOption(new Option('--account <name>', 'Slurm: the account that pays').helpGroup('Slurm:'))
    .addOption(
      new Option(
        '--slurm-file <file>',
        'Slurm: YAML with options of sbatch by their long names, and `setup`: lines of bash that the job runs first',
      ).helpGroup('Slurm:'),
    )
    .addOption(new Option('--dry-run', 'Slurm: print the script and submit nothing').helpGroup('Slurm:'))

/** The options of a job: those of the command line win over those of the file. @throws ConfigError in one line */
export async function slurmOf({ partition, gres, time, account, slurmFile }: SlurmCliOptions): Promise<SlurmOptions> {
  const given = slurmOptions({ partition, gres, time, account })
  return slurmFile === undefined ? given : overlaySlurm(await readSlurmFile(slurmFile), given)
}

/** Options of `sbatch`, and of this command about jobs. */
export const slurmNames = [
  'slurm',
  'nodes',
  'ranksPerNode',
  'partition',
  'gres',
  'time',
  'account',
  'slurmFile',
  'dryRun',
]

/**
 * The options that the command line gives, as words of a command line.
 *
 * @param takes whether an option is taken, by its name in code
 */
export function givenOptions(command: Command, takes: (name: string) => boolean): string[] {
  return command.options.flatMap((option) => {
    const name = option.attributeName()
    const value: unknown = command.getOptionValue(name)
    // Commander knows `--x` and `--no-x` under one name.
    const isMeant = option.negate ? value === false : value !== false
    if (!takes(name) || !isMeant || command.getOptionValueSource(name) !== 'cli') return []
    return option.required || option.optional ? [option.long!, String(value)] : [option.long!]
  })
}
