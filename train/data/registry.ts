/** Data sets that are loaded by name. What a name stands for depends on the platform: `node/data/` lists those of Node. */
import type { ImageDataset, Split } from './dataset.js'
import type { ProgressReporter } from './progress.js'
import type { PictureResize } from './resample.js'

export interface LoadOptions {
  /** A folder that holds the data set in its official format. Nothing is downloaded then. */
  dataDir?: string
  /** The folder for downloads and packed images; the project's cache folder by default. */
  cacheDir?: string
  /** Height and width in pixels at which the pictures of a folder are packed; other data sets have a fixed size. */
  resolution?: number
  /** How the pictures of a folder are resized; 'lanczos' by default. 'bilinear' equals torchvision's `Resize`; 'whole' keeps all of it. */
  resize?: PictureResize
  /** Receives the progress of long work; by default a bar on stderr. */
  progress?: ProgressReporter
  /** Receives one line for each warning, such as a skipped picture; by default written to stderr. */
  onWarning?(line: string): void
}

/** Loads the splits of one data set. */
export interface DatasetLoader {
  /** The splits that the data set can have. */
  splits: readonly Split[]
  /** The split for pretraining; readouts always use 'train' and 'test'. */
  pretraining: Split
  /** Whether `resolution` and `resize` may be chosen. */
  anyResolution?: true
  /** Returns the folder with the files; downloads and checks them first if necessary. */
  locate(options: LoadOptions): Promise<string>
  /** Height and width of every image, in pixels; with `anyResolution` the default. */
  side: number
  /** With `anyResolution`: the number of pictures of a split, before they are decoded. */
  count?(split: Split, options: LoadOptions): Promise<number>
  /** With `anyResolution`: whether both splits for readouts are there, with labels. Nothing is decoded. */
  labelled?(options: LoadOptions): Promise<boolean>
  load(split: Split, options: LoadOptions): Promise<ImageDataset>
}

/** The folder exists but holds nothing of this split. */
export class MissingSplitError extends Error {}

export interface DatasetRegistry {
  /** The names that `load` accepts. */
  names: readonly string[]
  /** @throws one line with the known names when `name` is unknown */
  loader(name: string): Promise<DatasetLoader>
  /**
   * Loads one split of a named data set, downloading it the first time unless `dataDir` is given.
   *
   * @param split 'pretraining': the split that the data set has for pretraining
   * @throws one line naming the file and the remedy when a folder or file is missing or damaged
   */
  load(name: string, split: Split | 'pretraining', options?: LoadOptions): Promise<ImageDataset>
}

/** @param loaders by name; each is imported on demand, so that nobody loads an image decoder without need */
export function datasetRegistry(loaders: Record<string, () => Promise<DatasetLoader>>): DatasetRegistry {
  const names = Object.keys(loaders)
  const loader = async (name: string): Promise<DatasetLoader> => {
    if (!Object.hasOwn(loaders, name)) throw new Error(`unknown data set "${name}"; known: ${names.join(', ')}`)
    return loaders[name]()
  }
  return {
    names,
    loader,
    async load(name, split, options = {}) {
      const dataset = await loader(name)
      for (const field of ['resolution', 'resize'] as const)
        if (options[field] !== undefined && !dataset.anyResolution)
          throw new Error(
            `\`${field}\` ${options[field]}: the images of ${name} have a fixed size; leave \`${field}\` out`,
          )
      const chosen = split === 'pretraining' ? dataset.pretraining : split
      if (!dataset.splits.includes(chosen))
        throw new MissingSplitError(`${name} has no ${chosen} split; it has ${dataset.splits.join(', ')}`)
      return dataset.load(chosen, options)
    },
  }
}
