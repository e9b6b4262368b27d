/** The result of a benchmark as text and as files. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeOrigin, originOf } from '../../../bench/report/origin.js'
import { rooflinePlot } from '../../../bench/speed/kernels_plot.js'
import { render, writeMeasurement, type Measurement } from '../../../bench/speed/measurement.js'
import { OURS, type CaseResult } from '../../../bench/speed/peers/contest.js'
import { ratioPlot } from '../../../bench/speed/peers_plot.js'
import { byKernel } from '../../../bench/speed/step.js'
import { engine } from '../../support/engine.js'

test('time by kernel is the sum over its dispatches, the slowest first', () => {
  const dispatch = (kernel: string, microseconds: number, bytes: number) =>
    ({ kernel, microseconds, bytes, flops: 10 * bytes }) as never
  expect(byKernel({ dispatches: [dispatch('a', 100, 1), dispatch('b', 500, 2), dispatch('a', 200, 3)] })).toEqual([
    { kernel: 'b', milliseconds: 0.5, dispatches: 1, bytes: 2, flops: 20 },
    { kernel: 'a', milliseconds: expect.closeTo(0.3, 9) as number, dispatches: 2, bytes: 4, flops: 40 },
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

test('a measurement names its origin, and its plots are complete SVG files', async () => {
  const origin = originOf(await engine(), 7)
  const measurement: Measurement = {
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
    expect(render(measurement)).toContain(part)

  const folder = await mkdtemp(join(tmpdir(), 'bench-measurement-'))
  try {
    await writeMeasurement(measurement, { json: join(folder, 'peers.json') })
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

test('an origin without rounds does not mention them', async () => {
  const gpu = await engine()
  expect(describeOrigin(originOf(gpu, 3))).toContain('; median of 3 rounds; ')
  expect(describeOrigin(originOf(gpu))).not.toContain('rounds')
})
