/** The first minutes on a GPU: stages that hang, crash or disagree do not cost the others, and the page says what happened. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { bubblesOf, sharesOf, timeToWin } from '../../../bench/speed/gpu/findings.js'
import { benchGpu, type GpuResults, type StageRecord } from '../../../bench/speed/gpu/gpu.js'
import { gpuPage } from '../../../bench/speed/gpu/page.js'
import type { Stage } from '../../../bench/speed/gpu/stages.js'
import { disagreements, smoke } from '../../../bench/speed/gpu/smoke.js'
import { workload } from '../../../bench/speed/workload.js'
import { KernelLibrary, kernelTexts, type Engine } from '../../../engine/index.js'
import { PipelineCache } from '../../../engine/pipelines.js'
import { engine } from '../../support/engine.js'

const folder = mkdtempSync(join(tmpdir(), 'gpu-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A stage that runs a script. Its results are what the script writes into its file. */
function stage(name: string, code: string, weight = 1): Stage {
  const script = join(folder, `${name.replaceAll(' ', '-')}.mjs`)
  const file = join(folder, `${name.replaceAll(' ', '-')}.json`)
  writeFileSync(
    script,
    `import { writeFileSync } from 'node:fs'\nconst save = (v) => writeFileSync(${JSON.stringify(file)}, JSON.stringify(v))\n${code}\n`,
  )
  return {
    ...{ name, part: 'A', says: 'a test', weight },
    command: () => [script],
    results: () => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined),
  }
}

/** Time enough on a busy machine: only a stage that hangs reaches its limit. */
const MINUTES = 5

const run = async (name: string, stages: Stage[], signal?: AbortSignal) => {
  const out = join(folder, name)
  const results = await benchGpu({ out, minutes: MINUTES, stages, short: true, signal, onMessage: () => undefined })
  return { out, results, of: (stage: string) => results.stages.find((one) => one.name === stage)! }
}

const onDisk = (out: string): GpuResults => JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as GpuResults

test('a stage that hangs, or crashes, or holds on to its end, costs only itself', async () => {
  const { out, results, of } = await run('failures', [
    stage(
      'hangs',
      `save({ soFar: 1 }); process.on('SIGTERM', () => undefined); setInterval(() => undefined, 1000)`,
      0.1,
    ),
    stage('crashes', `save({ soFar: 2 }); console.log('a line'); throw new Error('it broke')`),
    stage('kills itself', `process.kill(process.pid, 'SIGSEGV')`),
    stage('writes half', `writeFileSync(new URL('writes-half.json', import.meta.url), '{"half":')`),
    stage('works', `save({ answer: 42 }); console.log('all is well')`),
  ])
  expect(of('hangs')).toMatchObject({ state: 'out of time', results: { soFar: 1 } })
  expect(of('crashes')).toMatchObject({ state: 'failed', results: { soFar: 2 } })
  expect(of('kills itself')).toMatchObject({ state: 'failed', line: 'ended by SIGSEGV' })
  expect(of('writes half').line).toMatch(/^its results cannot be read/)
  expect(of('works')).toMatchObject({ state: 'done', results: { answer: 42 }, line: 'all is well' })
  expect(onDisk(out)).toEqual(results)
  const files = readdirSync(out)
  expect(files.length).toBeLessThanOrEqual(8)
  for (const file of files) expect(statSync(join(out, file)).size).toBeLessThan(16 * 2 ** 20)
  expect(readFileSync(join(out, 'log.txt'), 'utf8')).toContain('it broke')
  const page = readFileSync(join(out, 'report.html'), 'utf8')
  for (const text of ['out of time', 'failed', 'all is well']) expect(page).toContain(text)
})

test('a variant that disagrees stops everything that follows', async () => {
  const comparison = { product: 'conv2d f32 [1, 8, 8, 4]', variant: 'winograd', error: 0.7, agrees: false }
  const found = { workloads: [], pipelines: { built: 1, of: 1, refused: [] }, products: { done: 1, of: 1 } }
  const { out, results, of } = await run('disagreement', [
    stage('smoke', `save(${JSON.stringify({ ...found, comparisons: [comparison] })})`),
    stage('kernels', `save(1)`),
  ])
  expect(results.stopped).toContain('winograd of conv2d f32 [1, 8, 8, 4]')
  expect(of('kernels')).toMatchObject({ state: 'left out', line: 'an earlier stage stopped everything' })
  expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('Stopped.')
})

test('a variant that is only refused stops nothing', async () => {
  const comparison = { product: 'p', variant: 'matrix', error: null, agrees: false, refused: 'no such feature' }
  const found = { workloads: [], pipelines: { built: 1, of: 1, refused: [] }, products: { done: 1, of: 1 } }
  const { of } = await run('refusal', [
    stage('smoke', `save(${JSON.stringify({ ...found, comparisons: [comparison] })})`),
    stage('kernels', `save(1)`),
  ])
  expect(of('kernels').state).toBe('done')
})

test('a signal ends the stage that runs, and the page is still written', async () => {
  const stop = new AbortController()
  setTimeout(() => stop.abort(), 2500)
  const { out, of } = await run(
    'stopped',
    [stage('long', `setInterval(() => undefined, 1000)`), stage('next', '')],
    stop.signal,
  )
  expect(of('long').state).toBe('failed')
  expect(of('next')).toMatchObject({ state: 'left out', line: 'the command was stopped' })
  expect(existsSync(join(out, 'report.html'))).toBe(true)
})

test('when the command itself is killed, its results so far are on disk and its stage ends', async () => {
  const out = join(folder, 'killed')
  const long = join(folder, 'long-lived.mjs')
  const pidFile = join(folder, 'pid')
  writeFileSync(
    long,
    `import { writeFileSync } from 'node:fs'\nwriteFileSync(${JSON.stringify(pidFile)}, String(process.pid))\nsetInterval(() => undefined, 1000)\n`,
  )
  const script = join(folder, 'host.mts')
  const stages = `[{ name: 'long', part: 'A', says: '', weight: 1, command: () => [${JSON.stringify(long)}], results: () => (existsSync(${JSON.stringify(pidFile)}) ? { soFar: 7 } : undefined) }]`
  writeFileSync(
    script,
    `import { existsSync } from 'node:fs'\nimport { benchGpu } from ${JSON.stringify(new URL('../../../bench/speed/gpu/gpu.ts', import.meta.url).pathname)}\n` +
      `await benchGpu({ out: ${JSON.stringify(out)}, minutes: 5, short: true, onMessage: () => undefined, stages: ${stages} })\n`,
  )
  const host = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script], { stdio: 'ignore' })
  const ended = new Promise((resolve) => host.on('exit', resolve))
  const running = (): StageRecord | undefined =>
    existsSync(join(out, 'results.json')) ? onDisk(out).stages[0] : undefined
  await expect.poll(running, { timeout: 100_000 }).toMatchObject({ state: 'running', results: { soFar: 7 } })
  host.kill('SIGKILL')
  await ended
  expect(onDisk(out).stages[0]).toMatchObject({ state: 'running', results: { soFar: 7 } })
  const pid = Number(readFileSync(pidFile, 'utf8'))
  const alive = (): boolean => {
    try {
      process.kill(pid, 0)
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }
  await expect.poll(alive, { timeout: 20_000 }).toBe(false)
})

test('results are not replaced unasked; --stage keeps those of the other parts', async () => {
  const { out } = await run('kept', [stage('first', 'save(1)')])
  await expect(run('kept', [stage('first', 'save(2)')])).rejects.toThrow('holds results already')
  const again = [stage('first', 'save(3)'), { ...stage('second', 'save(4)'), part: 'B' as const }]
  await benchGpu({ out, minutes: MINUTES, part: 'B', stages: again, short: true, onMessage: () => undefined })
  expect(onDisk(out).stages.map(({ results }) => results)).toEqual([1, 4])
})

test('shares of ceilings, time to win and bubbles', () => {
  const ceilings = { f32: 1000, subgroupMatrix: 4000, copy: 100 }
  const kernel = (name: string, milliseconds: number, flops: number, bytes: number) => ({
    ...{ kernel: name, op: name, constants: { T: 'f32' }, dispatches: 2, milliseconds, flops, bytes },
  })
  // 5 · 10⁸ operations in 1 ms are 500 GFLOP/s; 2 · 10⁷ bytes are 20 GB/s.
  expect(sharesOf(kernel('conv2d', 1, 5e8, 2e7), ceilings)).toEqual({ fma: 0.5, memory: 0.2 })
  expect(sharesOf(kernel('conv2d_matrix', 1, 1e9, 2e7), ceilings)).toEqual({ matrix: 0.25, memory: 0.2 })
  expect(sharesOf(kernel('copy', 1, 0, 9e7), ceilings)).toEqual({ memory: 0.9 })
  const pipelines = [kernel('conv2d', 1, 5e8, 2e7), kernel('conv2d_matrix', 1, 1e9, 2e7), kernel('copy', 1, 0, 9e7)]
  const wins = timeToWin({ pipelines }, ceilings)
  expect(wins.map(({ kernel }) => kernel)).toEqual(['conv2d_matrix', 'conv2d', 'copy'])
  expect(wins.map(({ win }) => Number(win.toFixed(6)))).toEqual([0.75, 0.5, 0.1])
  const event = (name: string, ts: number, dur: number) => ({
    ...{ name, cat: 'k', ph: 'X' as const, ts, dur },
    ...{ pid: 1, tid: 1, args: {} },
  })
  const bubbles = bubblesOf([event('a', 0, 10), event('b', 12, 8), event('c', 25, 5), event('d', 28, 4)])
  expect(bubbles).toMatchObject({ span: 32, idle: 7, dispatches: 4 })
  expect(bubbles!.longest.map(({ wait, after }) => [wait, after])).toEqual([
    [5, 'c (k)'],
    [2, 'b (k)'],
  ])
})

test('a page without any results says so', async () => {
  const page = await gpuPage({ kind: 'gpu', date: '', minutes: 1, stages: [] })
  expect(page).toContain('No adapter was measured')
})

test('smoke finds a wrong kernel among the variants', async () => {
  const own = await engine()
  // One sign of Winograd's output transform.
  const texts = {
    ...kernelTexts,
    winograd_output: kernelTexts['winograd_output'].replace('8.0 * f + m[5]', '8.0 * f - m[5]'),
  }
  const library = new KernelLibrary(texts)
  const wrong = Object.create(own, {
    library: { value: library },
    pipelines: { value: new PipelineCache(own.device, library) },
  }) as Engine
  const workloads = [workload({ width: 4, batch: 2, pixels: 8 })]
  const only = 'conv2d f32 [4, 8, 8, 4], f32 [3, 3, 4, 4]'
  const check = (with_: Engine) => smoke({ engine: with_, workloads, only, onMessage: () => undefined })
  const right = await check(own)
  expect(right.pipelines.built).toBe(right.pipelines.of)
  expect(right.comparisons.map(({ variant }) => variant)).toContain('winograd')
  expect(disagreements(right)).toEqual([])
  const found = disagreements(await check(wrong))
  expect(found.map(({ variant }) => variant)).toEqual(['winograd'])
})
