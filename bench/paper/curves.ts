/** Accuracy against epochs and against time, of runs that were read at every checkpoint. */
import type { Reading } from '../runs/runs.js'
import type { ChartSeries } from '../runs/charts.js'
import { finals, known, meanAndSpread, viewsRead, type ArmResult, type Table } from './experiment.js'
import { mean } from '../runs/intervals.js'

/** A line through the means over seeds at each checkpoint, in %, with whiskers from least to most. */
export function curveOf({ arm, seeds }: ArmResult, x: 'epoch' | 'minutes'): ChartSeries {
  const lists = seeds.map(({ readings }) => readings).filter((list) => list.length > 0)
  const count = Math.max(0, ...lists.map((list) => list.length))
  const points = Array.from({ length: count }, (_, i) => {
    const at = lists.flatMap((list) => list.slice(i, i + 1))
    const values = at.map(({ top1 }) => 100 * top1)
    return {
      x: mean(at.map(({ epoch, seconds }) => (x === 'epoch' ? epoch : seconds / 60))),
      y: mean(values),
      low: Math.min(...values),
      high: Math.max(...values),
    }
  })
  return { name: arm.name, points }
}

/**
 * Linear accuracy in % after so many seconds of training, between checkpoints by linear interpolation; the last one's
 * beyond the run's end.
 *
 * @returns NaN before the first checkpoint
 */
export function accuracyAt(readings: readonly Reading[], seconds: number): number {
  const after = readings.findIndex((r) => r.seconds >= seconds)
  if (after < 0) return 100 * (readings.at(-1)?.top1 ?? NaN)
  const b = readings[after]
  if (b.seconds === seconds) return 100 * b.top1
  if (after === 0) return NaN
  const a = readings[after - 1]
  return 100 * (a.top1 + ((seconds - a.seconds) / (b.seconds - a.seconds)) * (b.top1 - a.top1))
}

/**
 * Seconds of training until a linear accuracy (in %) is first reached, between checkpoints by linear interpolation; the
 * first checkpoint's where that has it already.
 *
 * @returns Infinity where it never is
 */
export function secondsTo(readings: readonly Reading[], accuracy: number): number {
  const at = readings.findIndex(({ top1 }) => 100 * top1 >= accuracy)
  if (at < 0) return Infinity
  if (at === 0) return readings[0].seconds
  const [a, b] = [readings[at - 1], readings[at]]
  const share = (accuracy / 100 - a.top1) / (b.top1 - a.top1)
  return a.seconds + share * (b.seconds - a.seconds)
}

/** Minutes of training, by seed. */
export const minutesOf = ({ seeds }: ArmResult): number[] =>
  seeds.map(({ readings }) => (readings.at(-1)?.seconds ?? NaN) / 60)

/** An accuracy of the last checkpoint in %, by seed; NaN where there is none. */
export const lastOf = ({ seeds }: ArmResult, which: 'top1' | 'knn20'): number[] =>
  seeds.map(({ readings }) => 100 * (readings.at(-1)?.[which] ?? NaN))

/** The axis of accuracies, with how they were read. */
export const accuracyAxis = (results: readonly ArmResult[]): { title: string } => ({
  title: `linear top-1, %, ${viewsRead(results)}`,
})

/** Final accuracies and times of arms. */
export function finalTable(results: readonly ArmResult[]): Table {
  const epochs = ({ seeds }: ArmResult): number[] => seeds.map(({ readings }) => readings.at(-1)?.epoch ?? NaN)
  return {
    header: ['', 'linear top-1, %', 'kNN-20, %', 'epochs', 'minutes', 'seeds', 'views read'],
    rows: results.map((result) => [
      result.arm.name,
      meanAndSpread(finals(result)),
      meanAndSpread(lastOf(result, 'knn20')),
      meanAndSpread(known(epochs(result)).slice(0, 1), 0),
      meanAndSpread(minutesOf(result)),
      String(known(finals(result)).length),
      String(result.arm.readout.views),
    ]),
  }
}
