/**
 * Folders of pictures, in ImageNet's layout or flat:
 *
 *     FOLDER/train/CLASS/*.jpg     training images; the classes are the sorted names of the folders
 *     FOLDER/val/CLASS/*.jpg       test images of the same classes; the folder may also be named `test`
 *     FOLDER/CLASS/*.jpg           training images only
 *     FOLDER/*.jpg                 images without labels, for pretraining; also FOLDER/train/*.jpg
 *
 * A class also has the pictures of all folders inside its own.
 *
 * Each picture is decoded once, its shorter side is resized to the resolution, and its centre is written to one packed
 * file in the cache. With 'whole', all of the picture is kept, in the upper left corner of its record. Batches are read from
 * that file by position.
 */
import { createHash } from 'node:crypto'
import { basename, join, resolve } from 'node:path'
import { printable } from '../../../engine/node/command.js'
import { openCache } from '../../../engine/node/cache_folder.mjs'
import { MissingSplitError, type DatasetLoader, type LoadOptions } from '../../data/registry.js'
import { imageBytes, type Split } from '../../data/dataset.js'
import { ImageFile } from './image_file.js'
import { IMAGES, openPacked, readSizes } from './packed_images.js'
import { isFolder, listPictures, unsupportedNotes, type Listing } from './picture_files.js'
import { checkResolution, DEFAULT_RESOLUTION } from './resolution.js'
import { terminalProgress } from './terminal_progress.js'

/** Number of skipped pictures that are reported one by one. The index lists all. */
const NAMED = 10

export const imageFolder: DatasetLoader = {
  splits: ['train', 'test'],
  pretraining: 'train',
  anyResolution: true,
  side: DEFAULT_RESOLUTION,
  locate: (options) => userFolder(options),

  async count(split, options) {
    const { files } = await listSplit(await userFolder(options), split)
    return files.length
  },

  async labelled(options) {
    const root = await userFolder(options)
    for (const split of ['train', 'test'] as const) {
      const listing = await listSplit(root, split).catch((error: unknown) => {
        if (error instanceof MissingSplitError) return undefined
        throw error
      })
      if (!listing?.labels.length) return false
    }
    return true
  },

  async load(split, options) {
    const root = await userFolder(options)
    const { cacheDir, resolution = DEFAULT_RESOLUTION, resize = 'lanczos', progress = terminalProgress() } = options
    const { onWarning = (line) => console.error(printable(line)) } = options
    checkResolution(resolution, resize)
    const listing = await listSplit(root, split)
    const { folder, files, labels, classes } = listing
    for (const line of unsupportedNotes(folder, listing)) onWarning(line)

    const name = createHash('sha256').update(folder).digest('hex').slice(0, 12)
    const size = `${resolution}${resize === 'lanczos' ? '' : `-${resize}`}`
    const packed = join(cacheDir ?? openCache(), 'packed', `${basename(root)}-${split}-${size}-${name}`)
    const { skipped } = await openPacked(packed, { folder, files, resolution, resize, progress, onWait: onWarning })
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
      ...(resize === 'whole' && { sizes: await readSizes(packed) }),
      labels: labels.filter((_, i) => !left.has(files[i])),
      classes,
      files: files.filter((file) => !left.has(file)),
    }
  },
}

async function userFolder({ dataDir }: LoadOptions): Promise<string> {
  if (dataDir === undefined) throw new Error('data set "folder": `dataDir` must name the folder of the pictures')
  if (!(await isFolder(dataDir))) throw new Error(`data folder ${dataDir} does not exist; name a folder of pictures`)
  return resolve(dataDir)
}

/**
 * The pictures of a split.
 *
 * @param root the folder that holds train/ and val/, or only pictures to train on
 * @throws MissingSplitError in one line
 */
export async function listSplit(root: string, split: Split): Promise<Listing> {
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
