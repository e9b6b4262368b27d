import { appendFileSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runFolder } from '../../../../train/node/run_folder.js'
import { truncateLines } from '../../../../train/run/metrics.js'
import { RunReader } from '../../../../train/node/watch/run_reader.js'
import { RunWatcher } from '../../../../train/node/watch/run_watcher.js'
import { EVERY, makeUpRun, metricsLine, paintViews, type MadeUpRun } from './made_up_runs.js'

let folder: string
let made: MadeUpRun
let run: RunReader

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-watch-'))
  made = makeUpRun(join(folder, 'run'))
  run = new RunReader('run', made.folder, 0)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('the summary', () => {
  test('has the configuration and the latest values of every file', async () => {
    made.growTo(2 * EVERY)
    await run.poll()
    expect(run.summary).toMatchObject({ id: 'run', state: 'running', step: 100, steps: 1000, diverged: false })
    expect(run.summary.config).toMatchObject({ views: '4', data: 'cifar10', 'augmentation.size': '32' })
    expect(run.summary.latest['metrics.loss']).toBeGreaterThan(0)
    expect(run.summary.latest['metrics.parts.invariance']).toBeGreaterThan(0)
    expect(run.summary.latest['online.top1']).toBeCloseTo(0.6 - 0.4 / Math.SQRT2)
    expect(run.summary.latest['diagnostics.effectiveRank']).toBe(25)
  })

  test('grows only in revision when something changed', async () => {
    made.growTo(3)
    expect(await run.poll()).toBe(true)
    expect(await run.poll()).toBe(false)
    made.growTo(4)
    expect(await run.poll()).toBe(true)
    expect(run.summary).toMatchObject({ revision: 2, step: 4 })
  })

  test('says what state the run is in', async () => {
    await run.poll()
    expect(run.summary.state).toBe('waiting')
    made.growTo(10)
    await run.poll()
    expect(run.summary.state).toBe('running')
    await run.poll(Date.now() + 3_600_000)
    expect(run.summary.state).toBe('stopped')
    writeFileSync(join(made.folder, 'summary.json'), '{"stopped":"done","peakBytes":1024}')
    await run.poll()
    expect(run.summary.state).toBe('ended')
    writeFileSync(join(made.folder, 'summary.json'), '{"stopped":"signal"}')
    await run.poll()
    expect(run.summary.state).toBe('stopped')
    // It is resumed: the summary of its first sitting is older than its new lines.
    const old = new Date(Date.now() - 10_000)
    utimesSync(join(made.folder, 'summary.json'), old, old)
    made.growTo(11)
    await run.poll()
    expect(run.summary.state).toBe('running')
  })

  test('names a loss that is not finite and a warning', async () => {
    writeFileSync(join(made.folder, 'metrics.jsonl'), '{"step":1,"steps":2,"loss":null}\n')
    writeFileSync(join(made.folder, 'diagnostics.jsonl'), '{"step":1,"effectiveRank":1,"warning":"collapsed"}\n')
    await run.poll()
    expect(run.summary).toMatchObject({ diverged: true, warning: 'collapsed' })
  })

  test('survives a configuration that is half written', async () => {
    writeFileSync(join(made.folder, 'config.yaml'), 'data: [cifar10\n  views: {')
    await run.poll()
    expect(run.summary.config).toEqual({})
  })

  test('knows when the views changed', async () => {
    await run.poll()
    expect(run.summary.views).toBeUndefined()
    await paintViews(made.folder)
    await run.poll()
    expect(run.summary.views).toBeGreaterThan(0)
    expect((await run.views())!.subarray(1, 4).toString()).toBe('PNG')
  })
})

describe('series', () => {
  test('come whole and then by what is new', async () => {
    made.growTo(EVERY)
    const first = await run.series({ axis: 'step' })
    expect(first.appends).toBe(false)
    expect(first.series['metrics.loss'].x).toEqual(Array.from({ length: EVERY }, (_, i) => i + 1))
    expect(first.series['online.top1']).toMatchObject({ x: [EVERY] })
    made.growTo(2 * EVERY)
    await run.poll()
    const second = await run.series({ axis: 'step', since: first.cursor })
    expect(second.appends).toBe(true)
    expect(second.series['metrics.loss'].x.slice(0, 2)).toEqual([EVERY + 1, EVERY + 2])
    expect(second.series['online.top1'].x).toEqual([2 * EVERY])
    const third = await run.series({ axis: 'step', since: second.cursor })
    expect(third).toMatchObject({ appends: true, series: {} })
  })

  test('come whole again after a resumed run dropped lines', async () => {
    made.growTo(120)
    const before = await run.series({ axis: 'step' })
    await truncateLines(runFolder(made.folder), 'metrics.jsonl', 100)
    appendFileSync(join(made.folder, 'metrics.jsonl'), `${JSON.stringify(metricsLine(101, 1000, 5))}\n`)
    await run.poll()
    const after = await run.series({ axis: 'step', since: before.cursor })
    expect(after.appends).toBe(false)
    expect(after.series['metrics.loss'].x.at(-1)).toBe(101)
  })

  test('repeated steps replace the earlier ones', async () => {
    made.growTo(120)
    const before = await run.series({ axis: 'step' })
    appendFileSync(join(made.folder, 'metrics.jsonl'), '{"step":100,"loss":7}\n')
    await run.poll()
    const after = await run.series({ axis: 'step', since: before.cursor })
    expect(after.appends).toBe(false)
    expect(after.series['metrics.loss'].x.at(-1)).toBe(100)
    expect(after.series['metrics.loss'].y.at(-1)).toBe(7)
  })

  test('have epochs or hours as their x, and a range of them', async () => {
    made.growTo(400)
    const epochs = (await run.series({ axis: 'epoch' })).series['online.top1'].x
    expect(epochs).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    const range = (await run.series({ axis: 'epoch', from: 2, to: 4 })).series
    expect(range['online.top1'].x).toEqual([2, 3, 4])
    expect([range['metrics.loss'].x[0], range['metrics.loss'].x.at(-1)]).toEqual([2, 4])
    const hours = (await run.series({ axis: 'hours', from: 0.04 })).series['metrics.loss'].x
    expect(hours[0]).toBeCloseTo(0.04)
    expect(hours.at(-1)).toBeCloseTo((400 * 0.8) / 3600)
  })

  test('another axis does not append to what was there', async () => {
    made.growTo(400)
    const { cursor } = await run.series({ axis: 'step' })
    expect((await run.series({ axis: 'hours', since: cursor })).appends).toBe(false)
    expect((await run.series({ axis: 'step', since: 'nonsense' })).appends).toBe(false)
  })

  test('200,000 lines load in a few seconds, thinned, and grow without being read again', async () => {
    const path = join(made.folder, 'metrics.jsonl')
    const steps = 200_000
    const text = Array.from({ length: steps }, (_, i) => JSON.stringify(metricsLine(i + 1, steps)))
    text[123_456] = JSON.stringify({ ...metricsLine(123_457, steps), loss: 1e6 })
    writeFileSync(path, `${text.join('\n')}\n`)
    const begun = performance.now()
    const { series, cursor } = await run.series({ axis: 'step' })
    const loaded = performance.now() - begun
    // About 1 s on an ordinary core; this leaves room for slow and busy ones.
    expect(loaded).toBeLessThan(8000)
    expect(series['metrics.loss'].x.length).toBeLessThanOrEqual(2000)
    expect(Math.max(...series['metrics.loss'].y)).toBe(1e6)
    appendFileSync(path, `${JSON.stringify(metricsLine(steps + 1, steps))}\n`)
    const again = performance.now()
    await run.poll()
    const more = await run.series({ axis: 'step', since: cursor })
    expect(performance.now() - again).toBeLessThan(loaded / 4)
    expect(more.series['metrics.loss'].x).toEqual([steps + 1])
  })
})

test('spectra are those of the checkpoints, without those that a resumed run drops', async () => {
  made.growTo(4 * EVERY)
  expect((await run.spectra()).map(({ step }) => step)).toEqual([50, 100, 150, 200])
  await truncateLines(runFolder(made.folder), 'diagnostics.jsonl', 100)
  await run.poll()
  expect((await run.spectra()).map(({ step }) => step)).toEqual([50, 100])
  expect((await run.spectra())[0].eigenvalues.length).toBe(100)
})

describe('the watcher', () => {
  test('finds runs in folders two levels deep, each once, and new and deleted ones', async () => {
    makeUpRun(join(folder, 'sweep', 'a'))
    makeUpRun(join(folder, 'too', 'deep', 'b'))
    makeUpRun(join(folder, '.hidden'))
    const watcher = new RunWatcher([folder, made.folder], { interval: 0 })
    await watcher.refresh()
    const ids = () => [...watcher.runs.keys()].map((id) => id.slice(folder.length))
    expect(ids().sort()).toEqual(['/run', '/sweep/a'])
    makeUpRun(join(folder, 'new'))
    rmSync(join(folder, 'sweep'), { recursive: true })
    for (let poll = 0; poll < 6; poll++) await watcher.refresh()
    expect(ids().sort()).toEqual(['/new', '/run'])
    expect(readFileSync(join(folder, 'new', 'config.yaml'), 'utf8')).toContain('cifar10')
  })

  test('tells listeners of changes and rests without any', async () => {
    const watcher = new RunWatcher([folder], { interval: 20 })
    await watcher.refresh()
    let told = 0
    const stop = watcher.listen(() => told++)
    made.growTo(5)
    await expect.poll(() => told).toBe(1)
    stop()
    made.growTo(6)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(told).toBe(1)
  })
})
