/** One long pretraining run, as a user starts it, and whether anything in it grows. */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { median } from '../../../bench/report/statistics.js'
import { Purpose, RandomStream } from '../../../engine/index.js'
import { encodeRecords } from '../../../train/data/cifar_records.js'
import { remainsIn } from '../../support/kill_loop.js'
import { slopeOf, type Ending, type Reading, type Slope } from './readings.js'

const IMAGES = 256
const BATCH = 16
const READINGS = 200
/** The share of the run after which nothing may grow: checkpoints have been written, and V8 has compiled the loop. */
const WARM_UP = 0.2
/** Growth over the run, as a share of the mean, that counts as noise even if its sign is certain. */
const NOISE = 0.02
/** Most seconds from the last line of the run to its exit. */
const EXIT_SECONDS = 2

/**
 * What a process that has nothing left to do still lists: the closing of its last file, which has just completed, and the
 * pipes of stdout and stderr.
 */
const HARMLESS = ['CloseReq', 'PipeWrap', 'PipeWrap']

/** Quantities of a reading that must stay flat, in bytes. */
export const sizes = ['resident', 'heap', 'deviceBytes'] as const

export interface Endured {
  steps: number
  seconds: number
  readings: Reading[]
  slopes: Record<(typeof sizes)[number], Slope>
  /** Seconds from the last line of the run to its exit. */
  exitSeconds: number
  /** What kept the process alive at its exit. */
  resources: string[]
  /** Locks and temporary files that are left. */
  remains: string[]
  /** What grew or was left, in words. */
  failures: string[]
}

/** The readings after the warm-up. */
export const settled = ({ readings, steps }: Pick<Endured, 'readings' | 'steps'>): Reading[] =>
  readings.filter(({ step }) => step >= WARM_UP * steps)

/** Trains for `steps` steps. */
export async function endure(steps: number, seed: number): Promise<Endured> {
  const folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-endurance-'))
  try {
    const data = join(folder, 'data')
    await mkdir(data)
    const random = new RandomStream(seed, Purpose.subset)
    for (const name of ['data_batch_1.bin', 'test_batch.bin']) {
      const pixels = Uint8Array.from({ length: IMAGES * 3072 }, () => random.integer(256))
      const labels = Array.from({ length: IMAGES }, (_, i) => i % 10)
      await writeFile(join(data, name), encodeRecords(pixels, labels))
    }
    return await train(folder, data, steps)
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function train(folder: string, data: string, steps: number): Promise<Endured> {
  const [out, file] = [join(folder, 'run'), join(folder, 'readings.jsonl')]
  const epochs = Math.ceil((steps * BATCH) / IMAGES)
  const args = [
    ...[
      '--data-dir',
      data,
      '--out',
      out,
      '--epochs',
      String(epochs),
      '--steps',
      String(steps),
      '--batch',
      String(BATCH),
      '--no-tune',
    ],
    ...['--width', '4', '--image-size', '8', '--views', '2', '--projector-dim', '8', '--ema-rate', '0.9'],
    // Twenty checkpoints, with all that happens at them.
    ...['--checkpoint-every', String(Math.max(1, Math.round(epochs / 20))), '--online-probe', '--csv', '--tensorboard'],
  ]
  const preload = new URL('./watch.ts', import.meta.url).href
  const begun = performance.now()
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', '--import', preload, 'train/cli/pretrain.ts', ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ENDURANCE_READINGS: file,
        ENDURANCE_METRICS: join(out, 'metrics.jsonl'),
        ENDURANCE_EVERY: String(steps / READINGS),
      },
    },
  )
  let [stderr, lastLine] = ['', 0]
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => {
      lastLine = performance.now()
      if (stream === child.stderr) stderr += text.toString()
    })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', resolve)
  })
  const ended = performance.now()
  if (code !== 0) throw new Error(`the run ended with exit code ${code}: ${stderr.trim().split('\n').pop()}`)
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
  const { resources } = JSON.parse(lines.pop()!) as Ending
  const readings = lines.map((line) => JSON.parse(line) as Reading)
  const last = readings.at(-1)?.step ?? 0
  if (last < steps * 0.95) throw new Error(`the last reading is that of step ${last} of ${steps}`)
  const late = settled({ readings, steps })
  const slope = (key: (typeof sizes)[number]): Slope =>
    slopeOf(late.map((reading) => ({ step: reading.step, value: reading[key] })))
  const endured: Endured = {
    steps,
    seconds: (ended - begun) / 1000,
    readings,
    slopes: { resident: slope('resident'), heap: slope('heap'), deviceBytes: slope('deviceBytes') },
    exitSeconds: (ended - lastLine) / 1000,
    resources: beyond(resources, HARMLESS),
    remains: await remainsIn(out),
    failures: [],
  }
  endured.failures.push(...failuresOf(endured))
  return endured
}

/** The names that are in `list` more often than in `allowed`. */
function beyond(list: readonly string[], allowed: readonly string[]): string[] {
  const left = [...allowed]
  return list.filter((name) => {
    const at = left.indexOf(name)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}

/** What a run must not have. */
export function failuresOf(endured: Omit<Endured, 'failures'>): string[] {
  const { steps, slopes, resources, remains, exitSeconds } = endured
  const late = settled(endured)
  const failures: string[] = []
  for (const key of sizes) {
    const centre = median(late.map((reading) => reading[key]))
    if ((slopes[key].low * steps) / 1000 > NOISE * centre)
      failures.push(`${key} grows by ${slopes[key].perThousand.toFixed(0)} bytes in 1,000 steps`)
  }
  // Readings at a checkpoint have more, so medians of the first and of the last half are compared.
  const half = Math.floor(late.length / 2)
  for (const key of ['deviceBytes', 'deviceBuffers', 'openFiles', 'pipelines'] as const) {
    const [before, after] = [late.slice(0, half), late.slice(-half)].map((list) => median(list.map((r) => r[key])))
    if (after > before) failures.push(`${key} grows from ${before} to ${after}`)
  }
  if (resources.length) failures.push(`at the exit there are ${resources.join(', ')}`)
  if (remains.length) failures.push(`the run leaves ${remains.join(', ')}`)
  if (exitSeconds > EXIT_SECONDS) failures.push(`the process ends ${exitSeconds.toFixed(1)} s after its last line`)
  return failures
}
