/** The file of kept readings: what is found again, what is not, and what another machine makes of it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { KeptReadings, outcomeOptions, sameOutcome } from '../../../bench/runs/kept.js'
import type { ReadoutSpec } from '../../../bench/runs/cached_runs.js'
import { Runs } from '../../../bench/runs/runs.js'
import { stepSeconds } from '../../../bench/runs/step_times.js'
import { resolveConfig } from '../../../train/config/config.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

const images = fromArrays({
  ...colourfulImages(16),
  labels: Uint32Array.from({ length: 16 }, (_, i) => i % 3),
  classes: ['a', 'b', 'c'],
})
const config = resolveConfig({
  ...{ data: 'own images', width: 4, batch: 8, epochs: 2, checkpointEvery: 1, views: 2, projectorDim: 8 },
  augmentation: { size: 8 },
})
const readout: ReadoutSpec = { views: 1, seeds: 1, epochs: 2, knn: false }

test('another machine takes the readings from the file, and makes only what is missing', async () => {
  const file = join(folder, 'kept', 'readings.jsonl')
  const device = await engine()
  const here = new Runs({
    engine: device,
    root: join(folder, 'here'),
    splits: () => Promise.resolve({ pretraining: images, train: images, test: images }),
    kept: await KeptReadings.open(file),
  })
  const request = { config, readout, curve: true }
  const made = await here.run(request)
  const diverging = { ...request, config: { ...config, lr: 1e30 } }
  const diverged = await here.run(diverging)
  expect(made).toMatchObject({ readings: [{ epoch: 1 }, { epoch: 2 }] })
  expect(diverged).toHaveProperty('error')

  const there = new Runs({
    engine: device,
    root: join(folder, 'there'),
    splits: () => Promise.reject(new Error('no run is made')),
    kept: await KeptReadings.open(file),
  })
  expect(await there.run(request)).toMatchObject({ readings: (made as { readings: unknown }).readings })
  expect(await there.run({ ...request, curve: false })).toMatchObject({ readings: [{ epoch: 2 }] })
  expect(await there.run(diverging)).toMatchObject({ error: (diverged as { error: string }).error })
  expect(await there.isDone({ ...request, readout: { ...readout, views: 2 } })).toBe(false)
  expect(await there.isDone({ ...request, config: { ...config, seed: 2 } })).toBe(false)
  expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(2)
})

test('a damaged line is named', async () => {
  const file = join(folder, 'damaged.jsonl')
  writeFileSync(file, '\n{"kind":"run"\n')
  await expect(KeptReadings.open(file)).rejects.toThrow(`${file}, line 2: is not JSON: remove the line`)
  writeFileSync(file, '{"kind":"run","config":{},"readout":"x","curve":1,"readings":[]}\n')
  await expect(KeptReadings.open(file)).rejects.toThrow(`${file}, line 1: curve must be true or false`)
})

describe('a recorded configuration', () => {
  const recorded = (): Record<string, unknown> => structuredClone(outcomeOptions(config))

  test('does not match another value, even in a list or deep inside', () => {
    expect(sameOutcome(recorded(), config)).toBe(true)
    expect(sameOutcome(recorded(), { ...config, dataDir: '/elsewhere' })).toBe(true)
    expect(sameOutcome(recorded(), { ...config, views: 4 })).toBe(false)
    const { augmentation } = config
    expect(sameOutcome(recorded(), { ...config, augmentation: { ...augmentation, scale: [0.1, 1] } })).toBe(false)
    const jitter = { ...augmentation.jitter, hue: 0.1 }
    expect(sameOutcome(recorded(), { ...config, augmentation: { ...augmentation, jitter } })).toBe(false)
  })

  test('from before an option existed matches only the default of that option', () => {
    const older = recorded()
    delete older.stemRelu
    expect(sameOutcome(older, config)).toBe(true)
    expect(sameOutcome(older, { ...config, stemRelu: false })).toBe(false)
    delete (older.augmentation as Record<string, unknown>).solarize
    expect(sameOutcome(older, config)).toBe(true)
  })
})

test('the seconds of steps are positive, in the order of the configurations, and kept by seed', async () => {
  const wide = { ...config, views: 4 }
  const seconds = await stepSeconds([config, wide], {
    ...{ engine: await engine(), dataset: images, rounds: 2, stepsPerRound: 3 },
  })
  expect(seconds).toHaveLength(2)
  for (const one of seconds) expect(one).toBeGreaterThan(0)
  const file = join(folder, 'times.jsonl')
  const steps = [config, wide].map((one, i) => ({ config: outcomeOptions(one), seconds: seconds[i] }))
  await (await KeptReadings.open(file)).addTimes({ kind: 'times', seed: 1, adapter: 'a', cpu: 'b', steps })
  const kept = await KeptReadings.open(file)
  expect(kept.stepSeconds(1, [wide, config])).toEqual([seconds[1], seconds[0]])
  expect(kept.stepSeconds(2, [wide, config])).toBeUndefined()
  expect(kept.stepSeconds(1, [{ ...config, views: 8 }])).toBeUndefined()
})
