/** Accuracy against time, and the Pareto front. */
import { describe, expect, test } from 'vitest'
import { accuracyAt, secondsTo } from '../../../bench/paper/curves.js'
import { frontOf } from '../../../bench/paper/experiments/pareto.js'
import { reading } from './synthetic_results.js'

describe('a curve', () => {
  const curve = [reading(1, 10, 0.2), reading(2, 20, 0.4), reading(3, 30, 0.5)]
  test('has an accuracy at each time, interpolated between checkpoints', () => {
    expect(accuracyAt(curve, 5)).toBeNaN()
    expect(accuracyAt(curve, 10)).toBeCloseTo(20)
    expect(accuracyAt(curve, 15)).toBeCloseTo(30)
    expect(accuracyAt(curve, 99)).toBeCloseTo(50)
    expect(accuracyAt([], 5)).toBeNaN()
  })
  test('has a time to each accuracy, interpolated between checkpoints', () => {
    expect(secondsTo(curve, 10)).toBe(10)
    expect(secondsTo(curve, 30)).toBeCloseTo(15)
    expect(secondsTo(curve, 51)).toBe(Infinity)
  })
})

test('the Pareto front has the points that no other point beats in both coordinates', () => {
  const points = [
    { x: 2, y: 5 },
    { x: 1, y: 6 },
    { x: 3, y: 5 },
    { x: 1, y: 7 },
    { x: 4, y: 1 },
  ]
  expect(frontOf(points)).toEqual([points[1], points[0], points[4]])
})
