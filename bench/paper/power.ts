/** How many seeds decide a claim, from the spread of seeds that were run before. */
import { studentQuantile, type Bound } from '../report/intervals.js'
import { deviation, finite, mean } from '../report/statistics.js'
import { figure } from '../report/text.js'
import { boundText } from './claims.js'
import type { JudgedClaim, Result, Table } from './experiment.js'

/** The 0.9-quantile of the normal distribution: a claim is decided with a probability of about 90 %. */
const POWER = 1.2816
/** More seeds than this count as too many. */
const MOST = 1000

/** Distance of a value from the nearest end of the expected range. */
const distanceOf = (value: number, bound: Bound): number =>
  'above' in bound
    ? Math.abs(value - bound.above)
    : 'below' in bound
      ? Math.abs(value - bound.below)
      : Math.abs(Math.abs(value) - bound.within)

/**
 * The least n for which (t(n − 1) + z) · s / √n is at most the distance of the mean from the nearest end of the expected
 * range: half the interval, and a margin for the mean of the new seeds.
 *
 * @returns undefined if there are fewer than two values, or no number up to 1000 is enough
 */
export function seedsNeeded({ perSeed, bound }: Pick<JudgedClaim, 'perSeed' | 'bound'>): number | undefined {
  const values = finite(perSeed)
  if (values.length < 2) return undefined
  const distance = distanceOf(mean(values), bound)
  for (let n = 2; n <= MOST; n++)
    if (((studentQuantile(n - 1) + POWER) * deviation(values)) / Math.sqrt(n) <= distance) return n
  return undefined
}

/** One row for each claim of some results. */
export const powerTable = (results: readonly Result[]): Table => ({
  header: ['experiment', 'statistic', 'mean', 'spread', 'expected', 'verdict', 'seeds', 'seeds needed'],
  rows: results.flatMap(({ experiment, claims }) =>
    claims.map((claim) => {
      const values = finite(claim.perSeed)
      return [
        experiment,
        claim.statement,
        figure(mean(values)),
        figure(deviation(values)),
        boundText(claim.bound),
        claim.verdict,
        String(values.length),
        String(seedsNeeded(claim) ?? `over ${MOST}`),
      ]
    }),
  ),
})
