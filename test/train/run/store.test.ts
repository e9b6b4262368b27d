/** A run whose RunStore is not a folder, as in a browser. */
import { expect, test } from 'vitest'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { openRun } from '../../../train/run/checkpoint.js'
import { checkpointName, checkpointPath, readSummary, stepOf } from '../../../train/run/folder.js'
import { pretrain, type PretrainOptions } from '../../../train/run/pretrain.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'
import { memoryStore } from '../../support/memory_store.js'

const config = (changes: PartialConfig = {}) =>
  resolveConfig({
    ...{ data: 'own images', width: 4, views: 2, projectorDim: 8, batch: 8, epochs: 2, checkpointEvery: 1 },
    augmentation: { size: 8 },
    ...changes,
  })

const run = async (options: Partial<PretrainOptions>, changes?: PartialConfig) =>
  pretrain({ engine: await engine(), dataset: colourfulImages(24), config: config(changes), ...options })

test('a run in memory resumes bit for bit, and does not change the variants of the engine', async () => {
  const gpu = await engine()
  const [whole, parts] = [new Map<string, Uint8Array>(), new Map<string, Uint8Array>()]
  await run({ out: memoryStore(whole) })
  await run({ out: memoryStore(parts) }, { steps: 4 })
  const { config: kept, latest } = await openRun(memoryStore(parts))
  expect(kept).toEqual(config({ steps: 4 }))
  expect(latest).toMatchObject({ name: 'step-00000004', step: 4, epoch: 1, stepInEpoch: 1 })

  const before = [...gpu.variants]
  await run({ out: memoryStore(parts), resume: true }, { steps: 6 })
  expect([...gpu.variants]).toEqual(before)
  for (const file of ['state.safetensors', 'model.safetensors']) {
    const path = checkpointPath(checkpointName(6), file)
    expect(parts.get(path), file).toEqual(whole.get(path))
  }
  expect([...parts.keys()].filter((name) => name.endsWith('state.safetensors'))).toHaveLength(2)
  expect(await readSummary(memoryStore(parts))).toMatchObject({ stopped: 'done', steps: 6, totalSteps: 6 })
})

test('a run in memory is not overwritten, and does not become another run', async () => {
  const out = memoryStore()
  await run({ out }, { steps: 1 })
  await expect(run({ out })).rejects.toThrow('`out` memory holds a run already: continue it with `resume`')
  await expect(run({ out, resume: true }, { seed: 9 })).rejects.toThrow('the run in memory has seed 1, not 9')
  await expect(run({ out: memoryStore(), resume: true })).rejects.toThrow('memory holds no run')
  await expect(run({ resume: true })).rejects.toThrow('`resume`: name the run with `out`')
})

test('names of checkpoints', () => {
  expect(checkpointName(390)).toBe('step-00000390')
  expect(['step-00000390', 'step-', '.step-1.tmp', 'step-1x'].map(stepOf)).toEqual([
    390,
    undefined,
    undefined,
    undefined,
  ])
})
