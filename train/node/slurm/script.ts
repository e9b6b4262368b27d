/**
 * Batch scripts. A job saves its run when its time ends or when Slurm takes its nodes, goes back to the queue and resumes
 * there.
 */
import type { SlurmOptions } from './options.js'

/** Seconds before a job's time ends at which Slurm warns it. Slurm looks once a minute, so the warning may come sooner. */
export const WARNING_SECONDS = 120

/** The exit code of a command that has saved its run after SIGTERM. */
const SAVED = 143

export interface ArrayJob {
  name: string
  /** Tasks of the array, numbered from 0. */
  count: number
  /** At most so many of them run at once. */
  most?: number
  /** File of a task's output; `%a` is its number. */
  log: string
  /** The command of a task and its arguments. Its last argument, the number of the task, follows. */
  command: readonly string[]
  options: SlurmOptions
  warningSeconds?: number
}

export interface NodesJob {
  name: string
  nodes: number
  /** Processes on each node, one for each of its GPUs. */
  ranksPerNode: number
  log: string
  command: readonly string[]
  /** The command that continues the run. */
  resume: readonly string[]
  /** This file exists if the run has begun. */
  begun: string
  options: SlurmOptions
  warningSeconds?: number
}

/** A word as bash reads it back. */
export const quoted = (word: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

const words = (command: readonly string[]): string => command.map(quoted).join(' ')

/** A name that Slurm shows in its queue. */
const nameOf = (text: string): string => text.replace(/[^A-Za-z0-9_.-]+/g, '-').slice(0, 64) || 'webgpu-ssl'

function head(lines: readonly (readonly [string, string | true])[], { sbatch, setup }: SlurmOptions): string[] {
  const own = Object.fromEntries(lines)
  return [
    '#!/bin/bash',
    ...Object.entries({ ...own, ...sbatch }).map(([name, given]) =>
      given === true ? `#SBATCH --${name}` : `#SBATCH --${name}=${/\s/.test(given) ? `"${given}"` : given}`,
    ),
    '',
    ...setup,
  ]
}

/**
 * Runs a command in the background, because bash handles a signal only while it waits. `again` is set when Slurm has
 * warned that the time ends.
 */
const waitFor = (command: string): string[] => [
  'again= signalled=1',
  '# The traps come first: a signal may arrive as soon as the command runs.',
  `trap 'again=1 signalled=1; kill -TERM $! 2> /dev/null' USR2`,
  `trap 'signalled=1; kill -TERM $! 2> /dev/null' TERM INT`,
  `${command} &`,
  'work=$!',
  '# A signal ends `wait` before the command ends.',
  'while [ -n "$signalled" ]; do signalled=; wait $work; code=$?; done',
]

/** After a warning a run that has saved goes back to the queue. If Slurm took the nodes, it does this itself. */
const requeue = (job: string): string[] => [
  `if [ -n "$again" ] && [ $code = ${SAVED} ]; then`,
  '  echo "the time of this job ends: the run is saved and goes back to the queue"',
  `  scontrol requeue "${job}"`,
  'fi',
  'exit $code',
  '',
]

/** The script of a job array: one task for each run. */
export function arrayScript(job: ArrayJob): string {
  const { name, count, most, log, command, options, warningSeconds = WARNING_SECONDS } = job
  return [
    ...head(
      [
        ['job-name', nameOf(name)],
        ['array', `0-${count - 1}${most ? `%${most}` : ''}`],
        ['output', log],
        ['open-mode', 'append'],
        ['requeue', true],
        // B: Slurm warns this script, which passes the signal on.
        ['signal', `B:USR2@${warningSeconds}`],
      ],
      options,
    ),
    ...waitFor(`${words(command)} "$SLURM_ARRAY_TASK_ID"`),
    ...requeue('${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}'),
  ].join('\n')
}

/** The script of one run on several nodes: `srun` starts a process for each rank. */
export function nodesScript(job: NodesJob): string {
  const { name, nodes, ranksPerNode, log, begun, options, warningSeconds = WARNING_SECONDS } = job
  return [
    ...head(
      [
        ['job-name', nameOf(name)],
        ['nodes', String(nodes)],
        ['ntasks-per-node', String(ranksPerNode)],
        ['output', log],
        ['open-mode', 'append'],
        ['requeue', true],
        ['signal', `B:USR2@${warningSeconds}`],
      ],
      options,
    ),
    `if [ -e ${quoted(begun)} ]; then`,
    `  set -- ${words(job.resume)}`,
    'else',
    `  set -- ${words(job.command)}`,
    'fi',
    ...waitFor('srun --mpi=pmix "$@"'),
    ...requeue('$SLURM_JOB_ID'),
  ].join('\n')
}
