/** The report of a run, from made-up figures and from a folder that holds only part of a run. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { resolveConfig } from '../../../train/config/config.js'
import { writeRunReport } from '../../../train/node/run_report.js'
import { runReport, type RunFigures } from '../../../train/report/run_report.js'

const steps = Array.from({ length: 40 }, (_, i) => i + 1)
const figures: RunFigures = {
  name: 'a <run>',
  config: resolveConfig({ adaptiveLambda: true, augmentation: { size: 16 } }),
  metrics: steps.map((step) => ({
    ...{ step, steps: 80, epoch: 0, loss: 30 / step, lr: 1e-3, lambda: 0.01, imagesPerSecond: 100, seconds: step },
    parts: { invariance: 20 / step, orthogonality: 10 / step },
  })),
  online: [10, 20].map((step) => ({ step, epoch: 1, top1: step / 100, k: 20, bank: 1000, queries: 500, views: 1 })),
  diagnostics: [10, 20, 30].map((step) => ({
    ...{ step, epoch: 1, alpha: 1 + step / 100, effectiveRank: step, alignment: 0.5, uniformity: -1, images: 1024 },
    eigenvalues: Array.from({ length: 50 }, (_, i) => (i + 1) ** -1.2),
    ...(step === 30 && { warning: 'the features have collapsed: raise `lambda`' }),
  })),
  views: Uint8Array.of(1, 2, 3),
}

test('a report has the curves, spectra, views, warnings and the configuration, and loads nothing', async () => {
  const page = await runReport(figures)
  for (const title of [
    'Training loss',
    'Readouts: kNN-20 top-1 20.0 %',
    'Spectrum of the features',
    'The views',
    'Speed',
  ])
    expect(page).toContain(`<h2>${title}</h2>`)
  // Loss over steps and over time, parts, λ; kNN; spectra, α, rank; speed.
  expect(page.match(/<svg /g)).toHaveLength(4 + 1 + 3 + 1)
  expect(page).toContain('a &lt;run&gt;')
  expect(page).toContain('The run has not ended: 40 of 80 steps in 40 s of training')
  expect(page).toContain('α = 1.30')
  // Means of 30 / step over the steps 1 to 10 and 31 to 40.
  expect(page).toContain('loss from 8.787 to 0.8507 (means of the first and the last 10 steps)')
  expect(page).toContain('Faint lines show each step, strong lines the running mean.')
  expect(page).toMatch(/class="warning">\s*Step 30: the features have collapsed: raise lambda/)
  expect(page).toMatch(/augmentation\.size<\/dt>\s*<dd>16</)
  expect(page).not.toMatch(/https?:/)
})

test('the caption of a long run says what its faint lines are', async () => {
  const metrics = Array.from({ length: 700 }, (_, i) => ({ ...figures.metrics[0], step: i + 1, steps: 700 }))
  const page = await runReport({ ...figures, metrics })
  expect(page).toContain('Faint lines show means of 3 steps, strong lines the running mean.')
  expect(page).toContain('loss from 30 to 30 (means of the first and the last 35 steps)')
})

test('sections without figures are left out', async () => {
  const { config, name } = figures
  const page = await runReport({ config, name, metrics: [], online: [], diagnostics: [] })
  expect(page.match(/<h2>(.*?)<\/h2>/g)).toEqual(['<h2>Configuration</h2>'])
  expect(page).toContain('No step has ended yet.')
})

test('a folder with half a line is a run, and a folder without a configuration is none', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-report-'))
  try {
    await expect(writeRunReport(folder)).rejects.toThrow(/holds no run/)
    await writeFile(join(folder, 'config.yaml'), 'width: 8\n')
    const lines = figures.metrics.slice(0, 3).map((line) => JSON.stringify(line))
    await writeFile(join(folder, 'metrics.jsonl'), `${lines.join('\n')}\n{"step":4,"lo`)
    expect(await writeRunReport(folder)).toBe(join(folder, 'report.html'))
    expect(await readFile(join(folder, 'report.html'), 'utf8')).toContain('3 of 80 steps')
  } finally {
    await rm(folder, { recursive: true })
  }
})
