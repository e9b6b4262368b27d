/** What makes two runs the same one, and what a reading is of. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { keyOf, Runs, type ReadoutSpec, type Splits } from '../../bench/runs.js'
import { resolveConfig } from '../../train/config.js'
import { fromArrays } from '../../train/data/dataset.js'
import { engine } from '../support/engine.js'
import { colourfulImages } from '../support/images.js'

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
  ...{ data: 'own images', width: 4, batch: 8, steps: 2, checkpointEvery: 1, views: 2, projectorDim: 8 },
  augmentation: { size: 8 },
}
const readout: ReadoutSpec = { views: 1, seeds: 1, epochs: 2, knn: false }

describe('a key', () => {
  const key = keyOf(resolveConfig({ views: 2, lr: 1 }))

  test('is that of what a run computes, whatever the order of its fields', () => {
    expect(keyOf(resolveConfig({ lr: 1, views: 2 }))).toBe(key)
    expect(keyOf(resolveConfig({ lr: 1, views: 2, seed: 2 }))).not.toBe(key)
    expect(keyOf(resolveConfig({ lr: 1, views: 2, augmentation: { flip: 0 } }))).not.toBe(key)
  })

  test.each(['cifar10', 'cifar100', 'stl10'])('does not depend on where the files of %s lie', (data) => {
    const [here, there] = [undefined, '/elsewhere'].map((dataDir) => keyOf(resolveConfig({ data, dataDir })))
    expect(there).toBe(here)
  })

  test("tells folders of the user's own apart, however they are written", () => {
    const of = (dataDir: string) => keyOf(resolveConfig({ data: 'folder', dataDir }))
    expect(of('/pictures/b')).not.toBe(of('/pictures/a'))
    expect(of('/pictures/b/../a/')).toBe(of('/pictures/a'))
    expect(of(relative(process.cwd(), '/pictures/a'))).toBe(of('/pictures/a'))
  })
})

test('images of each class are cut from the data set that is asked for, and not from another of its name', async () => {
  // As many images of each class as there are, up to 3: 9 of one data set and 4 of the other.
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
