/** `npm run torture`: all attacks, one after another, each with a limit of time, and one table at the end. */
import { spawn } from 'node:child_process'
import type { Command } from 'commander'
import { wholeNumber } from '../../train/cli/common.js'

interface Attack {
  readonly name: string
  readonly args: readonly string[]
  /** With `--quick`. */
  readonly quick: readonly string[]
  /** Its part of the time of all attacks. */
  readonly share: number
}

/** At the sizes that README reports, and at sizes that only show that an attack runs. */
const ATTACKS: readonly Attack[] = [
  { name: 'inputs', args: ['--cases', '100000'], quick: ['--cases', '1600'], share: 2 },
  { name: 'endings', args: ['--each', '3'], quick: ['--each', '1', '--only', 'SIG'], share: 3 },
  { name: 'servers', args: [], quick: [], share: 3 },
  { name: 'endurance', args: ['--steps', '5000'], quick: ['--steps', '500'], share: 4 },
  { name: 'shapes', args: ['--cases', '6000'], quick: ['--cases', '120'], share: 11 },
  { name: 'kills', args: ['--kills', '100'], quick: ['--kills', '12'], share: 15 },
]
const SHARES = ATTACKS.reduce((sum, { share }) => sum + share, 0)
/** Milliseconds between the request to end and the end by force. */
const GRACE_MS = 10_000

interface Options {
  minutes: number
  seed: number
  quick?: true
}

interface Ended {
  readonly outcome: string
  readonly said: string
  readonly seconds: number
}

/** Runs one attack as a process of its own, because each ends its process, and stops it when its time is over. */
function run(
  name: string,
  args: readonly string[],
  { seed, seconds }: { seed: number; seconds: number },
): Promise<Ended> {
  const script = process.argv[1]
  const begun = performance.now()
  const seeded = name === 'endings' ? [] : ['--seed', String(seed)]
  const child = spawn(process.execPath, [...process.execArgv, script, name, ...args, ...seeded], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // A group of its own, so that what it has started ends with it.
    detached: process.platform !== 'win32',
  })
  const kill = (signal: NodeJS.Signals): void => {
    try {
      process.kill(process.platform === 'win32' ? child.pid! : -child.pid!, signal)
    } catch {
      // It has just ended.
    }
  }
  let late = false
  let force: NodeJS.Timeout | undefined
  const timer = setTimeout(() => {
    late = true
    kill('SIGTERM')
    force = setTimeout(() => kill('SIGKILL'), GRACE_MS)
  }, 1000 * seconds)
  const stop = (): void => {
    kill('SIGTERM')
    process.exit(130)
  }
  process.once('SIGINT', stop).once('SIGTERM', stop)
  let out = ''
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString()
    process.stdout.write(bytes)
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      clearTimeout(force)
      // The group may hold what the attack has started.
      kill('SIGKILL')
      process.off('SIGINT', stop).off('SIGTERM', stop)
      const outcome = late ? 'stopped: its time is over' : code === 0 ? 'passed' : `FAILED (${code ?? signal})`
      const said =
        out
          .trim()
          .split('\n')
          .filter((line) => !/^(\||readings and plot)/.test(line))
          .pop() ?? ''
      resolve({ outcome, said, seconds: (performance.now() - begun) / 1000 })
    })
  })
}

async function runAll({ minutes, seed, quick }: Options): Promise<number> {
  const rows: string[] = []
  let passed = true
  for (const attack of ATTACKS) {
    console.log(`\n## ${attack.name}\n`)
    // At least as long as its share; what earlier attacks have left over is not passed on.
    const args = quick ? attack.quick : attack.args
    const { outcome, said, seconds } = await run(attack.name, args, {
      seed,
      seconds: (60 * minutes * attack.share) / SHARES,
    })
    passed &&= outcome === 'passed'
    rows.push(`| ${attack.name} | ${outcome} | ${said} | ${(seconds / 60).toFixed(1)} |`)
  }
  console.log(
    ['\n## all\n', '| attack | outcome | last line | minutes |', '| --- | --- | --- | --: |', ...rows].join('\n'),
  )
  return passed ? 0 : 1
}

export function addAll(program: Command): void {
  program
    .command('all', { isDefault: true })
    .description('all attacks, one after another, and a table at the end')
    .option(
      '--minutes <count>',
      'an attack that takes longer than its part of this time is stopped',
      wholeNumber('--minutes', 1),
      90,
    )
    .option('--seed <number>', 'seed of the cases', wholeNumber('--seed', 0), 1)
    .option('--quick', 'a few cases of each attack: whether all of them run, not what they find')
    .action(async (options: Options) => process.exit(await runAll(options)))
}
