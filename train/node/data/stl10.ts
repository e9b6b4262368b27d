/**
 * STL-10: RGB photographs of 96×96 pixels. 5,000 training and 8,000 test images have labels of 10 classes; 100,000
 * images for pretraining have none (A. Coates, H. Lee, A. Ng, "An Analysis of Single-Layer Networks in Unsupervised
 * Feature Learning", 2011). In the official binary format an image is a red, a green and a blue plane, each in column
 * order; a label is one byte, starting at 1.
 * Format: https://cs.stanford.edu/~acoates/stl10/
 */
import { stat, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inMemory, type ImageDataset, type Split } from '../../data/dataset.js'
import type { DatasetLoader } from '../../data/registry.js'
import { ImageFile } from './image_file.js'
import { archiveFolder, missingFile, type OfficialArchive } from './official_archive.js'

const ARCHIVE: OfficialArchive = {
  title: 'STL-10',
  address: 'http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz',
  sha256: 'f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866',
  folder: 'stl10_binary',
  files: ['train_X.bin', 'test_X.bin', 'unlabeled_X.bin'],
}

const SIZE = 96
const PIXELS = SIZE * SIZE
const CLASSES = ['airplane', 'bird', 'car', 'cat', 'deer', 'dog', 'horse', 'monkey', 'ship', 'truck']

/** Image file and label file of each split. */
const FILES: Record<Split, readonly [string, string?]> = {
  train: ['train_X.bin', 'train_y.bin'],
  test: ['test_X.bin', 'test_y.bin'],
  unlabelled: ['unlabeled_X.bin'],
}

export const stl10: DatasetLoader = {
  splits: ['train', 'test', 'unlabelled'],
  pretraining: 'unlabelled',
  side: SIZE,
  locate: (options) => archiveFolder(ARCHIVE, options),

  async load(split, options) {
    const folder = await archiveFolder(ARCHIVE, options)
    const [imageFile, labelFile] = FILES[split]
    const path = join(folder, imageFile)
    await stat(path).catch(missingFile(path, split, ARCHIVE.title))
    const images = new ImageFile(path, 3 * PIXELS, fromColumnPlanes)
    const count = images.bytes / (3 * PIXELS)
    if (count === 0 || !Number.isInteger(count))
      throw new Error(
        `${path}: truncated or not STL-10: ${images.bytes} bytes are not a multiple of ${3 * PIXELS} (one image)`,
      )
    const dataset: ImageDataset = {
      name: 'stl10',
      split,
      count,
      height: SIZE,
      width: SIZE,
      channels: 3,
      images,
      labels: new Uint8Array(0),
      classes: [],
    }
    // The unlabelled images take 2.8 GB and stay in the file.
    if (labelFile === undefined) return dataset
    return {
      ...(await inMemory(dataset)),
      labels: await readLabels(join(folder, labelFile), split, count),
      classes: CLASSES,
    }
  },
}

/** Planes in column order → pixels in row order, RGB interleaved. */
function fromColumnPlanes(planes: Uint8Array, out: Uint8Array): void {
  let from = 0
  for (let channel = 0; channel < 3; channel++)
    for (let x = 0; x < SIZE; x++)
      for (let at = 3 * x + channel; at < 3 * PIXELS; at += 3 * SIZE) out[at] = planes[from++]
}

async function readLabels(path: string, split: Split, count: number): Promise<Uint8Array> {
  const labels = new Uint8Array(await readFile(path).catch(missingFile(path, split, ARCHIVE.title)))
  if (labels.length !== count) throw new Error(`${path}: ${labels.length} labels for ${count} images`)
  return labels.map((label, i) => {
    if (label < 1 || label > CLASSES.length)
      throw new Error(`${path}: label ${label} of image ${i} is not from 1 to ${CLASSES.length}`)
    return label - 1
  })
}
