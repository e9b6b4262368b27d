/** The losses' benchmark: what it covers, and one measurement of it. */
import { expect, test } from 'vitest'
import { benchLosses, lossCases } from '../../../bench/speed/losses.js'
import { originOf } from '../../../bench/speed/report.js'
import { objectiveNames, objectives } from '../../../train/objectives/index.js'
import { engine } from '../../support/engine.js'

test('every objective, over the views that it takes and over widths', () => {
  for (const objective of objectiveNames) {
    const cases = lossCases('cpu', false).filter((c) => c.objective === objective)
    const views = [...new Set(cases.map((c) => c.views))]
    expect(views, objective).toEqual(objectives[objective].twoViews ? [2] : [2, 4, 8])
    expect([...new Set(cases.map((c) => c.width))]).toEqual([64, 256, 1024])
  }
  expect(lossCases('cpu', true).length).toBeLessThan(lossCases('cpu', false).length)
  expect(lossCases('gpu', false).some(({ width }) => width === 8192)).toBe(true)
})

test('a report has a row for each objective and number of views, and both plots', async () => {
  const gpu = await engine()
  const messages: string[] = []
  const options = {
    engine: gpu,
    origin: originOf(gpu, 1),
    rounds: 1,
    quick: true,
    onMessage: (m: string) => messages.push(m),
  }
  const report = await benchLosses({ ...options, only: 'spectral' })
  const { losses } = report.results as { losses: { seconds: { median: number }; views: number; width: number }[] }
  expect(losses.map(({ views, width }) => [views, width])).toEqual([
    [2, 64],
    [2, 256],
    [8, 64],
    [8, 256],
  ])
  for (const { seconds } of losses) expect(seconds.median).toBeGreaterThan(0)
  expect(report.markdown).toMatch(/\| spectral, 2 views \|.*\n\| spectral, 8 views \|/)
  expect(Object.values(report.plots).map((svg) => svg.slice(0, 4))).toEqual(['<svg', '<svg'])
  expect(messages).toHaveLength(4)
  await expect(benchLosses({ ...options, only: 'nothing' })).rejects.toThrow("--only 'nothing'")
})
