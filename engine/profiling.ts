/** Profiling: how long each dispatch of a program takes, by the device's own clock if it has one. */
import type { Constants } from './kernel.js'
import type { Dispatch } from './plan.js'
import type { Program } from './program.js'
import type { TypedArray } from './leaves.js'

/** One dispatch of the program. */
export interface DispatchProfile {
  /** The name of the op that recorded it. */
  readonly op: string
  readonly kernel: string
  readonly constants: Constants
  readonly workgroups: readonly [number, number, number]
  /** Bytes of all its bindings: what it moves at least, if it uses all of them. */
  readonly bytes: number
  /** Multiplications and additions of a product; 0 for dispatches whose time is that of their bytes. */
  readonly flops: number
  /** The median over the rounds. */
  readonly microseconds: number
  /** Microseconds from the beginning of the last round's first dispatch to the beginning of this one. */
  readonly start: number
  /** Microseconds that it took in the last round. */
  readonly duration: number
}

export interface Profile {
  readonly label: string
  /**
   * 'timestamps': the device's clock around each dispatch. 'submissions': wall time of each dispatch submitted alone.
   */
  readonly method: 'timestamps' | 'submissions'
  readonly rounds: number
  readonly dispatches: readonly DispatchProfile[]
}

/** WebGPU's largest query set has 4,096 queries, and a dispatch takes two. */
const DISPATCHES_PER_SET = 2048
const RESOLVE_USAGE = 0x200 | 0x04 // QUERY_RESOLVE | COPY_SRC

/** Begin and end of every dispatch, in microseconds. */
type Timeline = { begin: number; end: number }[]

/**
 * Replays a program with each dispatch timed. It warms up with one run first. Updates take effect in all these runs,
 * and outputs are those of the last.
 *
 * @param inputs as `program.run` takes them
 * @throws EngineError if the device fails
 */
export async function profile(
  program: Program,
  inputs: Readonly<Record<string, TypedArray>> = {},
  { rounds = 5 }: { rounds?: number } = {},
): Promise<Profile> {
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new RangeError(`profile: rounds ${rounds} must be a whole number of at least 1`)
  const { engine, plan } = program
  const timestamps = engine.device.features.has('timestamp-query')
  await program.run(inputs) // warms up
  await engine.idle()
  const timelines: Timeline[] = []
  const clock = timestamps ? new DeviceClock(program) : undefined
  try {
    for (let round = 0; round < rounds; round++)
      timelines.push(clock ? await clock.time(inputs) : await timeSubmissions(program, inputs))
  } finally {
    clock?.destroy()
  }
  const last = timelines[rounds - 1]
  return {
    label: plan.label,
    method: timestamps ? 'timestamps' : 'submissions',
    rounds,
    dispatches: plan.dispatches.map((dispatch, i) => ({
      op: dispatch.op,
      kernel: dispatch.kernel,
      constants: dispatch.constants,
      workgroups: dispatch.workgroups,
      bytes: bytesOf(dispatch),
      flops: dispatch.flops,
      microseconds: median(timelines.map((t) => t[i].end - t[i].begin)),
      start: last[i].begin - last[0].begin,
      duration: last[i].end - last[i].begin,
    })),
  }
}

/** Times each dispatch in a compute pass of its own, by the device's clock before and after it. */
class DeviceClock {
  private readonly sets: GPUQuerySet[]
  private readonly resolved: GPUBuffer

  constructor(private readonly program: Program) {
    const { engine, dispatches } = program
    const counts = Array.from({ length: Math.ceil(dispatches / DISPATCHES_PER_SET) }, (_, k) =>
      Math.min(DISPATCHES_PER_SET, dispatches - k * DISPATCHES_PER_SET),
    )
    this.sets = counts.map((n) => engine.device.createQuerySet({ type: 'timestamp', count: 2 * n }))
    this.resolved = engine.createBuffer(Math.max(16, 16 * dispatches), RESOLVE_USAGE, 'timestamps')
  }

  async time(inputs: Readonly<Record<string, TypedArray>>): Promise<Timeline> {
    const { program, sets, resolved } = this
    const { engine, dispatches } = program
    await program.replay(inputs, (encoder) => {
      for (let i = 0; i < dispatches; i++) {
        const query = 2 * (i % DISPATCHES_PER_SET)
        const pass = encoder.beginComputePass({
          timestampWrites: {
            querySet: sets[Math.floor(i / DISPATCHES_PER_SET)],
            beginningOfPassWriteIndex: query,
            endOfPassWriteIndex: query + 1,
          },
        })
        program.encode(pass, i, i + 1)
        pass.end()
      }
      // The timestamps of 2,048 dispatches are 32 KiB, so every set resolves to an aligned offset.
      sets.forEach((set, k) => encoder.resolveQuerySet(set, 0, set.count, resolved, 16 * DISPATCHES_PER_SET * k))
    })
    const words = await engine.readBuffer(resolved, 0, 16 * dispatches, 'u32')
    const nanoseconds = new BigUint64Array(words.buffer, words.byteOffset, 2 * dispatches)
    const first = nanoseconds[0]
    const microseconds = Array.from(nanoseconds, (t) => Number(BigInt.asIntN(64, t - first)) / 1000)
    // With a coarse clock, the end may appear one tick before the beginning.
    return Array.from({ length: dispatches }, (_, i) => ({
      begin: microseconds[2 * i],
      end: Math.max(microseconds[2 * i], microseconds[2 * i + 1]),
    }))
  }

  destroy(): void {
    for (const set of this.sets) set.destroy()
    this.resolved.destroy()
  }
}

/** Without the device's clock: submits each dispatch alone and waits for it, which adds the time of a round trip. */
async function timeSubmissions(program: Program, inputs: Readonly<Record<string, TypedArray>>): Promise<Timeline> {
  const { engine, dispatches } = program
  // The inputs are written before the first dispatch.
  await program.replay(inputs, () => undefined)
  await engine.idle()
  const timeline: Timeline = []
  for (let i = 0; i < dispatches; i++) {
    const encoder = engine.device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    program.encode(pass, i, i + 1)
    pass.end()
    const commands = encoder.finish()
    const begin = performance.now() * 1000
    void engine.submissions.submit(commands)
    await engine.idle()
    timeline.push({ begin, end: performance.now() * 1000 })
  }
  return timeline
}

/** Bytes of a dispatch's bindings. */
const bytesOf = ({ bindings }: Dispatch): number => bindings.reduce((sum, { bytes }) => sum + bytes, 0)

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** A complete event of the Trace Event Format; times in microseconds. */
export interface TraceEvent {
  readonly name: string
  readonly cat: string
  readonly ph: 'X'
  readonly ts: number
  readonly dur: number
  readonly pid: number
  readonly tid: number
  readonly args: Readonly<Record<string, unknown>>
}

/**
 * The last round of a profile as a file for chrome://tracing or Perfetto (Trace Event Format, JSON object form): one
 * complete event for each dispatch, with its kernel as the category.
 */
export function traceEvents(profile: Profile): {
  traceEvents: TraceEvent[]
  displayTimeUnit: 'ms'
  otherData: Readonly<Record<string, string>>
} {
  return {
    traceEvents: profile.dispatches.map(({ op, kernel, constants, workgroups, bytes, start, duration }) => ({
      name: op,
      cat: kernel,
      ph: 'X',
      ts: start,
      dur: duration,
      pid: 1,
      tid: 1,
      args: { kernel, workgroups: workgroups.join('×'), bytes, constants },
    })),
    displayTimeUnit: 'ms',
    otherData: { program: profile.label, clock: profile.method },
  }
}
