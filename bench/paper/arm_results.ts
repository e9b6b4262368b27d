/** Values of arms by seed. */
import type { Reading } from '../runs/cached.js'
import type { Arm, ArmResult } from './experiment.js'

/** The results of these arms, in their order. */
export const resultsOf = (results: readonly ArmResult[], arms: readonly Arm[]): ArmResult[] =>
  arms.map(({ name }) => results.find(({ arm }) => arm.name === name)!)

/** `16 views`: the views averaged for each image. Accuracies with different numbers of views cannot be compared. */
export function viewsRead(results: readonly { arm: Arm }[]): string {
  const counts = [...new Set(results.map(({ arm }) => arm.readout.views))].sort((a, b) => a - b)
  return `${counts.join(' or ')} view${counts.length === 1 && counts[0] === 1 ? '' : 's'}`
}

const lastOf = ({ seeds }: ArmResult, value: (reading: Reading) => number | undefined): number[] =>
  seeds.map(({ readings }) => {
    const last = readings.at(-1)
    return (last && value(last)) ?? NaN
  })

/** Accuracy at the last checkpoint in %, by seed; NaN if there is none. Linear top-1 unless stated otherwise. */
export const finalAccuracies = (result: ArmResult, which: 'top1' | 'knn20' = 'top1'): number[] =>
  lastOf(result, (reading) => 100 * (reading[which] ?? NaN))

/** Minutes of training, by seed; NaN if there are no readings. */
export const minutesOf = (result: ArmResult): number[] => lastOf(result, ({ seconds }) => seconds / 60)

/** Epochs at the last checkpoint, by seed; NaN if there are no readings. */
export const epochsOf = (result: ArmResult): number[] => lastOf(result, ({ epoch }) => epoch)

/** a − b by seed. */
export const differences = (a: readonly number[], b: readonly number[]): number[] => a.map((v, i) => v - b[i])
