/** The loss benchmark: its cases, and one measurement. */
import { expect, test } from 'vitest'
import { originOf } from '../../../bench/report/origin.js'
import { benchLosses, lossCases } from '../../../bench/speed/losses.js'
import { objectiveNames, objectives } from '../../../train/objectives/index.js'
import { engine } from '../../support/engine.js'

test('the cases are every objective with its numbers of views and all widths', () => {
  for (const objective of objectiveNames) {
    const cases = lossCases('cpu', false).filter((c) => c.objective === objective)
    const views = [...new Set(cases.map((c) => c.views))]
    expect(views, objective).toEqual(objectives[objective].twoViews ? [2] : [2, 4, 8])
    expect([...new Set(cases.map((c) => c.width))]).toEqual([64, 256, 1024])
  }
  expect(lossCases('cpu', true).length).toBeLessThan(lossCases('cpu', false).length)
  expect(lossCases('gpu', false).some(({ width }) => width === 8192)).toBe(true)
})

test('a measurement has a row for each objective and number of views, and both plots', async () => {
  const gpu = await engine()
  const messages: string[] = []
  const options = {
    engine: gpu,
    origin: originOf(gpu, 1),
    rounds: 1,
    quick: true,
    onMessage: (m: string) => messages.push(m),
  }
  const measurement = await benchLosses({ ...options, only: 'spectral' })
  const { losses } = measurement.results as { losses: { seconds: { median: number }; views: number; width: number }[] }
  expect(losses.map(({ views, width }) => [views, width])).toEqual([
    [2, 64],
    [2, 256],
    [8, 64],
    [8, 256],
  ])
  for (const { seconds } of losses) expect(seconds.median).toBeGreaterThan(0)
  expect(measurement.markdown).toMatch(/\| spectral, 2 views \|.*\n\| spectral, 8 views \|/)
  expect(Object.values(measurement.plots).map((svg) => svg.slice(0, 4))).toEqual(['<svg', '<svg'])
  expect(messages).toHaveLength(4)
  await expect(benchLosses({ ...options, only: 'nothing' })).rejects.toThrow("--only 'nothing'")
})
