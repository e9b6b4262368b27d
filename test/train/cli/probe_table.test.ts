/** The table of accuracies that `probe` prints. */
import { expect, test } from 'vitest'
import { accuracyTable, corruptedTable, type Row } from '../../../train/cli/probe_table.js'

function row(name: string, top5: number): Row {
  const read = { top1: 0.5, top5, standardError: 0.1, top5StandardError: 0 }
  const linear = { ...read, perSeed: [0.5] }
  return { name, figures: { views: 1, linear, knn20: read, knn200: read } } as unknown as Row
}

test('top-5 has rows only where it says something', () => {
  const first = (table: string) => table.split('\n').map((line) => line.split(/ {2,}/)[0])
  const few = accuracyTable([row('step 3', 1), row('untrained', 1)])
  expect(first(few).slice(1, -1)).toEqual(['linear top-1', 'kNN-20 top-1', 'kNN-200 top-1'])
  const many = accuracyTable([row('step 3', 1), row('untrained', 0.9)])
  expect(first(many).slice(1, 4)).toEqual(['linear top-1', 'linear top-5', 'kNN-20 top-1'])
})

test('corrupted images have a row for each corruption, and their mean', () => {
  const with2 = (name: string, a: number, b: number): Row => {
    const corrupted = [
      { corruption: 'contrast', top1: a },
      { corruption: 'brightness', top1: b },
    ] as const
    return { name, figures: { corrupted } } as unknown as Row
  }
  const lines = corruptedTable([with2('step 3', 0.5, 0.3), with2('untrained', 0.2, 0.1)], 3).split('\n')
  expect(lines.map((line) => line.split(/ {2,}/))).toMatchObject([
    ['linear top-1', 'step 3', 'untrained'],
    ['contrast', '50.00 %', '20.00 %'],
    ['brightness', '30.00 %', '10.00 %'],
    ['mean', '40.00 %', '15.00 %'],
    ['On corrupted test images, severity 3, read with 1 clean view each.'],
  ])
})
