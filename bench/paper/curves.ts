/** Accuracy against epochs and against time, for runs that were read at every checkpoint. */
import { meanPoint, type ChartSeries } from '../report/charts.js'
import { finite, mean } from '../report/statistics.js'
import { meanAndSpread } from '../report/text.js'
import type { Reading } from '../runs/cached.js'
import { epochsOf, finalAccuracies, minutesOf, viewsRead } from './arm_results.js'
import type { ArmResult, Table } from './experiment.js'

/** A line through the mean accuracy over seeds at each checkpoint, in %. Whiskers: smallest and largest of the seeds. */
export function curveOf({ arm, seeds }: ArmResult, x: 'epoch' | 'minutes'): ChartSeries {
  const lists = seeds.map(({ readings }) => readings).filter((list) => list.length > 0)
  const count = Math.max(0, ...lists.map((list) => list.length))
  const points = Array.from({ length: count }, (_, i) => {
    const at = lists.flatMap((list) => list.slice(i, i + 1))
    return meanPoint(
      mean(at.map(({ epoch, seconds }) => (x === 'epoch' ? epoch : seconds / 60))),
      at.map(({ top1 }) => 100 * top1),
    )
  })
  return { name: arm.name, points }
}

/**
 * Linear accuracy in % after a time of training, in seconds. Interpolates linearly between checkpoints, and returns the
 * last accuracy for times after the end of the run.
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
 * Seconds of training until the linear accuracy first reaches a value in %. Interpolates linearly between checkpoints,
 * and returns the time of the first checkpoint if that has the accuracy already.
 *
 * @returns Infinity if no checkpoint reaches it
 */
export function secondsTo(readings: readonly Reading[], accuracy: number): number {
  const at = readings.findIndex(({ top1 }) => 100 * top1 >= accuracy)
  if (at < 0) return Infinity
  if (at === 0) return readings[0].seconds
  const [a, b] = [readings[at - 1], readings[at]]
  const share = (accuracy / 100 - a.top1) / (b.top1 - a.top1)
  return a.seconds + share * (b.seconds - a.seconds)
}

/** The axis of accuracies; its title says how many views were read. */
export const accuracyAxis = (results: readonly ArmResult[]): { title: string } => ({
  title: `linear top-1, %, ${viewsRead(results)}`,
})

/** Final accuracies and times of arms. */
export function finalTable(results: readonly ArmResult[]): Table {
  return {
    header: ['', 'linear top-1, %', 'kNN-20, %', 'epochs', 'minutes', 'seeds', 'views read'],
    rows: results.map((result) => [
      result.arm.name,
      meanAndSpread(finalAccuracies(result)),
      meanAndSpread(finalAccuracies(result, 'knn20')),
      meanAndSpread(finite(epochsOf(result)).slice(0, 1), 0),
      meanAndSpread(minutesOf(result)),
      String(finite(finalAccuracies(result)).length),
      String(result.arm.readout.views),
    ]),
  }
}
