/** What is read during a long run, and whether it grows. */
import { studentQuantile } from '../../../bench/report/intervals.js'
import { mean } from '../../../bench/report/statistics.js'

export interface Reading {
  step: number
  /** Resident memory of the process, in bytes. */
  resident: number
  /** JavaScript objects and what they hold, in bytes, after a collection of garbage. */
  heap: number
  /** Buffers that the engine has made and not destroyed. */
  deviceBytes: number
  deviceBuffers: number
  /** Made so far. */
  bindGroups: number
  pipelines: number
  openFiles: number
}

/** The last line: when the process exits, and what it still waits for. */
export interface Ending {
  ended: number
  resources: string[]
}

export interface Slope {
  /** Bytes in each 1,000 steps, with the 95 % interval. */
  perThousand: number
  low: number
  high: number
}

/** Neighbouring readings are not independent, so the interval comes from the means of this many blocks. */
const BLOCKS = 12

/** The slope of readings over steps, by least squares over the means of blocks. */
export function slopeOf(points: readonly { step: number; value: number }[]): Slope {
  const size = points.length / BLOCKS
  if (size < 1) throw new RangeError(`slopeOf: ${points.length} readings: needs at least ${BLOCKS}`)
  const blocks = Array.from({ length: BLOCKS }, (_, i) =>
    points.slice(Math.round(i * size), Math.round((i + 1) * size)),
  )
  const x = blocks.map((block) => mean(block.map(({ step }) => step)) / 1000)
  const y = blocks.map((block) => mean(block.map(({ value }) => value)))
  const [centreX, centreY] = [mean(x), mean(y)]
  const spread = x.reduce((sum, v) => sum + (v - centreX) ** 2, 0)
  const slope = x.reduce((sum, v, i) => sum + (v - centreX) * (y[i] - centreY), 0) / spread
  const residual = y.reduce((sum, v, i) => sum + (v - centreY - slope * (x[i] - centreX)) ** 2, 0)
  const half = studentQuantile(BLOCKS - 2) * Math.sqrt(residual / (BLOCKS - 2) / spread)
  return { perThousand: slope, low: slope - half, high: slope + half }
}
