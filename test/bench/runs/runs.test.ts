/** Keys of runs, and cached readings. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Reading } from '../../../bench/runs/cached.js'
import { keyOf, nameOfReadout, type ReadoutSpec } from '../../../bench/runs/cached_runs.js'
import { Runs, type Splits } from '../../../bench/runs/runs.js'
import { openEngine } from '../../../engine/node/index.js'
import { resolveConfig } from '../../../train/config/config.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Images of three classes, as `classOf` has them. */
const labelled = (count: number, split: 'train' | 'test', classOf = (image: number): number => image % 3) => {
  const { images, height, width } = colourfulImages(count)
  const labels = Uint32Array.from({ length: count }, (_, i) => classOf(i))
  return fromArrays({ images, height, width, labels, classes: ['a', 'b', 'c'], split })
}
const train = labelled(16, 'train')
const all: Splits = { pretraining: train, train, test: labelled(12, 'test') }

const tiny = {
  ...{ data: 'own images', width: 4, batch: 8, epochs: 1, checkpointEvery: 1, views: 2, projectorDim: 8 },
  augmentation: { size: 8 },
}
const readout: ReadoutSpec = { views: 1, seeds: 1, epochs: 2, knn: false }

describe('a key', () => {
  const key = keyOf(resolveConfig({ views: 2, lr: 1 }))

  test('depends on what a run computes, not on the order of fields', () => {
    expect(keyOf(resolveConfig({ lr: 1, views: 2 }))).toBe(key)
    expect(keyOf(resolveConfig({ lr: 1, views: 2, seed: 2 }))).not.toBe(key)
    expect(keyOf(resolveConfig({ lr: 1, views: 2, augmentation: { flip: 0 } }))).not.toBe(key)
  })

  test.each(['cifar10', 'cifar100', 'stl10'])('does not depend on the folder of %s', (data) => {
    const [here, there] = [undefined, '/elsewhere'].map((dataDir) => keyOf(resolveConfig({ data, dataDir })))
    expect(there).toBe(here)
  })

  test('differs between folder data sets, whatever form their paths have', () => {
    const of = (dataDir: string) => keyOf(resolveConfig({ data: 'folder', dataDir }))
    expect(of('/pictures/b')).not.toBe(of('/pictures/a'))
    expect(of('/pictures/b/../a/')).toBe(of('/pictures/a'))
    expect(of(relative(process.cwd(), '/pictures/a'))).toBe(of('/pictures/a'))
  })
})

test('limits per class apply to each data set, even if two have the same name', async () => {
  // At most 3 images per class: 9 images of one data set and 4 of the other.
  const other = { ...all, test: labelled(12, 'test', (i) => (i === 0 ? 1 : 0)) }
  const splits = ({ seed }: { seed: number }): Promise<Splits> => Promise.resolve(seed === 1 ? all : other)
  const runs = new Runs({ engine: await engine(), root: join(folder, 'cuts'), splits })
  for (const [seed, testCount] of [
    [1, 9],
    [2, 4],
  ]) {
    const config = resolveConfig({ ...tiny, seed })
    expect(await runs.run({ config, readout: { ...readout, testPerClass: 3 } })).toMatchObject({
      readings: [{ step: 2, testCount }],
    })
  }
})

describe('a reading', () => {
  const request = { config: resolveConfig({ ...tiny, epochs: 2, emaRate: 0.5, onlineProbe: true }), readout }
  const runsHere = async () =>
    new Runs({ engine: await engine(), root: join(folder, 'readings'), splits: () => Promise.resolve(all) })
  const averaged = { ...request, readout: { ...readout, average: true } }

  test('names the adapter of its run, and all adapters of a resumed run', async () => {
    const { description } = await engine()
    const runs = await runsHere()
    const result = await runs.run(request)
    expect(result).toMatchObject({ readings: [{ step: 4, adapter: description }] })

    // An old reading without an adapter, of a run that began on another adapter.
    const file = join(result.folder, 'readings', nameOfReadout(readout), 'step-00000004.json')
    const { adapter: _, ...old } = JSON.parse(readFileSync(file, 'utf8')) as Reading
    writeFileSync(file, JSON.stringify(old))
    const begun = join(result.folder, 'checkpoints', 'step-00000002', 'checkpoint.json')
    const { sha256: __, ...record } = JSON.parse(readFileSync(begun, 'utf8')) as Record<string, unknown>
    writeFileSync(begun, JSON.stringify({ ...record, adapter: 'another' }))
    expect(await runs.found(request)).toMatchObject({ readings: [{ ...old, adapter: `another, then ${description}` }] })
  })

  test('is of the moving average if the request says so', async () => {
    const runs = await runsHere()
    const { folder: of } = await runs.run(request)
    // Only the file of the average is left, so the reading must be of the average.
    rmSync(join(of, 'checkpoints', 'step-00000004', 'model.safetensors'))
    expect(await runs.run(averaged)).toMatchObject({ readings: [{ step: 4 }] })
    expect(await runs.found(request)).toMatchObject({ readings: [{ step: 4 }] })
  })

  test('comes with online.jsonl if the run has onlineProbe', async () => {
    // Pretraining images without labels search for neighbours among the training images.
    const pretraining: Splits['train'] = { ...train, split: 'unlabelled', labels: new Uint8Array(0), classes: [] }
    const root = join(folder, 'unlabelled')
    const unlabelled = new Runs({
      engine: await engine(),
      root,
      splits: () => Promise.resolve({ ...all, pretraining }),
    })
    for (const result of [await (await runsHere()).run(averaged), await unlabelled.run(request)]) {
      const read = readFileSync(join(result.folder, 'online.jsonl'), 'utf8').trimEnd().split('\n')
      expect(read.map((line) => JSON.parse(line) as object)).toMatchObject([
        { step: 2, bank: 16, queries: 12 },
        { step: 4, bank: 16, queries: 12 },
      ])
    }
  })
})

describe('a damaged file', () => {
  const whole = { step: 2, epoch: 1, seconds: 1, views: 1, top1: 0.5, top5: 1, testCount: 12 }
  const request = { config: resolveConfig({ ...tiny, seed: 9 }), readout }
  const said: string[] = []
  const runsHere = async () =>
    new Runs({
      engine: await engine(),
      root: join(folder, 'damaged'),
      splits: () => Promise.resolve(all),
      onMessage: (line) => said.push(line),
    })

  test.each([
    ['', 'not valid JSON'],
    ['{"step": 2, "top1"', 'not valid JSON'],
    ['null', 'must be object'],
    ['[]', 'must be object'],
    [JSON.stringify({ ...whole, top1: 'x' }), 'top1 must be a number'],
    [JSON.stringify({ ...whole, top1: 1.5 }), 'top1 must be at most 1'],
    [JSON.stringify({ ...whole, seconds: undefined }), 'seconds must be a number'],
    [JSON.stringify({ ...whole, step: 1 }), 'step must be 2'],
    [JSON.stringify({ ...whole, adapter: {} }), 'adapter must be'],
  ])('of a reading, %j, is named, and the checkpoint is read out again', async (text, reason) => {
    const first = await (await runsHere()).run(request)
    const file = join(first.folder, 'readings', nameOfReadout(readout), 'step-00000002.json')
    writeFileSync(file, text)
    said.length = 0
    const runs = await runsHere()
    for (let times = 0; times < 2; times++) expect(await runs.isDone(request)).toBe(false)
    expect(await runs.run(request)).toEqual(first)
    expect(await (await runsHere()).found(request)).toEqual(first)
    expect(said).toEqual([expect.stringContaining(`${file}: ${reason}`)])
    expect(said[0]).toMatch(/^[^\n]*: the checkpoint is read out again$/)
  })

  test.each(['', '[]', '{"error": 5}', '{"error": ""}', 'null'])(
    'of a failure, %j, is named, and the run is made',
    async (text) => {
      const runs = await runsHere()
      const first = await runs.run(request)
      const file = join(first.folder, 'failed.json')
      writeFileSync(file, text)
      said.length = 0
      expect(await runs.run(request)).toEqual(first)
      expect(said).toEqual([expect.stringContaining(`${file}: `)])
      rmSync(file)
    },
  )

  test('of a summary is named, and the run is resumed at its end', async () => {
    const runs = await runsHere()
    const first = await runs.run(request)
    const file = join(first.folder, 'summary.json')
    writeFileSync(file, readFileSync(file).subarray(0, 20))
    said.length = 0
    expect(await runs.run(request)).toEqual(first)
    expect(said).toEqual([expect.stringContaining(`${file}: not valid JSON`)])
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ stopped: 'done', steps: 2 })
  })
})

describe('a run that fails', () => {
  test('leaves nothing on the device, and neither does a finished run', async () => {
    const on = await engine()
    // Counts the buffers of Variables: the engine's counter does not count freed buffers.
    const { variables } = (on as unknown as { held: { current: { variables: Map<unknown, GPUBuffer> } } }).held.current
    const before = variables.size
    const runsOf = (splits: Splits) =>
      new Runs({ engine: on, root: join(folder, 'released'), splits: () => Promise.resolve(splits) })
    const request = { config: resolveConfig({ ...tiny, seed: 3, emaRate: 0.5 }), readout }
    const unlabelled = { ...all, test: { ...all.test, labels: new Uint8Array(0) } }
    expect(await runsOf(unlabelled).run(request)).toMatchObject({
      error: expect.stringMatching(/^readout: the test images .* have no labels$/) as string,
    })
    expect(variables.size).toBe(before)
    for (const objective of ['barlow-twins', 'byol'] as const)
      for (const [lr, outcome] of [
        [1e-3, { readings: [{ step: 8 }] }],
        [1e30, { error: expect.stringMatching(/^the loss is \S+ at step|not finite after step/) as string }],
      ] as const) {
        const config = resolveConfig({ ...tiny, objective, lr, epochs: 4, emaRate: 0.5, onlineProbe: true })
        expect(await runsOf(all).run({ config, readout })).toMatchObject(outcome)
        expect(variables.size, `${objective}, --lr ${lr}`).toBe(before)
      }
  })

  test('because the device is lost ends all runs in one line, and continues on another device', async () => {
    const config = resolveConfig({ ...tiny, epochs: 2, seed: 3 })
    const options = { root: join(folder, 'lost'), splits: () => Promise.resolve(all) }
    const lost = await openEngine()
    const runs = new Runs({
      ...options,
      engine: lost,
      onProgress: (_, done) => void (done === 2 && lost.device.destroy()),
    })
    const line = /^GPU error on .*: the device was lost \(.*; finished runs are kept: run the same command to continue$/
    await expect(runs.run({ config, readout })).rejects.toThrow(line)
    await expect(runs.run({ config: { ...config, seed: 4 }, readout })).rejects.toThrow(line)
    const again = new Runs({ ...options, engine: await engine() })
    expect(await again.run({ config, readout })).toMatchObject({ readings: [{ step: 4 }] })
  })
})
