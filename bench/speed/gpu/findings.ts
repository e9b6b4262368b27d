/** What the measurements of `bench gpu` say: shares of ceilings, time to win, and bubbles between dispatches. */
import type { TraceEvent } from '../../../engine/profiling.js'
import type { Ceilings } from '../ceilings.js'
import type { KernelTime, StepResult } from '../step.js'

/** Shares of the adapter's ceilings, in [0, 1]; undefined where a kernel does none of that work or a ceiling is unknown. */
export interface Shares {
  /** Of multiply-adds in f32. */
  fma?: number
  /** Of the matrix units. */
  matrix?: number
  /** Of a copy. */
  memory: number
}

const usesMatrices = (kernel: string): boolean => kernel.includes('matrix')

/** Shares of the time of some dispatches of one kernel. */
export function sharesOf({ kernel, milliseconds, flops, bytes }: KernelTime, ceilings: Ceilings): Shares {
  const gflops = flops / milliseconds / 1e6
  const memory = bytes / milliseconds / 1e6 / ceilings.copy
  if (!flops) return { memory }
  if (!usesMatrices(kernel)) return { fma: gflops / ceilings.f32, memory }
  return { ...(ceilings.subgroupMatrix && { matrix: gflops / ceilings.subgroupMatrix }), memory }
}

export interface Win {
  kernel: string
  op: string
  constants: string
  dispatches: number
  milliseconds: number
  shares: Shares
  /** Milliseconds of a step that would be won if the kernel reached its nearest ceiling. */
  win: number
}

/** The pipelines of a step with the most time to win. */
export function timeToWin({ pipelines }: Pick<StepResult, 'pipelines'>, ceilings: Ceilings, most = 10): Win[] {
  return pipelines
    .map((one) => {
      const shares = sharesOf(one, ceilings)
      const nearest = Math.min(1, Math.max(shares.fma ?? 0, shares.matrix ?? 0, shares.memory))
      const constants = Object.entries(one.constants).map(([name, value]) => `${name} ${value}`)
      return {
        ...{ kernel: one.kernel, op: one.op, constants: constants.join(', '), dispatches: one.dispatches },
        ...{ milliseconds: one.milliseconds, shares, win: one.milliseconds * (1 - nearest) },
      }
    })
    .sort((a, b) => b.win - a.win)
    .slice(0, most)
}

/** The step with the longest time on the device, of each precision. */
export function largestSteps(steps: readonly StepResult[]): StepResult[] {
  return (['f32', 'f16'] as const).flatMap((precision) => {
    const some = steps.filter(({ workload }) => workload.precision === precision)
    return some.sort((a, b) => b.deviceMilliseconds - a.deviceMilliseconds).slice(0, 1)
  })
}

/** Time in which the device waits between two dispatches. */
export interface Bubble {
  /** Microseconds. */
  wait: number
  before: string
  after: string
}

export interface Bubbles {
  /** Microseconds from the first beginning to the last end, and those in which no dispatch ran. */
  span: number
  idle: number
  dispatches: number
  /** The longest ones. */
  longest: Bubble[]
}

/** The bubbles of a traced step. Each dispatch has a compute pass of its own there, so real steps have smaller ones. */
export function bubblesOf(events: readonly TraceEvent[], most = 10): Bubbles | undefined {
  if (!events.length) return undefined
  const sorted = [...events].sort((a, b) => a.ts - b.ts)
  const bubbles: Bubble[] = []
  let [idle, end] = [0, sorted[0].ts]
  sorted.forEach(({ name, cat, ts, dur }, i) => {
    const wait = ts - end
    if (i > 0 && wait > 0) {
      idle += wait
      const { name: earlier, cat: kernel } = sorted[i - 1]
      bubbles.push({ wait, before: `${earlier} (${kernel})`, after: `${name} (${cat})` })
    }
    end = Math.max(end, ts + dur)
  })
  const longest = bubbles.sort((a, b) => b.wait - a.wait).slice(0, most)
  return { span: end - sorted[0].ts, idle, dispatches: events.length, longest }
}
