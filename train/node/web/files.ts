/** The files of the page of `npm run web`, and CIFAR-10 for it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { inMemory, type ArrayDataset } from '../../data/dataset.js'
import type { Sample } from '../../web/protocol.js'
import { loadDataset } from '../data/index.js'
import { writeAtomically } from '../files.js'

const folder = fileURLToPath(new URL('../../web/page/', import.meta.url))

/** What `bundle.mjs` makes. */
const BUNDLE = ['page.js', 'page.css', 'worker.js']

/** Media types of the files by extension. */
export const contentTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Images in the sprite of a static page, and in one of its rows. */
const SPRITE_IMAGES = 2000
const SPRITE_COLUMNS = 50

type Bundle = Map<string, Uint8Array<ArrayBuffer>>

/** Everything that the page loads, by name. A package holds its bundle; in a clone it is made now. */
export async function pageFiles(): Promise<Bundle> {
  const files: Bundle = new Map()
  const isBuilt = existsSync(join(folder, BUNDLE[0]))
  if (!isBuilt) {
    // No literal: the build must not follow this import, because a package has no bundler.
    const bundler = new URL('./bundle.ts', import.meta.url).href
    const { bundlePage } = (await import(bundler)) as { bundlePage(): Promise<Bundle> }
    for (const [name, bytes] of await bundlePage()) files.set(name, bytes)
  }
  for (const name of readdirSync(folder))
    if (['.html', '.svg'].includes(extname(name)) || (isBuilt && BUNDLE.includes(name)))
      files.set(name, Uint8Array.from(readFileSync(join(folder, name))))
  return files
}

/** CIFAR-10's training images from `dataDir` or the cache, which is filled first if necessary. */
export const loadSample = async (dataDir?: string): Promise<ArrayDataset> =>
  inMemory(await loadDataset('cifar10', 'train', { dataDir }))

/** What the page learns of the sample. */
export const describeSample = (
  { name, count, height, width, labels, classes }: ArrayDataset,
  where: Pick<Sample, 'bytes' | 'sprite'>,
): Sample => ({ name, count, height, width, labels: Array.from(labels), classes, ...where })

/**
 * Writes the page for any host of static files: its files, and a sprite of CIFAR-10's first images.
 *
 * @returns the number of images in the sprite
 */
export async function buildPage(out: string, dataDir?: string): Promise<number> {
  const [files, whole] = [await pageFiles(), await loadSample(dataDir)]
  const count = Math.min(SPRITE_IMAGES, whole.count)
  const bytes = whole.height * whole.width * 3
  const sample = {
    ...whole,
    count,
    labels: whole.labels.slice(0, count),
    images: whole.images.subarray(0, count * bytes),
  }
  await mkdir(out, { recursive: true })
  for (const [name, contents] of files) await writeAtomically(join(out, name), contents)
  await writeAtomically(join(out, 'sample.png'), await sprite(sample))
  const described = describeSample(sample, { sprite: { file: 'sample.png', columns: SPRITE_COLUMNS } })
  await writeAtomically(join(out, 'sample.json'), JSON.stringify(described))
  return count
}

/** Images in rows of one picture, as PNG. */
async function sprite({ images, count, height, width }: ArrayDataset): Promise<Uint8Array> {
  const rows = Math.ceil(count / SPRITE_COLUMNS)
  const stride = SPRITE_COLUMNS * width * 3
  const pixels = new Uint8Array(rows * height * stride)
  for (let i = 0; i < count; i++)
    for (let y = 0; y < height; y++) {
      const from = (i * height + y) * width * 3
      const to = (Math.floor(i / SPRITE_COLUMNS) * height + y) * stride + (i % SPRITE_COLUMNS) * width * 3
      pixels.set(images.subarray(from, from + width * 3), to)
    }
  return sharp(pixels, { raw: { width: SPRITE_COLUMNS * width, height: rows * height, channels: 3 } })
    .png({ compressionLevel: 9 })
    .toBuffer()
}
