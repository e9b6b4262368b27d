/** Measured values as text. */
import { expect, test } from 'vitest'
import { figure, meanAndSpread, mebibytes, medianText, milliseconds } from '../../../bench/report/text.js'

test('a figure has three significant digits, and an exponent only if it is very small or large', () => {
  expect([0, 0.0123456, 1.2345, 12.345, 1234.5, 99999].map(figure)).toEqual([
    '0',
    '0.0123',
    '1.23',
    '12.3',
    '1235',
    '99999',
  ])
  expect([1e-6, 1e8, NaN].map(figure)).toEqual(['1.0e-6', '1.0e+8', '–'])
})

test('a median stands with its quartiles', () => {
  expect(medianText({ median: 66.12, low: 65, high: 70 })).toBe('66.1 [65.0–70.0]')
  expect(milliseconds({ median: 0.0123, low: 0.012, high: 0.013 })).toBe('12.3 ms [12.0–13.0]')
  expect(mebibytes(3 * 2 ** 19)).toBe('1.50 MiB')
})

test('a mean stands with the standard deviation of the finite values', () => {
  expect(meanAndSpread([1, 2, 3])).toBe('2.00 ± 1.00')
  expect(meanAndSpread([1, NaN], 1)).toBe('1.0')
  expect(meanAndSpread([NaN])).toBe('–')
})
