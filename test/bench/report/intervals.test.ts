/** Student's t against printed tables, intervals computed by hand, and verdicts on every side of a bound. */
import { describe, expect, test } from 'vitest'
import { interval, studentCentral, studentQuantile, together, verdictOf } from '../../../bench/report/intervals.js'

describe("Student's t", () => {
  // Printed tables of the two-sided 5 % points.
  test.each([
    [1, 12.706],
    [2, 4.303],
    [3, 3.182],
    [4, 2.776],
    [5, 2.571],
    [10, 2.228],
    [29, 2.045],
    [120, 1.98],
  ])('the 95 % quantile of %i degrees of freedom is %f', (freedom, t) => {
    expect(Math.abs(studentQuantile(freedom) - t)).toBeLessThan(6e-4)
  })

  test('one and two degrees of freedom have closed forms', () => {
    for (const t of [0.1, 1, 7]) {
      expect(studentCentral(t, 1)).toBeCloseTo((2 / Math.PI) * Math.atan(t), 12)
      expect(studentCentral(t, 2)).toBeCloseTo(t / Math.sqrt(2 + t * t), 12)
    }
    expect(studentQuantile(2, 0.9)).toBeCloseTo(0.9 * Math.sqrt(2 / (1 - 0.81)), 9)
  })

  test('the degrees of freedom must be a positive integer', () => {
    expect(() => studentQuantile(0)).toThrow('0 degrees of freedom: must be a positive integer')
  })
})

describe('an interval', () => {
  test('of three differences is mean ± 4.303 s / √3', () => {
    const { mean, low, high } = interval([1, 2, 3])
    expect(mean).toBe(2)
    expect(high - mean).toBeCloseTo(4.30265 / Math.sqrt(3), 4)
    expect(mean - low).toBeCloseTo(high - mean, 12)
  })

  test('of one value is infinite, so the verdict is inconclusive', () => {
    expect(interval([5])).toEqual({ mean: 5, low: -Infinity, high: Infinity })
    for (const bound of [{ above: 0 }, { below: 0 }, { within: 1 }])
      expect(verdictOf(interval([5]), bound)).toBe('inconclusive')
  })
})

describe('a verdict', () => {
  const over = (low: number, high: number) => ({ mean: (low + high) / 2, low, high })
  test('depends on the whole interval', () => {
    expect(verdictOf(over(0.1, 2), { above: 0 })).toBe('agrees')
    expect(verdictOf(over(-0.1, 2), { above: 0 })).toBe('inconclusive')
    expect(verdictOf(over(-2, -0.1), { above: 0 })).toBe('contradicts')
    expect(verdictOf(over(0.1, 2), { below: 0 })).toBe('contradicts')
    expect(verdictOf(over(-2, -0.1), { below: 0 })).toBe('agrees')
    expect(verdictOf(over(-0.9, 0.9), { within: 1 })).toBe('agrees')
    expect(verdictOf(over(-1.1, 0.9), { within: 1 })).toBe('inconclusive')
    expect(verdictOf(over(1.1, 2), { within: 1 })).toBe('contradicts')
  })

  test('over several claims contradicts if one does, and agrees only if all do', () => {
    expect(together(['agrees', 'agrees'])).toBe('agrees')
    expect(together(['agrees', 'inconclusive'])).toBe('inconclusive')
    expect(together(['agrees', 'inconclusive', 'contradicts'])).toBe('contradicts')
    expect(together([])).toBe('inconclusive')
  })
})
