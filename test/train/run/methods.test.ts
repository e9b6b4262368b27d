/** Objectives, optimisers, schedules and readings in a run: they learn, resume bit for bit, and are recorded. */
import { existsSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { decodeSafetensors, toFloat32 } from '../../../models/index.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import type { StepMetrics } from '../../../train/run/metrics.js'
import { pretrain, type PretrainOptions } from '../../../train/node/pretrain.js'
import type { PretrainResult } from '../../../train/run/pretrain.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rm(folder, { recursive: true }))

const labelled = (count: number) => ({
  ...colourfulImages(count),
  labels: Uint8Array.from({ length: count }, (_, i) => i % 3),
  classes: ['one', 'two', 'three'],
})
const dataset = labelled(48)

async function run({
  changes,
  ...options
}: Partial<PretrainOptions> & { changes?: PartialConfig } = {}): Promise<PretrainResult> {
  const config = resolveConfig({
    data: 'own images',
    width: 4,
    views: 2,
    projectorDim: 8,
    batch: 12,
    epochs: 5,
    checkpointEvery: 100,
    seed: 3,
    augmentation: { size: 8 },
    ...changes,
  })
  return pretrain({ engine: await engine(), dataset, config, ...options })
}

const newest = (run: string, file: string): Buffer => {
  const [last] = readdirSync(join(run, 'checkpoints')).sort().reverse()
  return readFileSync(join(run, 'checkpoints', last, file))
}
const linesOf = <T>(run: string, file: string): T[] =>
  readFileSync(join(run, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T)
const average = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length

describe('objectives', () => {
  test.each<[string, PartialConfig]>([
    ['barlow-twins-leave-one-out', { views: 3 }],
    ['barlow-twins-original', { projectorDepth: 3 }],
    ['vicreg', { views: 3 }],
    ['vicreg-original', {}],
    ['simclr', { bn: 'per-view' }],
    ['byol', { bn: 'per-view', stemRelu: false }],
    ['spectral', { views: 4, beta: 2 }],
    ['spectral', { views: 3, estimator: 'clean', bn: 'per-view', onlineProbe: true, accumulate: 2, batch: 6 }],
    ['frossl', { views: 3 }],
    ['emp-ssl', { views: 4 }],
    ['mmcr', { views: 3, lambda: 0.1 }],
    ['lejepa', { slices: 16 }],
    ['mv-infonce', { views: 3, bn: 'per-view', viewChunk: 1 }],
    ['fastsiam', { views: 4 }],
    ['barlow-twins', { secondGradient: 'sam', optimizer: 'adamw', clipNorm: 10 }],
    ['vicreg', { secondGradient: 'extragradient' }],
    ['barlow-twins', { gateBudget: 0.5, views: 3 }],
  ])('%s %j learns', async (objective, changes) => {
    const { losses } = await run({ changes: { objective: objective as 'vicreg', lr: 3e-3, ...changes } })
    expect(losses).toHaveLength(20)
    expect(average(losses.slice(-5))).toBeLessThan(average(losses.slice(0, 5)))
  })
})

describe('resuming is bit for bit', () => {
  const byol: PartialConfig = {
    objective: 'byol',
    bn: 'per-view',
    optimizer: 'lars',
    lr: 0.2,
    schedule: 'cosine',
    warmupEpochs: 1,
  }
  const many: PartialConfig = {
    optimizer: 'sgd',
    lr: 0.05,
    momentum: 0.8,
    schedule: 'cosine',
    lrFloor: 0.1,
    clipNorm: 1,
    accumulate: 2,
    emaRate: 0.9,
    onlineProbe: true,
    adaptiveLambda: true,
    batch: 8,
  }
  const chunked: PartialConfig = {
    objective: 'vicreg',
    optimizer: 'adamw',
    views: 3,
    viewChunk: 1,
    bn: 'per-view',
    emaRate: 0.5,
    onlineProbe: true,
  }
  test.each<[string, PartialConfig, number]>([
    ['BYOL with LARS, warm-up and cosine', byol, 20],
    ['SGD, cosine, clipping, micro-batches, moving average, probe, adaptive λ', many, 15],
    ['AdamW, VICReg in chunks of views, moving average, probe', chunked, 20],
  ])('%s', async (name, changes, steps) => {
    const [whole, parts] = ['whole', 'parts'].map((part) => join(folder, `${name.slice(0, 4)} ${part}`))
    const { losses } = await run({ changes, out: whole })
    expect(losses).toHaveLength(steps)
    const abort = new AbortController()
    const first = await run({
      changes,
      out: parts,
      signal: abort.signal,
      onStep: ({ step }) => step === 7 && abort.abort(),
    })
    expect(first.stopped).toBe('signal')
    await run({ changes, out: parts, resume: true })
    for (const file of ['state.safetensors', 'model.safetensors', ...(changes.emaRate ? ['average.safetensors'] : [])])
      expect(newest(parts, file).equals(newest(whole, file)), file).toBe(true)
    const kept = (m: StepMetrics) => ({ ...m, seconds: 0, imagesPerSecond: 0 })
    expect(linesOf<StepMetrics>(parts, 'metrics.jsonl').map(kept)).toEqual(
      linesOf<StepMetrics>(whole, 'metrics.jsonl').map(kept),
    )
  })
})

describe('in a run', () => {
  test('the learning rate follows its schedule, λ follows the spectrum, and readouts are recorded', async () => {
    const out = join(folder, 'beside')
    const messages: string[] = []
    await run({
      changes: {
        schedule: 'cosine',
        warmupEpochs: 1,
        lr: 0.01,
        adaptiveLambda: true,
        onlineProbe: true,
        checkpointEvery: 2,
      },
      test: labelled(20),
      out,
      onMessage: (line) => messages.push(line),
    })
    const metrics = linesOf<StepMetrics>(out, 'metrics.jsonl')
    expect(metrics.map(({ lr }) => lr)).toEqual(
      Array.from({ length: 20 }, (_, i) =>
        i < 4 ? (0.01 * (i + 1)) / 4 : 0.005 * (1 + Math.cos((Math.PI * (i - 4)) / 16)),
      ),
    )
    const lambdas = metrics.map(({ lambda }) => lambda!)
    for (const epoch of [0, 1, 2, 3, 4]) expect(new Set(lambdas.slice(4 * epoch, 4 * epoch + 4)).size).toBe(1)
    expect(lambdas[0]).toBeCloseTo(0.01, 7)
    expect(lambdas[19]).not.toBe(lambdas[0])
    expect(metrics.every(({ probeTop1 }) => probeTop1! >= 0 && probeTop1! <= 1)).toBe(true)
    const online = linesOf<{ step: number; epoch: number; top1: number; views: number }>(out, 'online.jsonl')
    expect(online.map(({ step, epoch, views }) => [step, epoch, views])).toEqual([
      [8, 2, 1],
      [16, 4, 1],
      // The end of the run is a checkpoint too.
      [20, 5, 1],
    ])
    expect(
      messages.filter((line) => /kNN-20 top-1 [\d.]+ % \(20 test images among 48, 1 clean view\)/.test(line)),
    ).toHaveLength(3)
  })

  test('the probe does not change the run', async () => {
    const [without, beside] = [await run(), await run({ changes: { onlineProbe: true } })]
    expect(beside.losses).toEqual(without.losses)
  })

  test('a moving average at rate 0 equals the network; at a higher rate it lags behind', async () => {
    const tensorsOf = async (emaRate: number) => {
      const out = join(folder, `average ${emaRate}`)
      await run({ changes: { emaRate, epochs: 1 }, out })
      return ['model', 'average'].map((name) => decodeSafetensors(newest(out, `${name}.safetensors`), name).tensors)
    }
    const [model, same] = await tensorsOf(0)
    expect(Object.keys(same)).toEqual(Object.keys(model).filter((name) => !name.startsWith('projector')))
    for (const [name, tensor] of Object.entries(same)) expect(tensor.data, name).toEqual(model[name].data)
    const [, slow] = await tensorsOf(0.99)
    const [running] = [toFloat32(slow['layer1.0.bn1.running_mean'])]
    // Four steps of 1 % each, starting at 0.
    const reached = toFloat32(model['layer1.0.bn1.running_mean'])
    running.forEach((r, i) => expect(Math.abs(r)).toBeLessThan(0.05 * Math.abs(reached[i]) + 1e-6))
  })

  test('micro-batches train on all images, and the loss is the mean over micro-batches', async () => {
    const { losses, steps } = await run({ changes: { accumulate: 2, batch: 6, lr: 1e-9 } })
    expect(steps).toBe(20)
    const separate = await run({ changes: { batch: 6, lr: 1e-9 } })
    // The weights hardly change, so each loss is the mean of two single steps.
    losses.slice(0, 3).forEach((loss, i) => {
      const both = average(separate.losses.slice(2 * i, 2 * i + 2))
      expect(Math.abs(loss / both - 1)).toBeLessThan(1e-4)
    })
  })

  test('views of several sizes learn', async () => {
    const crops = [
      { views: 2, size: 8, scale: [0.4, 1] as [number, number] },
      { views: 3, size: 5, scale: [0.05, 0.4] as [number, number] },
    ]
    const { losses } = await run({ changes: { views: 5, lr: 3e-3, augmentation: { size: 8, crops } } })
    expect(average(losses.slice(-5))).toBeLessThan(average(losses.slice(0, 5)))
  })

  test('onlineProbe without labels is an error of one line, before anything is written', async () => {
    const out = join(folder, 'refused')
    const unlabelled = { ...dataset, labels: new Uint8Array(0) }
    await expect(run({ changes: { onlineProbe: true }, dataset: unlabelled, out })).rejects.toThrow(
      /^`onlineProbe`: the images of .* have no labels, and no labelled images are given: leave it out$/,
    )
    expect(existsSync(out)).toBe(false)
  })
})
