/** Attacks on the server of `npm run watch` while it follows a run that trains. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Purpose, RandomStream } from '../../engine/index.js'
import { encodeRecords } from '../../train/data/cifar_records.js'
import { attackServer, type AttackResult } from './server_attacks.js'

export interface AttackedServer {
  attacks: AttackResult[]
  /** Steps per second of the run before the attacks and during them. */
  stepsPerSecond: { before: number; during: number }
  /** Largest resident memory of the server before and during the attacks, MiB; NaN where the system does not tell. */
  memory: { before: number; during: number }
  /** Connections and files that the server holds after the attacks in addition to those before; NaN as above. */
  leftOpen: number
  /** Steps whose loss was compared with that of a run without a server. */
  stepsCompared: number
  sameBits: boolean
  /** Exit codes of the run and the server after SIGTERM. */
  codes: { run: number | null; server: number | null }
}

const IMAGES = 24
const BASELINE_MS = 10_000
const SECRET = 'the secret of the disk'

const start = (...args: string[]): ChildProcess =>
  spawn(process.execPath, ['--import', 'tsx', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })

/** Resolves with the match when the process has written it to its output. */
function says(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  let text = ''
  return new Promise((resolve, reject) => {
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (bytes: Buffer) => {
        text += bytes.toString()
        const found = pattern.exec(text)
        if (found) resolve(found)
      })
    child.on('close', (code) => reject(new Error(`ended with ${code}: ${text.trim().split('\n').pop()}`)))
  })
}

function stop(child: ChildProcess): Promise<number | null> {
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  child.kill('SIGTERM')
  return ended
}

/** A run writes its first line soon after it has said that it takes the first step. */
const textOf = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '')

interface Line {
  step: number
  loss: number
  lr: number
}
const linesOf = (run: string): Line[] =>
  textOf(join(run, 'metrics.jsonl'))
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line)

const stepsOf = (run: string): number => linesOf(run).at(-1)?.step ?? 0

/** MiB, from /proc. */
function memoryOf({ pid }: ChildProcess, field: 'VmRSS' | 'VmHWM'): number {
  try {
    return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  } catch {
    return NaN
  }
}

function filesOf({ pid }: ChildProcess): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return NaN
  }
}

export async function attackServers(
  { seed }: { seed: number },
  onAttack: (result: AttackResult) => void,
): Promise<AttackedServer> {
  const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-servers-'))
  const children: ChildProcess[] = []
  const begin = (...args: string[]): ChildProcess => {
    const child = start(...args)
    children.push(child)
    return child
  }
  try {
    const [data, runs] = [join(folder, 'data'), join(folder, 'runs')]
    mkdirSync(data)
    writeFileSync(join(folder, 'secret.txt'), SECRET)
    const random = new RandomStream(seed, Purpose.subset)
    const pixels = Uint8Array.from({ length: IMAGES * 3072 }, () => random.integer(256))
    const labels = Array.from({ length: IMAGES }, (_, i) => i % 10)
    writeFileSync(join(data, 'data_batch_1.bin'), encodeRecords(pixels, labels))
    const pretraining = (name: string): ChildProcess =>
      begin(
        ...['train/cli/pretrain.ts', '--data-dir', data, '--width', '4', '--image-size', '8', '--views', '2'],
        ...['--projector-dim', '8', '--batch', '8', '--epochs', '1000000', '--checkpoint-every', '1000', '--no-tune'],
        ...['--out', join(runs, name)],
      )
    const run = pretraining('attacked')
    await says(run, /^step /m)
    const server = begin('train/cli/watch.ts', runs, '--port', '0')
    const [, port] = await says(server, /http:\/\/127\.0\.0\.1:(\d+)\//)
    const rate = async (work: Promise<unknown>): Promise<number> => {
      const [from, begun] = [stepsOf(join(runs, 'attacked')), performance.now()]
      await work
      return (1000 * (stepsOf(join(runs, 'attacked')) - from)) / (performance.now() - begun)
    }
    const before = await rate(sleep(BASELINE_MS))
    const memoryBefore = memoryOf(server, 'VmRSS')
    const filesBefore = filesOf(server)
    const attacking = attackServer(
      {
        ...{ port: Number(port), secret: SECRET, secretPath: join(folder, 'secret.txt') },
        ...{ seed, share: 1, patienceMs: 30_000 },
      },
      onAttack,
    )
    const during = await rate(attacking)
    // Connections that were just closed are still being taken down.
    await sleep(1000)
    const memory = { before: memoryBefore, during: memoryOf(server, 'VmHWM') }
    const leftOpen = filesOf(server) - filesBefore
    const codes = { run: await stop(run), server: await stop(server) }
    const lone = pretraining('lone')
    const wanted = Math.min(1000, stepsOf(join(runs, 'attacked')))
    await says(lone, /^step /m)
    while (stepsOf(join(runs, 'lone')) < wanted && lone.exitCode === null) await sleep(200)
    await stop(lone)
    const [attacked, alone] = ['attacked', 'lone'].map((name) =>
      linesOf(join(runs, name))
        .slice(0, wanted)
        .map(({ step, loss, lr }) => [step, loss, lr].join(' ')),
    )
    return {
      ...{ attacks: await attacking, stepsPerSecond: { before, during }, memory, leftOpen, codes },
      stepsCompared: wanted,
      sameBits: attacked.join('\n') === alone.join('\n'),
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
