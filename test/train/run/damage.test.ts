/** Runs whose files are damaged: nothing is used silently, and the run goes on from what is whole. */
import { beforeAll, describe, expect, test } from 'vitest'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { openRun } from '../../../train/run/checkpoint.js'
import { checkpointName, checkpointPath, readConfig, readSummary } from '../../../train/run/folder.js'
import { missingMetrics } from '../../../train/run/metrics.js'
import { pretrain, type PretrainOptions } from '../../../train/run/pretrain.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'
import { memoryStore } from '../../support/memory_store.js'

type Files = Map<string, Uint8Array>

const config = (changes: PartialConfig = {}) =>
  resolveConfig({
    ...{ data: 'own images', width: 4, views: 2, projectorDim: 8, batch: 8, epochs: 3, checkpointEvery: 1 },
    augmentation: { size: 8 },
    ...changes,
  })

const run = async (files: Files, options: Partial<PretrainOptions> = {}, changes?: PartialConfig) =>
  pretrain({
    engine: await engine(),
    dataset: colourfulImages(24),
    config: config(changes),
    out: memoryStore(files),
    ...options,
  })

const STEPS = 9
const pathIn = (step: number, file: string) => checkpointPath(checkpointName(step), file)
const stateOf = (step: number) => pathIn(step, 'state.safetensors')
const statesIn = (files: Files) => [...files.keys()].filter((path) => path.endsWith('state.safetensors'))

const flipped = (bytes: Uint8Array, at = bytes.length - 5): Uint8Array => {
  const copy = bytes.slice()
  copy[at] ^= 1
  return copy
}
const edited = (files: Files, path: string, change: (text: string) => string): void => {
  files.set(path, new TextEncoder().encode(change(new TextDecoder().decode(files.get(path)))))
}

const done: Files = new Map()
beforeAll(async () => {
  await run(done)
})

describe('the last checkpoints can be resumed from', () => {
  test('two by default', () => expect(statesIn(done)).toEqual([stateOf(6), stateOf(9)]))

  test.each([
    [1, [9]],
    [3, [3, 6, 9]],
  ])('keep %d', async (keep, steps) => {
    const files: Files = new Map()
    await run(files, { keep })
    expect(statesIn(files)).toEqual(steps.map(stateOf))
  })

  const weightsIn = (files: Files) =>
    [...files.keys()].flatMap((path) => /step-0*(\d+)\/model\.safetensors$/.exec(path)?.[1] ?? []).map(Number)

  test.each([
    [0, [9]],
    [2, [6, 9]],
    [3, [9]],
  ])('of the others the weights stay every %d epochs, as keepWeights says', async (keepWeights, steps) => {
    const files: Files = new Map()
    await run(files, { keep: 1, keepWeights })
    expect(weightsIn(files)).toEqual(steps)
    expect(statesIn(files)).toEqual([stateOf(9)])
  })

  test('what a run has kept stays when it is resumed with another keepWeights', async () => {
    const files = new Map(done)
    await run(files, { keep: 1, keepWeights: 0, resume: true }, { epochs: 5 })
    expect(weightsIn(files)).toEqual([3, 6, 9, 15])
    await expect(run(new Map(), { keepWeights: -1 })).rejects.toThrow(
      '`keepWeights` -1: must be a whole number of at least 0',
    )
  })

  test.each([0, 1.5, NaN])('keep %d is refused', async (keep) => {
    await expect(run(new Map(), { keep })).rejects.toThrow(`\`keep\` ${keep}: must be a whole number of at least 1`)
  })
})

describe('a damaged checkpoint is named, and the one before it is used', () => {
  const rows: [what: string, damage: (files: Files) => void, line: RegExp][] = [
    ['one flipped bit', (f) => f.set(stateOf(9), flipped(f.get(stateOf(9))!)), /state\.safetensors: its checksum/],
    [
      'a truncated state',
      (f) => f.set(stateOf(9), f.get(stateOf(9))!.subarray(0, 100)),
      /has 100 bytes instead of \d+/,
    ],
    ['an empty state', (f) => f.set(stateOf(9), new Uint8Array()), /has 0 bytes instead of/],
    ['no state', (f) => f.delete(stateOf(9)), /state\.safetensors: there is no such file/],
    ['no checkpoint.json', (f) => f.delete(pathIn(9, 'checkpoint.json')), /checkpoint\.json: there is no such file/],
    ['flipped weights', (f) => f.set(pathIn(9, 'model.safetensors'), new Uint8Array(9)), /model\.safetensors: has 9 /],
    [
      'another step',
      (f) => edited(f, pathIn(9, 'checkpoint.json'), (text) => text.replace('"step": 9', '"step": "abc"')),
      /checkpoint\.json: step must be a number/,
    ],
    [
      'another position',
      (f) => edited(f, pathIn(9, 'checkpoint.json'), (text) => text.replace('"epoch": 3', '"epoch": 2')),
      /checkpoint\.json: its checksum/,
    ],
    ['half a JSON', (f) => edited(f, pathIn(9, 'checkpoint.json'), (text) => text.slice(0, 99)), /not valid JSON/],
  ]
  test.each(rows)('%s', async (_, damage, line) => {
    const files: Files = new Map(done)
    damage(files)
    const said: string[] = []
    await run(files, { resume: true, onMessage: (text) => said.push(text) })
    expect(said.filter((text) => text.endsWith('; step-00000006 is used instead'))).toEqual([
      expect.stringMatching(line),
    ])
    for (const file of ['state.safetensors', 'model.safetensors'])
      expect(Buffer.from(files.get(pathIn(9, file))!).equals(done.get(pathIn(9, file))!), file).toBe(true)
    expect(statesIn(files).sort()).toEqual([stateOf(6), stateOf(9)])
  })

  test('and none is left', async () => {
    const files: Files = new Map(done)
    for (const step of [6, 9]) files.set(stateOf(step), flipped(files.get(stateOf(step))!))
    await expect(run(files, { resume: true })).rejects.toThrow(
      /^memory:checkpoints\/step-00000009\/state\.safetensors: its checksum does not fit: the file is damaged; memory has no other checkpoint to use/,
    )
  })

  test('a damaged checkpoint does not count among the last ones', async () => {
    const files: Files = new Map(done)
    files.set(stateOf(9), flipped(files.get(stateOf(9))!))
    await run(files, { resume: true }, { steps: 12, epochs: 4, checkpointEvery: 4 })
    expect(statesIn(files).sort()).toEqual([stateOf(6), stateOf(12)])
  })
})

test('a folder that is no checkpoint does not stop a run from being resumed', async () => {
  const files: Files = new Map(done)
  files.set(pathIn(99999999, 'notes.txt'), new Uint8Array(1))
  const said: string[] = []
  await run(files, { resume: true, onMessage: (text) => said.push(text) }, { epochs: 4 })
  expect(said).toContain(
    'memory:checkpoints/step-99999999/checkpoint.json: there is no such file; step-00000009 is used instead',
  )
  expect((await openRun(memoryStore(files))).latest).toMatchObject({ step: 12 })
})

test('a checkpoint of an earlier version, without checksums, is accepted unless its files are cut', async () => {
  const old = (files: Files, step: number) =>
    edited(files, pathIn(step, 'checkpoint.json'), (text) => {
      const { config: _, files: __, sha256: ___, ...progress } = JSON.parse(text) as Record<string, unknown>
      return JSON.stringify(progress)
    })
  const files: Files = new Map(done)
  for (const step of [6, 9]) old(files, step)
  expect((await openRun(memoryStore(files), { purpose: 'resume' })).latest).toMatchObject({ step: STEPS })
  files.set(stateOf(9), files.get(stateOf(9))!.subarray(0, 1000))
  const { latest, damaged } = await openRun(memoryStore(files), { purpose: 'resume' })
  expect({ step: latest?.step, damaged }).toEqual({ step: 6, damaged: ['step-00000009'] })
})

describe('what is read from a run is validated', () => {
  const after = (path: string, change: (text: string) => string) => {
    const files: Files = new Map(done)
    edited(files, path, change)
    return memoryStore(files)
  }
  test.each<[what: string, change: (text: string) => string, line: string]>([
    ['YAML', () => '{', 'memory:config.yaml: not valid YAML: '],
    ['a mapping', () => '- 1', 'memory:config.yaml: holds no options: the file is damaged'],
    ['an empty file', () => '', 'memory:config.yaml: holds no options'],
    ['a number', (text) => text.replace('width: 4', 'width: four'), "memory:config.yaml: `width` 'four': must be"],
    ['a name', (text) => text.replace('width: 4', 'widht: 4'), "memory:config.yaml: unknown option 'widht'"],
  ])('config.yaml: %s', async (_, change, line) => {
    await expect(readConfig(after('config.yaml', change))).rejects.toThrow(line)
  })

  test('an edited seed is noticed', async () => {
    const store = after('config.yaml', (text) => text.replace('seed: 1', 'seed: 7'))
    const line = 'memory:config.yaml: seed is 7, but the run was trained with 1: restore it'
    await expect(openRun(store)).rejects.toThrow(line)
    await expect(run(new Map(), { out: store, resume: true }, { seed: 7 })).rejects.toThrow(line)
    // Options that may change when a run is resumed may also be edited.
    await openRun(after('config.yaml', (text) => text.replace('epochs: 3', 'epochs: 5')))
  })

  test('summary.json', async () => {
    await expect(readSummary(after('summary.json', (text) => text.replace('"done"', '"gone"')))).rejects.toThrow(
      'memory:summary.json: stopped choose one of done, signal, time',
    )
  })

  const lines = (count: string, which: string): string =>
    `memory:metrics.jsonl: lines are missing for ${count} steps before the checkpoint (${which}): the run goes on ` +
    'with the same weights, but curves and reports lack these steps'

  test('lines that metrics.jsonl has lost are named, and a whole file is not mentioned', async () => {
    const stepsOf = (text: string) => text.trimEnd().split('\n')
    const without = (dropped: number[]) => (text: string) =>
      stepsOf(text)
        .filter((_, i) => !dropped.includes(i + 1))
        .map((line) => `${line}\n`)
        .join('')
    expect(await missingMetrics(after('metrics.jsonl', without([])), 9)).toBeUndefined()
    expect(await missingMetrics(after('metrics.jsonl', without([2, 3, 9])), 9)).toBe(lines('3 of the 9', '2–3, 9'))
    expect(await missingMetrics(after('metrics.jsonl', without([1, 3, 5, 7])), 9)).toBe(
      lines('4 of the 9', '1, 3, 5, …'),
    )
    expect(await missingMetrics(memoryStore(new Map()), 9)).toBe(lines('9 of the 9', '1–9'))
  })

  test('a damaged line of metrics.jsonl is named and removed', async () => {
    const files: Files = new Map(done)
    edited(files, 'metrics.jsonl', (text) => `${text.replace('"loss":', '"lost":')}{"step": 9, "lo`)
    const said: string[] = []
    await run(files, { resume: true, onMessage: (line) => said.push(line) }, { epochs: 4 })
    expect(said).toContain('memory:metrics.jsonl: line 1: loss must be a number; the line is removed')
    expect(said.filter((line) => line.includes('missing'))).toEqual([lines('1 of the 9', '1')])
    const kept = new TextDecoder().decode(files.get('metrics.jsonl')).trimEnd().split('\n')
    expect(kept.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual(
      Array.from({ length: 11 }, (_, i) => i + 2),
    )
  })
})
