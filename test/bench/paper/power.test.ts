/** The number of seeds that a claim needs. */
import { expect, test } from 'vitest'
import { seedsNeeded } from '../../../bench/paper/power.js'
import { interval, verdictOf } from '../../../bench/report/intervals.js'
import { RandomStream, Purpose } from '../../../engine/index.js'

test('grows with the spread, and shrinks with the distance from the bound', () => {
  const of = (perSeed: number[], bound = { above: 0 } as const) => seedsNeeded({ perSeed, bound })
  expect(of([0.63, 1.41, 0.76])).toBe(4)
  expect(of([1.08, 1.04, -0.24])).toBeGreaterThan(10)
  expect(of([10, 10.1, 9.9])).toBe(2)
  expect(of([1, NaN])).toBeUndefined()
  expect(seedsNeeded({ perSeed: [1.32, -1.12, -0.22], bound: { within: 2 } })).toBeLessThanOrEqual(8)
})

test('decides about nine of ten sets of new seeds', () => {
  const random = new RandomStream(4, Purpose.weights)
  // Three values with mean 1 and deviation 1.
  const needed = seedsNeeded({ perSeed: [0, 1, 2], bound: { above: 0 } })!
  const sets = 2000
  let decided = 0
  for (let i = 0; i < sets; i++) {
    const values = Array.from({ length: needed }, () => 1 + random.normal())
    if (verdictOf(interval(values), { above: 0 }) === 'agrees') decided++
  }
  expect(decided / sets).toBeGreaterThan(0.85)
  expect(decided / sets).toBeLessThan(0.96)
})
