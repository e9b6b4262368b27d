/** Pretraining with f16 activations: it learns like f32, resumes, and is an error on adapters without f16. */
import { existsSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Engine } from '../../../engine/index.js'
import { decodeSafetensors, toFloat32 } from '../../../models/index.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { pretrain, type PretrainOptions } from '../../../train/node/pretrain.js'
import type { PretrainResult, StepMetrics } from '../../../train/run/pretrain.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rm(folder, { recursive: true }))

const dataset = colourfulImages(40)

async function run({
  changes,
  ...options
}: Partial<PretrainOptions> & { changes?: PartialConfig } = {}): Promise<PretrainResult> {
  const config = resolveConfig({
    data: 'own images',
    width: 4,
    views: 2,
    projectorDim: 8,
    lambda: 0.05,
    batch: 8,
    epochs: 6,
    checkpointEvery: 100,
    seed: 7,
    precision: 'f16',
    augmentation: { size: 8 },
    ...changes,
  })
  return pretrain({ engine: await engine(), dataset, config, ...options })
}

const average = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length

const stateOf = (run: string): Buffer => {
  const [newest] = readdirSync(join(run, 'checkpoints')).sort().reverse()
  return readFileSync(join(run, 'checkpoints', newest, 'state.safetensors'))
}

const metricsOf = (run: string): StepMetrics[] =>
  readFileSync(join(run, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as StepMetrics)

describe.skipIf(!(await engine()).target.f16)('`precision` f16', () => {
  test('learns like f32, in less memory', async () => {
    // A small learning rate: with a larger one, rounding and the skipped first steps lead to other weights.
    const changes: PartialConfig = { lr: 1e-4, batch: 40, epochs: 30 }
    const [f32, f16] = [await run({ changes: { ...changes, precision: 'f32' } }), await run({ changes })]
    expect(f16.losses).toHaveLength(30)
    for (const [i, loss] of f32.losses.entries())
      expect(Math.abs(f16.losses[i] - loss) / loss, `step ${i + 1}: ${f16.losses[i]} for ${loss}`).toBeLessThan(0.06)
    expect(Math.abs(average(f16.losses) / average(f32.losses) - 1)).toBeLessThan(0.025)
    expect(average(f16.losses.slice(-5))).toBeLessThan(0.75 * average(f16.losses.slice(0, 5)))
    expect(f16.losses).not.toEqual(f32.losses)
    expect(f16.peakBytes).toBeLessThan(0.75 * f32.peakBytes)
    expect([f32.skipped, f16.skipped]).toEqual([undefined, expect.any(Number)])
  })

  test('resumes bit for bit, with its loss scale', async () => {
    const [whole, parts] = [join(folder, 'whole'), join(folder, 'parts')]
    const { skipped } = await run({ out: whole })
    await run({ out: parts, changes: { steps: 7 } })
    await run({ out: parts, resume: true })
    expect(stateOf(parts).equals(stateOf(whole))).toBe(true)
    const { tensors } = decodeSafetensors(stateOf(whole), whole)
    const last = metricsOf(whole).at(-1)!
    expect(toFloat32(tensors['loss_scale'])[0]).toBe(last.lossScale)
    expect(last).toMatchObject({ step: 30, skipped, lossScale: 65536 / 2 ** skipped! })
    const kept = (m: StepMetrics) => ({ ...m, seconds: 0, imagesPerSecond: 0 })
    expect(metricsOf(parts).map((m) => kept({ ...m, steps: 30 }))).toEqual(metricsOf(whole).map(kept))
    await expect(run({ out: parts, resume: true, changes: { precision: 'f32' } })).rejects.toThrow(
      /has precision "f16", not "f32": start another run/,
    )
  })

  test('views in chunks train like all views at once', async () => {
    const changes: PartialConfig = { bn: 'per-view', views: 4, epochs: 2 }
    const whole = await run({ changes })
    const chunked = await run({ changes: { ...changes, viewChunk: 2 } })
    for (const [i, loss] of whole.losses.entries())
      expect(Math.abs(chunked.losses[i] - loss) / loss, `step ${i + 1}`).toBeLessThan(0.03)
    expect(chunked.skipped).toBe(whole.skipped)
    expect(chunked.peakBytes).toBeLessThan(whole.peakBytes)
  })
})

test('on an adapter without f16 it is an error of one line, and nothing is written', async () => {
  const gpu = await engine()
  const without = Object.create(gpu, { target: { value: { ...gpu.target, f16: false } } }) as Engine
  const out = join(folder, 'none')
  await expect(run({ engine: without, out })).rejects.toThrow(
    `\`precision\` f16: ${gpu.description} has no f16 (shader-f16): train with \`precision\` f32, or choose another \`adapter\``,
  )
  expect(existsSync(out)).toBe(false)
})
