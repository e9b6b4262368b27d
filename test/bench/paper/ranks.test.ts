/** Rank correlations of measures without labels with the probe. */
import { expect, test } from 'vitest'
import { ranksTable, type RankedRun } from '../../../bench/paper/ranks.js'

const run = (lambda: number, seed: number, top1: number, rankMe?: number): RankedRun => ({
  config: { lambda, seed },
  reading: { ...{ step: 1, epoch: 1, seconds: 1, views: 1, top5: 1, testCount: 10 }, top1, rankMe },
})

test('over all runs, within runs that differ in λ alone, and what a choice by the measure loses', () => {
  const runs = [
    // RankMe follows the accuracy.
    ...[0.1, 0.2, 0.3, 0.4].map((top1, i) => run(i, 1, top1, 10 * top1)),
    // RankMe goes against it: its choice is 3 points below the best.
    ...[0.33, 0.32, 0.31, 0.3].map((top1, i) => run(i, 2, top1, 5 + i)),
    run(9, 3, 0.9),
  ]
  const { header, rows } = ranksTable(runs)
  expect(header).toHaveLength(6)
  const [rankMe, lidar] = rows
  expect(rankMe[0]).toBe('RankMe')
  expect(rankMe[1]).toBe('8')
  expect(rankMe[3]).toBe('2')
  expect(Number(rankMe[4].replace('−', '-'))).toBe(0)
  expect(Number(rankMe[5])).toBeCloseTo(1.5, 6)
  expect(lidar.slice(1)).toEqual(['0', '–', '0', '–', '–'])
})
