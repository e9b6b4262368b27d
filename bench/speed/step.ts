/** Speed of whole pretraining steps: images per second, time by kernel, memory, seconds to the first step. */
import { readFileSync } from 'node:fs'
import type { Engine } from '../../engine/index.js'
import type { Constants } from '../../engine/kernel.js'
import { profile, type Profile } from '../../engine/profiling.js'
import { median, summarize, type Summary } from '../report/statistics.js'
import { figure } from '../report/text.js'
import { measureFirstStep, type FirstStep } from './first_step.js'
import type { Measurement, MeasureOptions } from './measurement.js'
import { stepPlot } from './step_plot.js'
import { stepMarkdown } from './step_tables.js'
import { benchViewChunks, type ChunkResult } from './view_chunks.js'
import { compileWorkload, nameOf, workload, workloads, type Workload } from './workload.js'

/** A round takes steps for about this long. */
const ROUND_SECONDS = 0.5

/** Of all dispatches of a kernel in a step. */
export interface KernelTime {
  kernel: string
  milliseconds: number
  dispatches: number
  bytes: number
  /** Multiplications and additions of its products. */
  flops: number
}

export interface StepResult {
  name: string
  workload: Workload
  /** Of a step. */
  seconds: Summary
  imagesPerSecond: number
  viewsPerSecond: number
  /** How the times by kernel were measured. */
  method: Profile['method']
  kernels: KernelTime[]
  /** The same by pipeline and op, the slowest first. */
  pipelines: (KernelTime & { op: string; constants: Constants })[]
  /** Sum over the kernels. */
  deviceMilliseconds: number
  /** Work of the JavaScript thread for a step: it draws views, writes inputs, encodes and submits. */
  hostMilliseconds: Summary
  /**
   * Processor time of the JavaScript thread for a step when steps follow each other. Includes Dawn's polling for
   * completion on Node. Absent if the system does not report it.
   */
  threadMilliseconds?: number
  /** Of the program and all variables. */
  peakBytes: number
  dispatches: number
  /** Bytes that the dispatches bind, each counted once per dispatch, for one view of one image. */
  bytesPerView: number
  firstStep?: FirstStep
}

/** Measures every step that fits into memory, and reports those that do not. */
export async function benchSteps(options: MeasureOptions): Promise<Measurement> {
  const { engine, origin, rounds, quick, only, onMessage, save } = options
  const results: StepResult[] = []
  const refused: { name: string; reason: string }[] = []
  const chosen = workloads(engine.target.adapterClass, engine.target.f16, quick).filter(
    (w) => !only || nameOf(w).includes(only),
  )
  if (!chosen.length) throw new Error(`--only '${only}': no step has this text in its name`)
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
    await save?.({ steps: results, refused })
    if (!quick || results.length === 1)
      result.firstStep = await measureFirstStep(w).catch((error: Error) => {
        onMessage(`${result.name}: ${error.message}`)
        return undefined
      })
    onMessage(`${result.name}: ${figure(result.imagesPerSecond)} images/s`)
    await save?.({ steps: results, refused })
  }
  const chunks: ChunkResult[] = []
  for (const w of quick || only ? [] : [workload({ width: 16, batch: 32, views: 8 })]) {
    chunks.push(...(await benchViewChunks(engine, w, Math.min(rounds, 5))))
    onMessage(`${nameOf(w)}: in chunks of ${chunks.map(({ chunk }) => chunk).join(', ')} views`)
  }
  return {
    kind: 'step',
    origin,
    results: { steps: results, chunks, refused },
    markdown: stepMarkdown(results, chunks, refused),
    plots: { time: await stepPlot(results, origin) },
  }
}

async function measure(engine: Engine, w: Workload, rounds: number): Promise<StepResult> {
  const { program, inputs, release } = await compileWorkload(engine, w)
  try {
    let step = 0
    const secondsPerStep = async (times: number): Promise<number> => {
      const started = performance.now()
      for (let i = 0; i < times; i++) await program.run(inputs(step++))
      await engine.idle()
      return (performance.now() - started) / 1000 / times
    }
    await secondsPerStep(1)
    const times = Math.max(1, Math.min(50, Math.round(ROUND_SECONDS / (await secondsPerStep(1)))))
    const seconds: number[] = []
    const host: number[] = []
    const thread: number[] = []
    for (let round = 0; round < rounds; round++) {
      const before = threadTime()
      seconds.push(await secondsPerStep(times))
      if (before !== undefined) thread.push((threadTime()! - before) / times)
      host.push(await encodingTime(engine, () => program.run(inputs(step++))))
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
      pipelines: byPipeline(measured),
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

/** Processor time of the JavaScript thread so far, in milliseconds; undefined if the system does not report it. */
function threadTime(): number | undefined {
  try {
    const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')
    return Number(nanoseconds) / 1e6
  } catch {
    return undefined
  }
}

/**
 * Milliseconds that a run of an idle device takes to encode and to submit. The run is one submission here, because a run
 * in pieces also waits for the device between them.
 */
async function encodingTime(engine: Engine, run: () => Promise<void>): Promise<number> {
  const { piece } = engine
  engine.piece = Infinity
  try {
    const started = performance.now()
    await run()
    return performance.now() - started
  } finally {
    engine.piece = piece
  }
}

type Dispatches = Pick<Profile, 'dispatches'>

/** Time, dispatches, bytes and operations of each kernel of a program, the slowest first. */
export const byKernel = (measured: Dispatches): KernelTime[] => grouped(measured, ({ kernel }) => ({ kernel }))

/** The same for each pipeline in each op. */
export const byPipeline = (measured: Dispatches): StepResult['pipelines'] =>
  grouped(measured, ({ kernel, op, constants }) => ({ kernel, op, constants }))

function grouped<T extends { kernel: string }>(
  { dispatches }: Dispatches,
  keyOf: (dispatch: Profile['dispatches'][number]) => T,
): (T & KernelTime)[] {
  const groups = new Map<string, T & KernelTime>()
  for (const dispatch of dispatches) {
    const key = keyOf(dispatch)
    const text = JSON.stringify(key)
    const group = groups.get(text) ?? { ...key, milliseconds: 0, dispatches: 0, bytes: 0, flops: 0 }
    group.milliseconds += dispatch.microseconds / 1000
    group.dispatches++
    group.bytes += dispatch.bytes
    group.flops += dispatch.flops
    groups.set(text, group)
  }
  return [...groups.values()].sort((a, b) => b.milliseconds - a.milliseconds)
}
