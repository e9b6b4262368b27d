/**
 * A Slurm cluster of this machine alone, for tests: munge, the controller and a node as processes of this user (root), in a
 * folder of their own, without systemd.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const programs = ['munged', 'slurmctld', 'slurmd', 'sbatch', 'squeue', 'scontrol']

/** Why this machine cannot be a cluster; undefined if it can. */
export function whyNoSlurm(): string | undefined {
  if (process.getuid?.() !== 0) return 'Slurm needs root here'
  const missing = programs.find((name) => spawnSync('which', [name]).status !== 0)
  return missing && `${missing} is missing: apt install slurm-wlm munge`
}

/** Why `srun` cannot start ranks here; undefined if it can. */
export function whyNoPmix(): string | undefined {
  const plugins = spawnSync('sh', ['-c', 'ls /usr/lib/*/libpmix.so /usr/lib/*/slurm*/mpi_pmix.so']).status === 0
  const isOpenMpi = spawnSync('mpirun.openmpi', ['--version']).status === 0
  return plugins && isOpenMpi ? undefined : 'it needs: apt install libpmix-dev openmpi-bin'
}

export interface SlurmCluster {
  /** What a process needs to find the cluster. */
  readonly env: { SLURM_CONF: string }
  /** Runs a command of Slurm. */
  run(command: string, args: string[]): void
  stop(): Promise<void>
}

const configuration = (folder: string, host: string, ports: readonly [number, number]): string => `
ClusterName=test
SlurmctldHost=${host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=${folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd.pid
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool
SlurmctldLogFile=${folder}/slurmctld.log
SlurmdLogFile=${folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
JobRequeue=1
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2,batch_sched_delay=0
KillWait=30
NodeName=${host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=${host} Default=YES MaxTime=INFINITE State=UP
`

/** Starts a cluster; takes about two seconds. @throws Error if it does not come up within 20 seconds */
export async function startSlurm(): Promise<SlurmCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'slurm-'))
  // The node's programs look into it under other names than root.
  chmodSync(folder, 0o755)
  for (const name of ['state', 'spool', 'munge']) mkdirSync(join(folder, name))
  const host = hostname().split('.')[0]
  const at = (name: string): string => join(folder, name)
  writeFileSync(at('munge/key'), randomBytes(1024), { mode: 0o400 })
  const base = 20_000 + (process.pid % 10_000) * 2
  writeFileSync(at('slurm.conf'), configuration(folder, host, [base, base + 1]))
  const env = { SLURM_CONF: at('slurm.conf') }
  const children: ChildProcess[] = []
  const start = (name: string, args: string[]): void => {
    const log = openSync(at(`${name}.out`), 'a')
    children.push(spawn(name, args, { stdio: ['ignore', log, log], env: { ...process.env, ...env } }))
  }
  const stop = async (): Promise<void> => {
    // The controller ends last, so that the node can say goodbye.
    for (const child of [...children].reverse()) {
      if (child.exitCode === null) child.kill('SIGTERM')
      for (let tries = 0; child.exitCode === null && child.signalCode === null && tries < 100; tries++) await sleep(50)
      if (child.exitCode === null) child.kill('SIGKILL')
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    const socket = at('munge/socket')
    start('munged', [
      '--force',
      '--foreground',
      `--key-file=${at('munge/key')}`,
      `--socket=${socket}`,
      `--pid-file=${at('munge/pid')}`,
      `--log-file=${at('munge/log')}`,
      `--seed-file=${at('munge/seed')}`,
    ])
    await until('munge', () => existsSync(socket))
    start('slurmctld', ['-D', '-f', env.SLURM_CONF])
    start('slurmd', ['-D', '-f', env.SLURM_CONF, '-N', host])
    await until('the node', () =>
      /idle/.test(spawnSync('sinfo', ['-h', '-o', '%T'], { env: { ...process.env, ...env } }).stdout?.toString()),
    )
    const run = (command: string, args: string[]): void =>
      void execFileSync(command, args, { env: { ...process.env, ...env } })
    return { env, run, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (holds()) return
    await sleep(100)
  }
  throw new Error(`Slurm: ${what} does not come up`)
}
