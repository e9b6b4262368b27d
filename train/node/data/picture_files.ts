/** The picture files of a folder and their classes. */
import { readdir, realpath, stat } from 'node:fs/promises'
import { dirname, extname, join } from 'node:path'
import { MissingSplitError } from '../../data/registry.js'

const EXTENSIONS = new Set(['.jpg', '.jpeg', '.jfif', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif'])
/** Pictures that people have, but the decoder does not read. */
const UNSUPPORTED = new Set(
  '.heic .heif .jxl .jp2 .bmp .psd .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf'.split(' ') as string[],
)

/** The pictures of a split, as paths below `folder`. Without class folders `labels` and `classes` are empty. */
export interface Listing {
  folder: string
  files: string[]
  labels: Uint32Array
  classes: string[]
  /** Pictures of unsupported formats, by extension: how many there are, and the path of one of them. */
  unsupported: ReadonlyMap<string, { count: number; file: string }>
}

export const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() ?? false

/**
 * Lists the pictures of a folder: its own, or those of its class folders with all folders below them. Names are sorted
 * by code unit, so that labels do not depend on the language of the system.
 *
 * @param known classes; by default the names of the class folders that hold pictures
 * @throws one line if there are no pictures, or pictures beside class folders
 */
export async function listPictures(folder: string, known?: readonly string[]): Promise<Listing> {
  const unsupported = new Map<string, { count: number; file: string }>()
  const note = (file: string): void => {
    const extension = extname(file).toLowerCase()
    if (!UNSUPPORTED.has(extension)) return
    const { count, file: first } = unsupported.get(extension) ?? { count: 0, file }
    unsupported.set(extension, { count: count + 1, file: first })
  }
  const { files: pictures, folders: names } = await entriesOf(folder, '', note)
  const folders: { name: string; files: string[] }[] = []
  for (const name of names) {
    const files = (await picturesBelow(folder, name, note)).sort()
    if (files.length > 0) folders.push({ name, files })
  }
  if (pictures.length > 0 && folders.length > 0)
    throw new Error(
      `${folder}: holds both pictures (${pictures[0]}, …) and folders of pictures (${folders[0].name}, …): keep only one kind`,
    )
  if (pictures.length === 0 && folders.length === 0) {
    const [only] = unsupported
    throw new MissingSplitError(
      only
        ? `${folder}: holds no pictures that can be read, but ${describe(folder, ...only)}`
        : `${folder}: holds no pictures (${[...EXTENSIONS].join(', ')}) and no folders of pictures`,
    )
  }
  if (folders.length === 0) return { folder, files: pictures, labels: new Uint32Array(0), classes: [], unsupported }
  const classes = known ?? folders.map(({ name }) => name)
  const labels = folders.flatMap(({ name, files }) => {
    const label = classes.indexOf(name)
    if (label < 0) throw new Error(`${join(folder, name)}: the training images have no class ${name}`)
    return files.map(() => label)
  })
  const files = folders.flatMap((f) => f.files)
  return { folder, files, labels: Uint32Array.from(labels), classes: [...classes], unsupported }
}

/** One line for each unsupported format, with the remedy. */
export const unsupportedNotes = (folder: string, { unsupported }: Pick<Listing, 'unsupported'>): string[] =>
  [...unsupported].map(([extension, found]) => `left out ${describe(folder, extension, found)}`)

const describe = (folder: string, extension: string, { count, file }: { count: number; file: string }): string =>
  `${count} ${extension} ${count === 1 ? 'picture' : 'pictures'} (${join(folder, file)}${count === 1 ? '' : ', …'}): this format is not supported; convert to JPEG, for example with ImageMagick: magick mogrify -format jpg '${join(folder, dirname(file), `*${extname(file)}`)}'`

type Note = (file: string) => void

/** The pictures and the folders in `folder`/`below`, sorted; paths of pictures start with `below`. */
async function entriesOf(folder: string, below: string, note: Note): Promise<{ files: string[]; folders: string[] }> {
  const [files, folders]: [string[], string[]] = [[], []]
  const entries = await readdir(join(folder, below), { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue
    const path = join(below, entry.name)
    if (EXTENSIONS.has(extname(entry.name).toLowerCase())) files.push(path)
    else if (entry.isDirectory() || (entry.isSymbolicLink() && (await isFolder(join(folder, path))))) folders.push(path)
    else note(path)
  }
  return { files, folders }
}

/** @param within real paths of the folders that contain this one; a link to one of them is not followed */
async function picturesBelow(
  folder: string,
  below: string,
  note: Note,
  within: readonly string[] = [],
): Promise<string[]> {
  const real = await realpath(join(folder, below))
  if (within.includes(real)) return []
  const { files, folders } = await entriesOf(folder, below, note)
  for (const inner of folders) files.push(...(await picturesBelow(folder, inner, note, [...within, real])))
  return files
}
