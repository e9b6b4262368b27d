/** Which measure without labels tells good runs from bad ones: rank correlations with the probe, over kept readings. */
import { canonicalJson } from '../../train/config/canonical_json.js'
import type { Reading } from '../runs/cached.js'
import { mean, rankCorrelation } from '../report/statistics.js'
import { figure } from '../report/text.js'
import type { Table } from './experiment.js'

/** What is known of a finished run. */
export interface RankedRun {
  config: Readonly<Record<string, unknown>>
  reading: Reading
}

/** Each measure, signed so that higher should be better. */
const MEASURES: Readonly<Record<string, (reading: Reading) => number | undefined>> = {
  RankMe: ({ rankMe }) => rankMe,
  LiDAR: ({ lidar }) => lidar,
  '−|α − 1|': ({ alpha }) => alpha && -Math.abs(alpha - 1),
  '−α': ({ alpha }) => alpha && -alpha,
  'effective rank': ({ effectiveRank }) => effectiveRank,
}

/** Fewer runs say nothing about ranks. */
const LEAST = 4

/** Runs that differ in λ alone. */
function familiesOf(runs: readonly RankedRun[]): RankedRun[][] {
  const families = new Map<string, RankedRun[]>()
  for (const run of runs) {
    const key = canonicalJson({ ...run.config, lambda: 0 })
    families.set(key, [...(families.get(key) ?? []), run])
  }
  return [...families.values()].filter((family) => family.length >= LEAST)
}

/**
 * For each measure: Spearman's correlation with linear top-1 over all runs; its mean within families of runs that differ in λ
 * alone; and how much accuracy is lost in a family if the measure chooses λ.
 */
export function ranksTable(runs: readonly RankedRun[]): Table {
  const top1 = (list: readonly RankedRun[]): number[] => list.map(({ reading }) => reading.top1)
  return {
    header: [
      'measure',
      'runs',
      'rank correlation',
      'families of λ',
      'within a family',
      'points lost by its choice of λ',
    ],
    rows: Object.entries(MEASURES).map(([name, of]) => {
      const known = runs.filter(({ reading }) => of(reading) !== undefined)
      const values = (list: readonly RankedRun[]): number[] => list.map(({ reading }) => of(reading)!)
      const families = familiesOf(known)
      const correlation = (list: readonly RankedRun[]): number => rankCorrelation(values(list), top1(list))
      const lost = families.map((family) => {
        const chosen = values(family).indexOf(Math.max(...values(family)))
        return 100 * (Math.max(...top1(family)) - top1(family)[chosen])
      })
      const text = (list: readonly number[]): string => (list.length ? figure(mean(list)) : '–')
      return [
        name,
        String(known.length),
        known.length < LEAST ? '–' : figure(correlation(known)),
        String(families.length),
        text(families.map(correlation).filter(Number.isFinite)),
        text(lost),
      ]
    }),
  }
}
