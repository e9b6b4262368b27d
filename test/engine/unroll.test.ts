/** Loops that the loader writes out. */
import { expect, test } from 'vitest'
import { kernelTexts } from '../../engine/index.js'
import { unrolled } from '../../engine/unroll.js'

test('a marked loop is written out, with the names of fields and the loops inside', () => {
  const text = [
    'const SIZE = 6u;',
    'const ROWS = SIZE / (1u + 2u);',
    '  for (var q = 0u; q < ROWS; q++) { // @unroll',
    '    for (var v = 0u; v < SIZE; v += ROWS + 2u) { // @unroll',
    '      sum[q][v].q += qq;',
    '    }',
    '  }',
    '  for (var q = 0u; q < ROWS; q++) { a(q); }',
    '',
  ].join('\n')
  // The step is a name or a number, so this inner loop stays as it is.
  expect(unrolled(text)).toContain('for (var v = 0u; v < SIZE; v += ROWS + 2u) { // @unroll\n      sum[0u][v].q += qq;')
  const lines = unrolled(text.replace('v += ROWS + 2u', 'v += ROWS'))
    .split('\n')
    .map((line) => line.trim())
  const sums = [0, 1].flatMap((q) => ['{', ...[0, 2, 4].flatMap((v) => ['{', `sum[${q}u][${v}u].q += qq;`, '}']), '}'])
  expect(lines.slice(2)).toEqual([...sums, 'for (var q = 0u; q < ROWS; q++) { a(q); }', ''])
})

test('every marked loop of the kernels is written out', () => {
  const marked = Object.values(kernelTexts).filter((text) => text.includes('@unroll'))
  expect(marked.length).toBeGreaterThan(8)
  for (const text of marked) expect(unrolled(text)).not.toContain('@unroll')
})

test('a bound that is no constant is an error', () => {
  expect(() => unrolled('  for (var q = 0u; q < params.rows; q++) { // @unroll\n  }\n')).toThrow(
    "'params.rows' is not a constant, so its loop cannot be unrolled",
  )
})
