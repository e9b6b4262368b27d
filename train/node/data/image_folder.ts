/**
 * Folders of pictures, in ImageNet's layout or flat:
 *
 *     FOLDER/train/CLASS/*.jpg     training images; the classes are the sorted names of the folders
 *     FOLDER/val/CLASS/*.jpg       test images of the same classes; the folder may also be named `test`
 *     FOLDER/CLASS/*.jpg           training images only
 *     FOLDER/*.jpg                 images without labels, for pretraining; also FOLDER/train/*.jpg
 *
 * Each picture is decoded once, its shorter side is resized to the resolution, and its centre is written to one packed
 * file in the cache. Batches are read from that file by position.
 */
import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { basename, extname, join, resolve } from 'node:path'
import { openCache } from '../../../engine/node/drivers.mjs'
import { MissingSplitError, type DatasetLoader, type LoadOptions } from '../../data/registry.js'
import { imageBytes, type Split } from '../../data/dataset.js'
import { ImageFile } from './image_file.js'
import { IMAGES, openPacked } from './packed_images.js'
import { terminalProgress } from './terminal_progress.js'

/** Pixels; 1.25 times the size of a view of 128 pixels. */
const DEFAULT_RESOLUTION = 160
const LARGEST_RESOLUTION = 4096
const EXTENSIONS = new Set(['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif'])
/** Number of skipped pictures that are reported one by one. The index lists all. */
const NAMED = 10

/** The pictures of a split, as paths below `folder`. Without class folders `labels` and `classes` are empty. */
interface Listing {
  folder: string
  files: string[]
  labels: Uint32Array
  classes: string[]
}

export const imageFolder: DatasetLoader = {
  splits: ['train', 'test'],
  pretraining: 'train',
  anyResolution: true,
  locate: (options) => userFolder(options),

  async load(split, options) {
    const root = await userFolder(options)
    const { cacheDir, resolution = DEFAULT_RESOLUTION, progress = terminalProgress() } = options
    const { onWarning = (line) => console.error(line) } = options
    if (!Number.isInteger(resolution) || resolution < 1 || resolution > LARGEST_RESOLUTION)
      throw new Error(`resolution ${resolution}: must be a whole number of pixels from 1 to ${LARGEST_RESOLUTION}`)
    const { folder, files, labels, classes } = await list(root, split)

    const name = createHash('sha256').update(folder).digest('hex').slice(0, 12)
    const packed = join(cacheDir ?? openCache(), 'packed', `${basename(root)}-${split}-${resolution}-${name}`)
    const { skipped } = await openPacked(packed, { folder, files, resolution, progress, onWait: onWarning })
    for (const { file, reason } of skipped.slice(0, NAMED)) onWarning(`skipped ${join(folder, file)}: ${reason}`)
    if (skipped.length > NAMED)
      onWarning(`skipped ${skipped.length} pictures of ${folder} in all; they are listed in ${packed}/index.json`)

    const left = new Set(skipped.map(({ file }) => file))
    const side = { height: resolution, width: resolution }
    return {
      name: basename(root),
      split,
      count: files.length - left.size,
      ...side,
      channels: 3,
      images: new ImageFile(join(packed, IMAGES), imageBytes(side)),
      labels: labels.filter((_, i) => !left.has(files[i])),
      classes,
    }
  },
}

async function userFolder({ dataDir }: LoadOptions): Promise<string> {
  if (dataDir === undefined) throw new Error('data set "folder": `dataDir` must name the folder of the pictures')
  if (!(await isFolder(dataDir))) throw new Error(`data folder ${dataDir} does not exist; name a folder of pictures`)
  return resolve(dataDir)
}

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() ?? false

async function list(root: string, split: Split): Promise<Listing> {
  const [train, val, test] = ['train', 'val', 'test'].map((name) => join(root, name))
  const trainFolder = (await isFolder(train)) ? train : root
  if (split === 'train') return listPictures(trainFolder)
  const folder = (await isFolder(val)) ? val : test
  if (!(await isFolder(folder)))
    throw new MissingSplitError(`${val} is missing; the test split needs it with one folder of pictures for each class`)
  // Test labels follow the training classes, even when some classes have no test pictures.
  const { classes } = trainFolder === train ? await listPictures(train) : { classes: undefined }
  return listPictures(folder, classes)
}

/** Sorts by code unit, so that labels do not depend on the language of the system. */
async function listPictures(folder: string, known?: readonly string[]): Promise<Listing> {
  const entries = await readdir(folder)
  const visible = entries.filter((name) => !name.startsWith('.')).sort()
  const pictures = visible.filter(isPicture)
  const folders = []
  for (const name of visible) {
    if (isPicture(name) || !(await isFolder(join(folder, name)))) continue
    const inside = (await readdir(join(folder, name))).filter((file) => !file.startsWith('.') && isPicture(file)).sort()
    if (inside.length > 0) folders.push({ name, files: inside.map((file) => join(name, file)) })
  }
  if (pictures.length > 0 && folders.length > 0)
    throw new Error(
      `${folder}: holds both pictures (${pictures[0]}, …) and folders of pictures (${folders[0].name}, …): keep only one kind`,
    )
  if (pictures.length === 0 && folders.length === 0)
    throw new MissingSplitError(
      `${folder}: holds no pictures (${[...EXTENSIONS].join(', ')}) and no folders of pictures`,
    )
  if (folders.length === 0) return { folder, files: pictures, labels: new Uint32Array(0), classes: [] }
  const classes = known ?? folders.map(({ name }) => name)
  const labels = folders.flatMap(({ name, files }) => {
    const label = classes.indexOf(name)
    if (label < 0) throw new Error(`${join(folder, name)}: the training images have no class ${name}`)
    return files.map(() => label)
  })
  return { folder, files: folders.flatMap((f) => f.files), labels: Uint32Array.from(labels), classes: [...classes] }
}

const isPicture = (name: string): boolean => EXTENSIONS.has(extname(name).toLowerCase())
