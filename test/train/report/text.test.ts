import { expect, test } from 'vitest'
import {
  alignedTable,
  counted,
  describeViews,
  duration,
  percent,
  percentWithError,
  markdownTable,
} from '../../../train/report/text.js'

test('durations have at most two units', () => {
  expect([0.4, 59.6, 120, 178, 3599, 3600, 7169, 7171].map(duration)).toEqual([
    ...['0 s', '1 min', '2 min', '2 min 58 s', '59 min 59 s', '1 h', '1 h 59 min', '2 h'],
  ])
})

test('counts have separators and a plural', () => {
  expect([1, 0, 1200].map((n) => counted(n, 'step'))).toEqual(['1 step', '0 steps', '1,200 steps'])
  expect([1, 2, 16].map(describeViews)).toEqual([
    ...['1 clean view', '1 clean and 1 random view', '1 clean and 15 random views'],
  ])
})

test('shares are shown in per cent', () => {
  expect(percent(0.3754)).toBe('37.5 %')
  expect(percentWithError(0.3754, 0.0111, 2)).toBe('37.54 ± 1.11 %')
})

test('a table is flush left in its first column and flush right in the others', () => {
  expect(
    alignedTable([
      ['', 'top-1', ''],
      ['untrained', '9', 'x'],
    ]),
  ).toEqual(['            top-1', 'untrained       9   x'])
})

test('a Markdown table has a row of dashes, and cells escape the separator', () => {
  expect(markdownTable(['a', 'b'], [['x|y', '1']])).toBe('| a | b |\n| --- | ---: |\n| x\\|y | 1 |')
})
