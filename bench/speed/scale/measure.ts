/** Measures ranks on this machine: as one host, and as two hosts with a cable between them. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { RankResult, RankSettings } from './rank_process.js'

/** Where the ranks are. */
export interface Place {
  readonly name: string
  /** Nominal bytes per second between them, where the cable has a limit. */
  readonly speed?: number
  /** Limit of the cable between two hosts; '' for none; absent: one host. */
  readonly rate?: string
}

export const PLACES: readonly Place[] = [
  { name: 'one host' },
  { name: 'two hosts', rate: '' },
  { name: 'two hosts, 1 Gbit/s', rate: '1gbit', speed: 125e6 },
]

export interface Measured extends RankResult {
  readonly place: Place
}

const launchers = [
  { command: 'mpirun.openmpi', options: ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none'] },
  { command: 'mpirun', options: [] },
]
const hostsScript = fileURLToPath(new URL('hosts.sh', import.meta.url))
const program = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? 'rank_process.ts' : 'rank_process.js', import.meta.url),
)
const node = [process.execPath, ...(program.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : []), program]

const isInstalled = (command: string): boolean => spawnSync(command, ['--version']).status === 0

/** Why several ranks cannot be measured in a place; undefined if they can. */
export function missingFor({ rate }: Place): string | undefined {
  if (rate === undefined)
    return launchers.some(({ command }) => isInstalled(command)) ? undefined : 'mpirun is not installed'
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'two hosts on one machine need Linux and root'
  if (!isInstalled('mpirun.openmpi') || spawnSync('ip', ['-V']).status !== 0 || !existsSync(hostsScript))
    return 'two hosts on one machine need Open MPI, iproute2 and a clone of the repository'
  return undefined
}

/** @throws Error in one line if the ranks fail */
export function measureRanks(place: Place, ranks: number, settings: RankSettings): Measured {
  const own = [...node, JSON.stringify(settings)]
  const run = (command: string, args: readonly string[]): Measured => {
    const { status, stdout, stderr } = spawnSync(command, args, {
      encoding: 'utf8',
      env: { ...process.env, NODE_NO_WARNINGS: '1', PMIX_MCA_gds: 'hash' },
      maxBuffer: 2 ** 24,
    })
    const line = stdout?.split('\n').find((text) => text.startsWith('{'))
    if (status !== 0 || line === undefined)
      throw new Error(`${ranks} ranks, ${place.name}: ${stderr?.trim().split('\n').at(-1) ?? `exit code ${status}`}`)
    return { ...(JSON.parse(line) as RankResult), place }
  }
  if (ranks === 1) return run(own[0], own.slice(1))
  if (place.rate === undefined) {
    const { command, options } = launchers.find((launcher) => isInstalled(launcher.command))!
    return run(command, [...options, '-np', String(ranks), ...own])
  }
  spawnSync(hostsScript, ['down'])
  const up = spawnSync(hostsScript, ['up', ...(place.rate ? [place.rate] : [])], { encoding: 'utf8' })
  try {
    if (up.status !== 0) throw new Error(`${place.name}: ${up.stderr.trim().split('\n').at(-1)}`)
    return run(hostsScript, ['mpirun', ...own])
  } finally {
    spawnSync(hostsScript, ['down'])
  }
}
