/** Pretraining on a small data set of the test's own: learning, resuming bit for bit, and what ends a run. */
import { mkdtempSync, readFileSync, readdirSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rm } from 'node:fs/promises'
import { resolveConfig, type PartialConfig } from '../../train/config.js'
import { openRun } from '../../train/checkpoint.js'
import { pretrain, type PretrainOptions, type PretrainResult } from '../../train/pretrain.js'
import { engine } from '../support/engine.js'
import { colourfulImages } from '../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rm(folder, { recursive: true }))

const dataset = colourfulImages(40)
const small = (changes: PartialConfig = {}) =>
  resolveConfig({
    data: 'own images',
    width: 4,
    views: 3,
    projectorDim: 8,
    lambda: 0.05,
    batch: 8,
    epochs: 2,
    checkpointEvery: 100,
    seed: 7,
    augmentation: { size: 8 },
    ...changes,
  })

async function run(options: Partial<PretrainOptions> & { changes?: PartialConfig }): Promise<PretrainResult> {
  return pretrain({ engine: await engine(), dataset, config: small(options.changes), ...options })
}

const bytesOf = (run: string, file: string) => {
  const [newest] = readdirSync(join(run, 'checkpoints')).sort().reverse()
  return readFileSync(join(run, 'checkpoints', newest, file))
}

describe('a run', () => {
  let whole: string
  beforeAll(async () => {
    whole = join(folder, 'whole')
    await run({ out: whole })
  })

  test('takes every whole batch of every epoch, and says so', async () => {
    const metrics = readFileSync(join(whole, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number; epoch: number; loss: number })
    expect(metrics.map((m) => m.step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(metrics.map((m) => m.epoch)).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    expect(metrics.every((m) => Number.isFinite(m.loss))).toBe(true)
    expect(JSON.parse(readFileSync(join(whole, 'summary.json'), 'utf8'))).toMatchObject({
      stopped: 'done',
      steps: 10,
      totalSteps: 10,
      epochs: 2,
    })
    const { config, latest } = await openRun(whole)
    expect(config).toEqual(small())
    expect(latest).toMatchObject({ step: 10, epoch: 2, stepInEpoch: 0 })
  })

  test('stopped in the middle of an epoch and resumed, equals an uninterrupted one bit for bit', async () => {
    const out = join(folder, 'parts')
    const abort = new AbortController()
    const first = await run({ out, signal: abort.signal, onStep: ({ step }) => step === 3 && abort.abort() })
    expect(first.stopped).toBe('signal')
    expect(first.steps).toBeGreaterThanOrEqual(3)
    expect(first.steps).toBeLessThan(10)
    const second = await run({ out, resume: true })
    expect(second).toMatchObject({ stopped: 'done', steps: 10 })
    expect(bytesOf(out, 'state.safetensors').equals(bytesOf(whole, 'state.safetensors'))).toBe(true)
    expect(bytesOf(out, 'model.safetensors').equals(bytesOf(whole, 'model.safetensors'))).toBe(true)
    const losses = (run: string) =>
      readFileSync(join(run, 'metrics.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { loss: number }).loss)
    expect(losses(out)).toEqual(losses(whole))
  })

  test('with another seed is another run', async () => {
    const out = join(folder, 'seed')
    await run({ out, changes: { seed: 8 } })
    expect(bytesOf(out, 'model.safetensors').equals(bytesOf(whole, 'model.safetensors'))).toBe(false)
  })

  test('is not overwritten', async () => {
    await expect(run({ out: whole })).rejects.toThrow(/holds a run already: continue it with --resume/)
  })

  test('stops at its time limit, saved', async () => {
    const out = join(folder, 'time')
    const result = await run({ out, maxMinutes: 1e-9, changes: { epochs: 50 } })
    expect(result.stopped).toBe('time')
    expect((await openRun(out)).latest?.step).toBe(result.steps)
  })
})

describe('a run ends in one line', () => {
  test('that names the step where the loss is not finite', async () => {
    await expect(run({ changes: { lr: 1e38, epochs: 5 } })).rejects.toThrow(
      /^the loss is (NaN|-?Infinity) at step \d+: lower --lr/,
    )
  })

  test('where the batch is larger than the data, with nothing written', async () => {
    const out = join(folder, 'none')
    await expect(run({ out, changes: { batch: 41 } })).rejects.toThrow(
      '--batch 41 is larger than the data set: 40 images of own images',
    )
    await expect(run({ out, changes: { batch: 21, fraction: 0.5 } })).rejects.toThrow(
      '20 images of own images (--fraction 0.5)',
    )
    expect(existsSync(out)).toBe(false)
  })

  test('where there is nothing to resume', async () => {
    await expect(run({ out: join(folder, 'nothing'), resume: true })).rejects.toThrow(/nothing holds no run/)
  })
})

test('per-view batch-norm trains, and differs from joint', async () => {
  const joint = await run({ changes: { steps: 2 } })
  const perView = await run({ changes: { steps: 2, bn: 'per-view' } })
  expect(perView.losses.every(Number.isFinite)).toBe(true)
  expect(perView.losses).not.toEqual(joint.losses)
})

describe('views in chunks', () => {
  const changes: PartialConfig = { bn: 'per-view', views: 4, viewChunk: 2 }

  test('train as all at once do', async () => {
    const [whole, chunked] = [await run({ changes: { ...changes, viewChunk: undefined } }), await run({ changes })]
    expect(chunked.losses).toHaveLength(10)
    for (const [i, loss] of whole.losses.entries())
      expect(Math.abs(chunked.losses[i] - loss) / loss, `step ${i + 1}`).toBeLessThan(0.02)
    expect(chunked.peakBytes).toBeLessThan(whole.peakBytes)
  })

  test('resume bit for bit, with chunks of the same size', async () => {
    const [whole, parts] = [join(folder, 'chunked-whole'), join(folder, 'chunked-parts')]
    await run({ out: whole, changes })
    await run({ out: parts, changes: { ...changes, steps: 3 } })
    for (const viewChunk of [undefined, 1])
      await expect(run({ out: parts, resume: true, changes: { ...changes, viewChunk } })).rejects.toThrow(
        /has viewChunk 2, not (undefined|1): start another run/,
      )
    await run({ out: parts, resume: true, changes })
    expect(bytesOf(parts, 'state.safetensors').equals(bytesOf(whole, 'state.safetensors'))).toBe(true)
  })

  test('say what is compiled before the first step', async () => {
    const [heard, messages]: [string[], string[]] = [[], []]
    await run({
      changes: { ...changes, steps: 1 },
      onCompile: (done, total) => heard.push(`${done}/${total}`),
      onStep: () => heard.push('step'),
      onMessage: (line) => messages.push(line),
    })
    const total = heard.length - 1
    expect(heard).toEqual([...Array.from({ length: total }, (_, i) => `${i + 1}/${total}`), 'step'])
    expect(messages).toContainEqual(
      expect.stringMatching(
        new RegExp(
          `^recorded [\\d,]+ dispatches a step of ${total} kernels in [\\d.]+ s; \\d+ MiB beside the weights$`,
        ),
      ),
    )
  })
})

test('learns: the loss falls well below where it starts', async () => {
  const { losses } = await run({ changes: { epochs: 12, lr: 3e-3, views: 2 } })
  const average = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length
  expect(average(losses.slice(-10))).toBeLessThan(0.8 * average(losses.slice(0, 5)))
})
