/** Medians, quartiles, ratios and relative errors. */
import { expect, test } from 'vitest'
import { median, quantile, rankCorrelation, ratio, relativeError, summarize } from '../../../bench/report/statistics.js'

test('quantiles interpolate between the nearest values, in any order of the input', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(quantile([10, 20, 30, 40, 50], 0.25)).toBe(20)
  expect(quantile([0, 10], 0.1)).toBeCloseTo(1)
  expect(summarize([7])).toEqual({ median: 7, low: 7, high: 7 })
  expect(() => median([])).toThrow('at least one value')
})

test('a ratio compares medians; its quartiles are those of the ratios of single rounds', () => {
  // Both are slower in the last round, so the spread of the ratio stays small.
  const { median: times, low, high } = ratio([30, 33, 300], [10, 11, 100])
  expect(times).toBeCloseTo(3)
  expect(low).toBeCloseTo(3)
  expect(high).toBeCloseTo(3)
  expect(() => ratio([1], [1, 2])).toThrow('each round needs a time of both')
})

test('the relative error is relative to the largest value, and NaN if a value is NaN', () => {
  expect(relativeError(new Float32Array([1, 2, 4]), new Float32Array([1, 3, 4]))).toBe(0.25)
  expect(relativeError(new Float32Array([0]), new Float32Array([0]))).toBe(0)
  expect(relativeError(new Float32Array([NaN, 1]), new Float32Array([1, 1]))).toBeNaN()
  expect(relativeError(new Float32Array([1]), new Float32Array([0]))).toBe(Infinity)
  expect(() => relativeError(new Float32Array(2), new Float32Array(3))).toThrow('2 numbers against 3')
})

test('rank correlation: 1 for any rising function; equal values share a rank', () => {
  expect(rankCorrelation([1, 2, 5, 9], [0.1, 7, 8, 1000])).toBeCloseTo(1, 12)
  expect(rankCorrelation([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1, 12)
  // The correlation of 1, 2.5, 2.5, 4, 5 with 2, 1, 4, 3, 5.
  expect(rankCorrelation([1, 2, 2, 4, 5], [2, 1, 4, 3, 5])).toBeCloseTo(0.6668859, 6)
  expect(rankCorrelation([1, 1], [1, 2])).toBeNaN()
  expect(() => rankCorrelation([1], [1, 2])).toThrow('1 numbers against 2')
})
