/** Ways in which a run is stopped, or loses its terminal: whatever it has trained must be saved. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Purpose, RandomStream } from '../../engine/index.js'
import { encodeRecords } from '../../train/data/cifar_records.js'
import { stepOf } from '../../train/run/folder.js'
import { remainsIn } from '../support/kill_loop.js'

interface Way {
  readonly name: string
  /** What a shell adds to the command. */
  readonly pipe?: string
  /** Signals to the whole group of processes, as a terminal sends them, with the milliseconds before each. */
  readonly signals: readonly (readonly [NodeJS.Signals, number])[]
  readonly code: number
  /** The second Ctrl-C ends a run at once. */
  readonly savesNothing?: true
  /** What the run trains. */
  readonly size?: readonly string[]
}

/** Steps of milliseconds. */
const SMALL = ['--width', '4', '--image-size', '8', '--views', '2', '--batch', '8']
/** Steps of seconds on a software driver. The run still waits for one when the second signal comes. */
const LARGE = ['--width', '32', '--image-size', '32', '--views', '2', '--batch', '24']

const WAYS: readonly Way[] = [
  { name: 'Ctrl-C', signals: [['SIGINT', 0]], code: 0 },
  { name: 'Ctrl-C with 2>&1 | tee log', pipe: '2>&1 | tee log', signals: [['SIGINT', 0]], code: 0 },
  { name: 'SIGTERM', signals: [['SIGTERM', 0]], code: 143 },
  { name: 'SIGHUP (the terminal closes)', signals: [['SIGHUP', 0]], code: 129 },
  { name: 'SIGQUIT (Ctrl-\\)', signals: [['SIGQUIT', 0]], code: 131 },
  {
    name: 'a log reader that ends, then SIGTERM',
    pipe: '2>&1 | head -n 3 > log',
    signals: [['SIGTERM', 0]],
    code: 143,
  },
  { name: 'a log on a full disk, then Ctrl-C', pipe: '> /dev/full 2>&1', signals: [['SIGINT', 0]], code: 1 },
  {
    name: 'Ctrl-C twice',
    signals: [
      ['SIGINT', 0],
      ['SIGINT', 400],
    ],
    code: 130,
    savesNothing: true,
    size: LARGE,
  },
]
const IMAGES = 24
/** The signal comes when so many lines of metrics have been written. */
const LINES = 5
const MS_BETWEEN_LOOKS = 20
/** A run that has not begun or ended after this time has failed. */
const LIMIT_MS = 120_000

export interface EndedRun {
  readonly way: string
  readonly code: number | null
  /** From the last signal to the end. */
  readonly seconds: number
  /** Lines of metrics, and the step of the newest checkpoint. */
  readonly steps: number
  readonly saved: number
  readonly failures: readonly string[]
}

/** @param onRun called after each run */
export async function attackEndings(
  { each, only }: { each: number; only?: string },
  onRun: (run: EndedRun) => void,
): Promise<EndedRun[]> {
  const folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-endings-'))
  try {
    const data = join(folder, 'data')
    mkdirSync(data)
    const stream = new RandomStream(1, Purpose.subset)
    const pixels = Uint8Array.from({ length: IMAGES * 3072 }, () => stream.integer(256))
    const labels = Array.from({ length: IMAGES }, (_, i) => i % 10)
    await writeFile(join(data, 'data_batch_1.bin'), encodeRecords(pixels, labels))
    const runs: EndedRun[] = []
    for (const way of WAYS) {
      if (only !== undefined && !way.name.includes(only)) continue
      if (way.pipe?.includes('/dev/full') && !existsSync('/dev/full')) continue
      for (let i = 0; i < each; i++) {
        const place = join(folder, `run-${runs.length}`)
        mkdirSync(place)
        runs.push(await endOne(way, place, data))
        onRun(runs.at(-1)!)
      }
    }
    return runs
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Starts a run as a shell does, and ends it. */
async function endOne(
  { name, pipe = '', signals, code: wanted, savesNothing, size = SMALL }: Way,
  place: string,
  data: string,
): Promise<EndedRun> {
  const out = join(place, 'run')
  const options = [
    ...['--data-dir', data, ...size, '--projector-dim', '8', '--no-tune', '--out', out],
    ...['--steps', '1000000', '--epochs', '1000000', '--checkpoint-every', '1000000'],
  ]
  const command = `"$0" engine/node/webgpu_ssl.mjs pretrain ${options.map((word) => `'${word}'`).join(' ')}`
  const redirected = `${command} ${pipe.replace('log', `'${join(place, 'log')}'`)}`
  // The shell waits for the run, as an interactive one does. Signals kill `tee` and `head`.
  const script = `trap : INT TERM HUP QUIT; ${redirected}; exit \${PIPESTATUS[0]}`
  const child = spawn('bash', ['-c', script, process.execPath], { stdio: 'ignore', detached: true })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const metrics = join(out, 'metrics.jsonl')
  const lines = (): number => (existsSync(metrics) ? readFileSync(metrics, 'utf8').split('\n').length - 1 : 0)
  const failures: string[] = []
  const begun = performance.now()
  while (lines() < LINES && child.exitCode === null && performance.now() - begun < LIMIT_MS)
    await sleep(MS_BETWEEN_LOOKS)
  if (lines() < LINES) failures.push('the run did not begin')
  let last = performance.now()
  for (const [signal, after] of signals) {
    await sleep(after)
    if (child.exitCode !== null) failures.push(`the run ended before the ${signal} could reach it`)
    last = performance.now()
    send(child.pid!, signal)
  }
  const late = setTimeout(() => {
    failures.push('the run did not end')
    send(child.pid!, 'SIGKILL')
  }, LIMIT_MS)
  const code = await ended
  clearTimeout(late)
  const seconds = (performance.now() - last) / 1000
  const checkpoints = join(out, 'checkpoints')
  const names = existsSync(checkpoints) ? readdirSync(checkpoints) : []
  const saved = Math.max(0, ...names.map((one) => stepOf(one) ?? 0))
  const steps = lines()
  if (code !== wanted) failures.push(`exit code ${code} instead of ${wanted}`)
  if (!savesNothing && saved !== steps) failures.push(`${steps} steps, but the checkpoint holds ${saved}`)
  // A run that ends at once leaves its lock, as a killed one does; the next run takes it over.
  const remains = savesNothing ? [] : await remainsIn(out)
  if (remains.length > 0) failures.push(`left: ${remains.join(', ')}`)
  return { way: name, code, seconds, steps, saved, failures }
}

function send(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal)
  } catch {
    // It has ended.
  }
}
