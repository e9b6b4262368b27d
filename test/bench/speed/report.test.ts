import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { OURS, type CaseResult } from '../../../bench/speed/peers.js'
import { ratioPlot, rooflinePlot } from '../../../bench/speed/plots.js'
import { figure, milliseconds, originOf, render, table, writeReport, type Report } from '../../../bench/speed/report.js'
import { byKernel } from '../../../bench/speed/step.js'
import { engine } from '../../support/engine.js'

test('figures have three significant digits, without exponents where people read them', () => {
  expect([0, 0.0123456, 1.2345, 12.345, 1234.5, 99999].map(figure)).toEqual([
    '0',
    '0.0123',
    '1.23',
    '12.3',
    '1235',
    '99999',
  ])
  expect([1e-6, 1e8, NaN].map(figure)).toEqual(['1.0e-6', '1.0e+8', '–'])
  expect(milliseconds({ median: 0.0123, low: 0.012, high: 0.013 })).toBe('12.3 ms [12.0–13.0]')
})

test('a table has a row of dashes and as many cells everywhere', () => {
  expect(table(['a', 'b'], [['x|y', '1']])).toBe('| a | b |\n| --- | ---: |\n| x\\|y | 1 |')
})

test('time by kernel adds up the dispatches, the slowest first', () => {
  const dispatch = (kernel: string, microseconds: number, bytes: number) => ({ kernel, microseconds, bytes }) as never
  expect(byKernel({ dispatches: [dispatch('a', 100, 1), dispatch('b', 500, 2), dispatch('a', 200, 3)] })).toEqual([
    { kernel: 'b', milliseconds: 0.5, dispatches: 1, bytes: 2 },
    { kernel: 'a', milliseconds: expect.closeTo(0.3, 9) as number, dispatches: 2, bytes: 4 },
  ])
})

const summary = (median: number) => ({ median, low: 0.9 * median, high: 1.1 * median })
const results: CaseResult[] = [
  {
    name: 'matmul 256',
    case: { kind: 'matmul', size: 256 },
    flops: 2 * 256 ** 3,
    entries: [
      { peer: OURS, seconds: [0.001], summary: summary(0.001), gflops: 33 },
      { peer: 'tfjs', seconds: [0.004], summary: summary(0.004), ratio: summary(4), error: 1e-6 },
      { peer: 'torch', cannot: 'no python3 of PATH has torch' },
    ],
  },
]

test('a report says where, when and how it was measured, and its plots stand alone', async () => {
  const origin = originOf(await engine(), 7)
  const report: Report = {
    kind: 'peers',
    origin,
    results: { cases: results },
    markdown: '## Peers',
    plots: {
      ratios: await ratioPlot(results, origin),
      roofline: await rooflinePlot(
        [
          {
            family: 'matmul',
            name: '256³',
            milliseconds: 1,
            gflops: 33,
            gbs: 1,
            intensity: 42,
            share: 0.5,
            bound: 'arithmetic',
            dispatches: 1,
          },
        ],
        { f32: 66, copy: 7 },
        origin,
      ),
    },
  }
  for (const part of [origin.adapter, origin.driver, origin.date.slice(0, 10), '7 rounds', process.versions.node])
    expect(render(report)).toContain(part)

  const folder = await mkdtemp(join(tmpdir(), 'bench-report-'))
  try {
    await writeReport(report, { json: join(folder, 'peers.json') })
    expect((await readdir(folder)).sort()).toEqual(['peers-ratios.svg', 'peers-roofline.svg', 'peers.json'])
    const written = JSON.parse(await readFile(join(folder, 'peers.json'), 'utf8')) as object
    expect(written).toEqual({ kind: 'peers', origin, cases: JSON.parse(JSON.stringify(results)) as object })
    for (const name of ['ratios', 'roofline']) {
      const svg = await readFile(join(folder, `peers-${name}.svg`), 'utf8')
      expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/)
      expect(svg).toContain(origin.adapter)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
