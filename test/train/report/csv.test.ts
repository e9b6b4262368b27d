import { expect, test } from 'vitest'
import { csvColumns, csvFits, csvHeader, csvRow, csvTable, parseCsv } from '../../../train/report/csv.js'

const first = { step: 1, steps: 4, epoch: 0, loss: 12.5, lr: 1e-7, parts: { variance: 2, invariance: 0.5 }, seconds: 1 }
const second = { ...first, step: 2, peakBytes: 4096, lambda: 0.005, note: 'says "stop", then\r\nstops' }

test('columns are the union of all fields in a fixed order, unknown ones last', () => {
  expect(csvColumns([first, second])).toEqual([
    ...['step', 'steps', 'epoch', 'seconds', 'loss', 'parts.variance', 'parts.invariance', 'lr', 'lambda', 'peakBytes'],
    'note',
  ])
})

test('a table reads back, with quotes, commas and line ends in cells', () => {
  const rows = parseCsv(csvTable([first, second]))
  expect(rows).toEqual([
    csvColumns([first, second]),
    ['1', '4', '0', '1', '12.5', '2', '0.5', '1e-7', '', '', ''],
    ['2', '4', '0', '1', '12.5', '2', '0.5', '1e-7', '0.005', '4096', 'says "stop", then\r\nstops'],
  ])
  expect(csvTable([second])).toContain('"says ""stop"", then\r\nstops"\r\n')
})

test('rows appended to a file read back under the columns of its header', () => {
  let file = csvHeader(csvColumns([second]))
  const [columns] = parseCsv(file)
  for (const line of [second, first]) file += csvRow(columns, line)
  const [header, ...rows] = parseCsv(file)
  expect(rows.map((row) => row[header.indexOf('step')])).toEqual(['2', '1'])
  expect(rows[1][header.indexOf('peakBytes')]).toBe('')
})

test('a line with a field that the table lacks is refused, not cut', () => {
  const columns = csvColumns([first])
  expect(csvFits(columns, first)).toBe(true)
  expect(csvFits(columns, second)).toBe(false)
  expect(() => csvRow(columns, second)).toThrow("csv: a line has the field 'peakBytes'")
})

test('lists are left out; a loss that is not finite is written as it is', () => {
  expect(csvTable([{ step: 3, loss: NaN, eigenvalues: [3, 2, 1], alpha: undefined }])).toBe('step,loss\r\n3,NaN\r\n')
})

test('a half-written last row is left out', () => {
  expect(parseCsv('step,loss\r\n1,2\r\n2,')).toEqual([
    ['step', 'loss'],
    ['1', '2'],
  ])
})
