/** Whole pretraining steps: how fast, where the time goes, what they take, and how long until the first. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Engine } from '../../engine/index.js'
import { profile, type Profile } from '../../engine/profiling.js'
import { benchChunks, type ChunkResult } from './chunks.js'
import { stepPlot } from './plots.js'
import { figure, mebibytes, table, type MeasureOptions, type Report } from './report.js'
import { median, summarize, type Summary } from './statistics.js'
import { compileWorkload, nameOf, type Workload } from './workload.js'

/** Environments under which drivers keep no compiled shaders: Mesa's and NVIDIA's. */
const NO_SHADER_CACHE = { MESA_SHADER_CACHE_DISABLE: 'true', __GL_SHADER_DISK_CACHE: '0' }
/** A round takes steps for about this long. */
const ROUND_SECONDS = 0.5

/** Seconds from the start of a process to its first loss. */
export interface FirstStep {
  /** Drivers' shader caches off. */
  cold: number
  /** As the second start of a user. */
  warm: number
  /** Until everything was compiled, of `cold` and of `warm`. */
  compiled: { cold: number; warm: number }
  /** Distinct pipelines. */
  pipelines: number
}

export interface StepResult {
  name: string
  workload: Workload
  /** Seconds a step. */
  seconds: Summary
  imagesPerSecond: number
  viewsPerSecond: number
  /** By the device's clock. */
  method: Profile['method']
  kernels: { kernel: string; milliseconds: number; dispatches: number; bytes: number }[]
  /** Sum over the kernels, in milliseconds. */
  deviceMilliseconds: number
  /** What the JavaScript thread does for a step: drawing views, writing inputs, encoding, submitting; in milliseconds. */
  hostMilliseconds: Summary
  /**
   * Processor time of that thread for a step in a row of steps, in milliseconds, where the system tells: with its
   * polling for the device's completion, which Dawn does on Node.
   */
  threadMilliseconds?: number
  /** Program and Variables. */
  peakBytes: number
  dispatches: number
  /** What the dispatches bind, each counted once, for one view of one image. */
  bytesPerView: number
  firstStep?: FirstStep
}

const workload = (w: Partial<Workload>): Workload => ({
  arch: 'resnet18',
  stem: 'cifar',
  width: 64,
  batch: 16,
  views: 2,
  pixels: 32,
  precision: 'f32',
  ...w,
})

/** Steps that an adapter class can take in seconds. */
export function workloads(adapterClass: 'cpu' | 'gpu', f16: boolean, quick: boolean): Workload[] {
  const small = workload({ width: 16, batch: 32 })
  if (adapterClass === 'cpu')
    return [
      small,
      ...(quick ? [] : [4, 8].map((views) => ({ ...small, views }))),
      workload({}),
      ...(quick ? [] : [workload({ arch: 'resnet50', width: 16, batch: 8 })]),
    ]
  const precisions = f16 ? (['f32', 'f16'] as const) : (['f32'] as const)
  return [
    small,
    workload({}),
    ...precisions.flatMap((precision) => [
      ...[128, 512].map((batch) => workload({ batch, precision })),
      ...(quick ? [] : [4, 8].map((views) => workload({ batch: 128, views, precision }))),
      ...(quick ? [] : [workload({ arch: 'resnet50', batch: 128, precision })]),
      ...(quick ? [] : [workload({ arch: 'resnet50', batch: 64, pixels: 224, stem: 'imagenet', precision })]),
    ]),
  ]
}

/** Measures every step that fits; one that does not is reported as such. */
export async function benchSteps({ engine, origin, rounds, quick, only, onMessage }: MeasureOptions): Promise<Report> {
  const results: StepResult[] = []
  const refused: { name: string; reason: string }[] = []
  const chosen = workloads(engine.target.adapterClass, engine.target.f16, quick).filter(
    (w) => !only || nameOf(w).includes(only),
  )
  if (!chosen.length) throw new Error(`--only '${only}': no step is called that`)
  for (const w of chosen) {
    try {
      results.push(await measure(engine, w, rounds))
    } catch (error) {
      refused.push({ name: nameOf(w), reason: (error as Error).message })
      onMessage(`${nameOf(w)}: ${(error as Error).message}`)
      engine.check()
      continue
    }
    const result = results[results.length - 1]
    if (!quick || results.length === 1)
      result.firstStep = await firstStep(w).catch((error: Error) => {
        onMessage(`${result.name}: ${error.message}`)
        return undefined
      })
    onMessage(`${result.name}: ${figure(result.imagesPerSecond)} images/s`)
  }
  const chunks: ChunkResult[] = []
  for (const w of quick || only ? [] : [workload({ width: 16, batch: 32, views: 8 })]) {
    chunks.push(...(await benchChunks(engine, w, Math.min(rounds, 5))))
    onMessage(`${nameOf(w)}: in chunks of ${chunks.map(({ chunk }) => chunk).join(', ')} views`)
  }
  return {
    kind: 'step',
    origin,
    results: { steps: results, chunks, refused },
    markdown: markdown(results, chunks, refused),
    plots: { time: await stepPlot(results, origin) },
  }
}

async function measure(engine: Engine, w: Workload, rounds: number): Promise<StepResult> {
  const { program, inputs, release } = await compileWorkload(engine, w)
  try {
    let step = 0
    const advance = async (times: number): Promise<number> => {
      const started = performance.now()
      for (let i = 0; i < times; i++) await program.run(inputs(step++))
      await engine.idle()
      return (performance.now() - started) / 1000 / times
    }
    await advance(1)
    const times = Math.max(1, Math.min(50, Math.round(ROUND_SECONDS / (await advance(1)))))
    const seconds: number[] = []
    const host: number[] = []
    const thread: number[] = []
    for (let round = 0; round < rounds; round++) {
      const before = threadTime()
      seconds.push(await advance(times))
      if (before !== undefined) thread.push((threadTime()! - before) / times)
      // Nothing is in flight now, so that the run waits for nothing but its own encoding.
      const started = performance.now()
      await program.run(inputs(step++))
      host.push(performance.now() - started)
      await engine.idle()
    }
    const measured = await profile(program, inputs(step), { rounds: Math.min(rounds, 5) })
    const total = summarize(seconds)
    const kernels = byKernel(measured)
    return {
      name: nameOf(w),
      workload: w,
      seconds: total,
      imagesPerSecond: w.batch / total.median,
      viewsPerSecond: (w.views * w.batch) / total.median,
      method: measured.method,
      kernels,
      deviceMilliseconds: kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0),
      hostMilliseconds: summarize(host),
      ...(thread.length && { threadMilliseconds: median(thread) }),
      peakBytes: program.peakBytes + program.plan.memory.variableBytes,
      dispatches: program.dispatches,
      bytesPerView: kernels.reduce((sum, { bytes }) => sum + bytes, 0) / (w.views * w.batch),
    }
  } finally {
    release()
  }
}

/** Processor time of the JavaScript thread so far, in milliseconds; undefined where the system does not tell. */
function threadTime(): number | undefined {
  try {
    const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')
    return Number(nanoseconds) / 1e6
  } catch {
    return undefined
  }
}

/** Time, dispatches and bytes of each kernel of a program, the slowest first. */
export function byKernel({ dispatches }: Pick<Profile, 'dispatches'>): StepResult['kernels'] {
  const families = new Map<string, StepResult['kernels'][number]>()
  for (const { kernel, microseconds, bytes } of dispatches) {
    const family = families.get(kernel) ?? { kernel, milliseconds: 0, dispatches: 0, bytes: 0 }
    family.milliseconds += microseconds / 1000
    family.dispatches++
    family.bytes += bytes
    families.set(kernel, family)
  }
  return [...families.values()].sort((a, b) => b.milliseconds - a.milliseconds)
}

/** Three processes: one without drivers' caches, one that fills them, one that finds them full. */
async function firstStep(w: Workload): Promise<FirstStep> {
  const cold = await takeFirstStep(w, NO_SHADER_CACHE)
  await takeFirstStep(w, {})
  const warm = await takeFirstStep(w, {})
  return {
    cold: cold.seconds,
    warm: warm.seconds,
    compiled: { cold: cold.compileSeconds, warm: warm.compileSeconds },
    pipelines: warm.pipelines,
  }
}

function takeFirstStep(
  w: Workload,
  environment: Record<string, string>,
): Promise<{ seconds: number; compileSeconds: number; pipelines: number }> {
  const script = fileURLToPath(new URL('first_step.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script, JSON.stringify(w)], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (text: Buffer) => (output += text.toString()))
  child.stderr.on('data', (text: Buffer) => (errors += text.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      const line = output.split('\n').find((text) => text.startsWith('{'))
      if (code === 0 && line)
        resolve(JSON.parse(line) as { seconds: number; compileSeconds: number; pipelines: number })
      else reject(new Error(`the first step failed: ${/^\w*Error.*$/m.exec(errors)?.[0] ?? `exit code ${code}`}`))
    })
  })
}

function markdown(
  results: readonly StepResult[],
  chunks: readonly ChunkResult[],
  refused: readonly { name: string; reason: string }[],
): string {
  const rows = results.map((r) => [
    r.name,
    `${figure(1000 * r.seconds.median)} [${figure(1000 * r.seconds.low)}–${figure(1000 * r.seconds.high)}]`,
    figure(r.imagesPerSecond),
    figure(r.viewsPerSecond),
    figure(r.deviceMilliseconds),
    `${figure(r.hostMilliseconds.median)} (${((r.hostMilliseconds.median / r.seconds.median) * 0.1).toFixed(1)} %)`,
    r.threadMilliseconds === undefined
      ? ''
      : `${figure(r.threadMilliseconds)} (${((r.threadMilliseconds / r.seconds.median) * 0.1).toFixed(1)} %)`,
    mebibytes(r.peakBytes),
    String(r.dispatches),
    mebibytes(r.bytesPerView),
    r.firstStep ? `${figure(r.firstStep.cold)} / ${figure(r.firstStep.warm)}` : '',
    r.firstStep ? String(r.firstStep.pipelines) : '',
  ])
  const header = [
    'step',
    'ms [quartiles]',
    'images/s',
    'views/s',
    'device ms',
    'host ms',
    'thread ms',
    'peak memory',
    'dispatches',
    'bytes a view',
    'first step, s, cold / warm',
    'pipelines',
  ]
  return [
    '## Pretraining steps',
    'Device ms is the sum over the dispatches, each in a pass of its own; host ms is what the JavaScript thread does for ' +
      "a step, and its share of the step; thread ms is that thread's processor time and its share, looking for completion included; bytes a view are those that the dispatches bind, each counted once.",
    table(header, rows),
    ...(chunks.length
      ? [
          '### Views at once and in chunks, batch-norm by view',
          table(
            ['step', 'views in memory', 'ms [quartiles]', 'memory beside the network'],
            chunks.map(({ name, chunk, seconds, peakBytes }) => [
              name,
              String(chunk),
              `${figure(1000 * seconds.median)} [${figure(1000 * seconds.low)}–${figure(1000 * seconds.high)}]`,
              mebibytes(peakBytes),
            ]),
          ),
        ]
      : []),
    ...refused.map(({ name, reason }) => `Left out: ${name}: ${reason}`),
    ...results.map((r) =>
      [
        `### ${r.name}: time by kernel`,
        table(
          ['kernel', 'ms', 'share', 'dispatches', 'GB/s'],
          r.kernels.map(({ kernel, milliseconds, dispatches, bytes }) => [
            kernel,
            figure(milliseconds),
            `${((100 * milliseconds) / r.deviceMilliseconds).toFixed(1)} %`,
            String(dispatches),
            figure(bytes / milliseconds / 1e6),
          ]),
        ),
      ].join('\n\n'),
    ),
  ].join('\n\n')
}
