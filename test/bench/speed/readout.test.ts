/** The readout benchmark: its cases, and one small measurement. */
import { expect, test } from 'vitest'
import { originOf } from '../../../bench/report/origin.js'
import { benchReadout, readoutCases } from '../../../bench/speed/readout.js'
import { engine } from '../../support/engine.js'

test('the probe has the paper’s size: 200 epochs over 50,000 features of a ResNet-18', () => {
  expect(readoutCases(false)[0]).toMatchObject({ what: 'linear probe', train: 50_000, width: 512, epochs: 200 })
})

test('a measurement has a row for each chosen case', async () => {
  const gpu = await engine()
  const options = { engine: gpu, origin: originOf(gpu, 1), rounds: 1, quick: true, onMessage: () => undefined }
  const measurement = await benchReadout({ ...options, only: 'kNN' })
  const { readout } = measurement.results as { readout: { seconds: { median: number } }[] }
  expect(readout).toHaveLength(1)
  expect(readout[0].seconds.median).toBeGreaterThan(0)
  expect(measurement.markdown).toMatch(/\| kNN, 5,000 × 512 features, 1,000 of test, k = 20 and 200 \|/)
  await expect(benchReadout({ ...options, only: 'nothing' })).rejects.toThrow("--only 'nothing'")
})
