/** CIFAR-100 and STL-10 in their official formats, as tiny files, complete and damaged. */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create } from 'tar'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MissingSplitError } from '../../../../train/data/registry.js'
import { loadDataset } from '../../../../train/node/data/index.js'
import { readImages, type Split } from '../../../../train/data/dataset.js'
import { archiveFolder, type OfficialArchive } from '../../../../train/node/data/official_archive.js'
import { silentProgress } from '../../../../train/data/progress.js'
import { cifarRecords, pixelsOf, stlImages } from './records.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-archives-'))
})
afterEach(() => rm(folder, { recursive: true }))

const write = (file: string, bytes: Uint8Array | string) => writeFile(join(folder, file), bytes)
const load = (name: string, split: Split) => loadDataset(name, split, { dataDir: folder })

describe('CIFAR-100', () => {
  test('has the fine labels, and pixels in rows', async () => {
    await write('train.bin', cifarRecords([19, 99], [0, 0], [3, 42]))
    await write('test.bin', cifarRecords([4, 7]))
    const train = await load('cifar100', 'train')
    expect(train).toMatchObject({ name: 'cifar100', split: 'train', count: 3, height: 32, width: 32, channels: 3 })
    expect([...train.labels]).toEqual([99, 0, 42])
    expect([...(train.images as Uint8Array)]).toEqual(pixelsOf([99, 0, 42], 32))
    expect(train.classes).toHaveLength(100)
    expect([0, 42, 99].map((label) => train.classes[label])).toEqual(['apple', 'leopard', 'worm'])
    expect((await load('cifar100', 'test')).count).toBe(1)
    await expect(load('cifar100', 'unlabelled')).rejects.toThrow(MissingSplitError)
  })

  test('errors name the file and the problem', async () => {
    await write('train.bin', cifarRecords([1, 2]).subarray(1))
    await write('test.bin', cifarRecords([1, 2], [20, 3]))
    const path = (file: string) => join(folder, file)
    await expect(load('cifar100', 'train')).rejects.toThrow(
      `${path('train.bin')}: truncated or not CIFAR-100: 3073 bytes are not a multiple of 3074 (one record)`,
    )
    await expect(load('cifar100', 'test')).rejects.toThrow(
      `${path('test.bin')}: record 1 has label 20, the largest is 19`,
    )
    await write('test.bin', cifarRecords([1, 100]))
    await expect(load('cifar100', 'test')).rejects.toThrow('record 0 has label 100, the largest is 99')
    await rm(path('test.bin'))
    await expect(load('cifar100', 'test')).rejects.toThrow(`${path('test.bin')} is missing; the test split needs it`)
    await expect(load('cifar100', 'test')).rejects.toThrow(MissingSplitError)
  })
})

describe('STL-10', () => {
  test('turns columns into rows, and labels starting at 1 into labels starting at 0', async () => {
    await write('train_X.bin', stlImages(5, 8, 2))
    await write('train_y.bin', Uint8Array.of(1, 10, 4))
    await write('unlabeled_X.bin', stlImages(3, 1, 4, 9))
    const train = await load('stl10', 'train')
    expect(train).toMatchObject({ name: 'stl10', split: 'train', count: 3, height: 96, width: 96, channels: 3 })
    expect([...train.labels].map((label) => train.classes[label])).toEqual(['airplane', 'truck', 'cat'])
    expect(Buffer.from(train.images as Uint8Array).equals(Buffer.from(pixelsOf([5, 8, 2], 96)))).toBe(true)

    const unlabelled = await loadDataset('stl10', 'pretraining', { dataDir: folder })
    expect(unlabelled).toMatchObject({ split: 'unlabelled', count: 4, classes: [] })
    expect(unlabelled.labels).toHaveLength(0)
    const out = new Uint8Array(3 * 27_648)
    await readImages(unlabelled, [3, 0, 1], out)
    expect(Buffer.from(out).equals(Buffer.from(pixelsOf([9, 3, 1], 96)))).toBe(true)
  })

  test('errors name the file and the problem', async () => {
    const path = (file: string) => join(folder, file)
    await write('train_X.bin', stlImages(1).subarray(0, -1))
    await expect(load('stl10', 'train')).rejects.toThrow(
      `${path('train_X.bin')}: truncated or not STL-10: 27647 bytes are not a multiple of 27648 (one image)`,
    )
    await write('train_X.bin', stlImages(1, 2))
    await expect(load('stl10', 'train')).rejects.toThrow(
      `${path('train_y.bin')} is missing; the train split needs it (STL-10, binary version)`,
    )
    await write('train_y.bin', Uint8Array.of(1))
    await expect(load('stl10', 'train')).rejects.toThrow(`${path('train_y.bin')}: 1 labels for 2 images`)
    for (const label of [0, 11]) {
      await write('train_y.bin', Uint8Array.of(1, label))
      await expect(load('stl10', 'train')).rejects.toThrow(`label ${label} of image 1 is not from 1 to 10`)
    }
    await expect(load('stl10', 'unlabelled')).rejects.toThrow(`${path('unlabeled_X.bin')} is missing`)
    await expect(load('stl10', 'unlabelled')).rejects.toThrow(MissingSplitError)
  })
})

describe('an official archive', () => {
  const address = 'https://example.org/data/tiny.tar.gz'
  const archiveOf = (sha256: string): OfficialArchive => ({
    title: 'Tiny',
    address,
    sha256,
    folder: 'tiny',
    files: ['a.bin', 'b.bin'],
  })
  const locate = (sha256: string, options: object) =>
    archiveFolder(archiveOf(sha256), { progress: silentProgress, ...options })

  /** tiny.tar.gz in the folder; returns its sha256. */
  async function archive(): Promise<string> {
    const source = join(folder, 'source', 'tiny')
    await mkdir(join(source, 'deeper'), { recursive: true })
    await writeFile(join(source, 'a.bin'), 'pixels')
    await writeFile(join(source, 'deeper', 'notes.txt'), 'notes')
    await create({ file: join(folder, 'tiny.tar.gz'), gzip: true, cwd: join(folder, 'source') }, ['tiny'])
    await rm(join(folder, 'source'), { recursive: true })
    return createHash('sha256')
      .update(await readFile(join(folder, 'tiny.tar.gz')))
      .digest('hex')
  }

  test('is checked and unpacked beside itself, once', async () => {
    const sha256 = await archive()
    const inside = join(folder, 'tiny')
    expect(await locate(sha256, { cacheDir: folder })).toBe(inside)
    expect((await readdir(inside)).sort()).toEqual(['a.bin', 'deeper'])
    expect(await readFile(join(inside, 'a.bin'), 'utf8')).toBe('pixels')
    expect(await readFile(join(inside, 'deeper', 'notes.txt'), 'utf8')).toBe('notes')
    await rm(join(folder, 'tiny.tar.gz'))
    expect(await locate(sha256, { dataDir: folder })).toBe(inside)
    expect(await locate(sha256, { dataDir: inside })).toBe(inside)
  })

  test('that is not the official one, or is truncated, leaves nothing behind', async () => {
    const sha256 = await archive()
    const path = join(folder, 'tiny.tar.gz')
    const bytes = await readFile(path)
    await writeFile(path, bytes.subarray(0, bytes.length - 20))
    const message = new RegExp(
      `^${path}: its sha256 is \\w{64}, not the official ${sha256}: download it again from ${address}$`,
    )
    await expect(locate(sha256, { cacheDir: folder })).rejects.toThrow(message)
    // An archive with the right checksum that cannot be unpacked.
    const cut = createHash('sha256')
      .update(bytes.subarray(0, bytes.length - 20))
      .digest('hex')
    await expect(locate(cut, { cacheDir: folder })).rejects.toThrow(`${path}: cannot be unpacked (`)
    expect(await readdir(folder)).toEqual(['tiny.tar.gz'])
  })

  test('that is missing gives the official address and the folder for it', async () => {
    const message = `Tiny is not in ${folder}: download ${address} (sha256 123) into that folder and run this again, or name`
    await expect(locate('123', { cacheDir: folder })).rejects.toThrow(message)
    await expect(locate('123', { dataDir: folder })).rejects.toThrow(message)
    const nowhere = join(folder, 'nowhere')
    await expect(locate('123', { dataDir: nowhere })).rejects.toThrow(`data folder ${nowhere} does not exist; name`)
  })
})
