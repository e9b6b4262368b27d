/** The readout's benchmark: the paper's size, and one measurement of a small one. */
import { expect, test } from 'vitest'
import { benchReadout, readoutCases } from '../../../bench/speed/readout.js'
import { originOf } from '../../../bench/speed/report.js'
import { engine } from '../../support/engine.js'

test('the probe is the paper’s: 200 epochs over 50,000 features of a ResNet-18', () => {
  expect(readoutCases(false)[0]).toMatchObject({ what: 'linear probe', train: 50_000, width: 512, epochs: 200 })
})

test('a report has a row for each readout that is asked for', async () => {
  const gpu = await engine()
  const options = { engine: gpu, origin: originOf(gpu, 1), rounds: 1, quick: true, onMessage: () => undefined }
  const report = await benchReadout({ ...options, only: 'kNN' })
  const { readout } = report.results as { readout: { seconds: { median: number } }[] }
  expect(readout).toHaveLength(1)
  expect(readout[0].seconds.median).toBeGreaterThan(0)
  expect(report.markdown).toMatch(/\| kNN, 5,000 × 512 features, 1,000 of test, k = 20 and 200 \|/)
  await expect(benchReadout({ ...options, only: 'nothing' })).rejects.toThrow("--only 'nothing'")
})
