/** Contact sheets: images and their views, enlarged side by side, as PNG bytes. */
import sharp from 'sharp'
import { input, type Engine } from '../../engine/index.js'
import { drawViews, ROW_FLOATS } from '../augment/draw.js'
import { cropGroups, type AugmentationRecipe } from '../augment/recipe.js'
import { augmentCrops, deviceImages } from '../augment/views.js'
import { inMemory, type ArrayDataset, type ImageDataset } from '../data/dataset.js'
import { subset } from '../data/subset.js'

/** One picture: [height, width, 3] bytes. */
export interface Tile {
  pixels: Uint8Array
  /** Pixels. */
  height: number
  /** Pixels. */
  width: number
}

export interface SheetLayout {
  /** Side of each enlarged tile, in pixels. */
  tile: number
  /** Transparent pixels between tiles and around them. */
  gutter?: number
  /** Transparent pixels after the first column, to set the originals apart. */
  afterFirst?: number
}

/** RGBA: gutters are transparent, so that a sheet suits light and dark pages. */
const CHANNELS = 4

/** One image of a data set as a tile. */
export function imageTile({ images, height, width }: ArrayDataset, index: number): Tile {
  const bytes = height * width * 3
  return { pixels: images.subarray(index * bytes, (index + 1) * bytes), height, width }
}

/** One tile as PNG bytes, in its original size. */
export async function tilePng({ pixels, height, width }: Tile): Promise<Uint8Array> {
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer()
}

/**
 * The pixels of a contact sheet: tiles in rows, each enlarged by nearest neighbour, so that the original pixels stay
 * visible.
 *
 * @returns RGBA bytes [height, width, 4]
 * @throws when a row is longer than the first row
 */
export function composeSheet(
  rows: readonly (readonly Tile[])[],
  { tile, gutter = 4, afterFirst = gutter }: SheetLayout,
) {
  const columns = rows[0].length
  const left = (column: number) => gutter + column * (tile + gutter) + (column > 0 ? afterFirst - gutter : 0)
  const width = left(columns - 1) + tile + gutter
  const height = gutter + rows.length * (tile + gutter)
  const pixels = new Uint8Array(width * height * CHANNELS)
  rows.forEach((row, r) => {
    if (row.length > columns)
      throw new RangeError(`contact sheet: row ${r} has ${row.length} tiles, the first ${columns}`)
    row.forEach((picture, c) => {
      for (let y = 0; y < tile; y++) {
        const sourceRow = Math.floor((y * picture.height) / tile) * picture.width
        for (let x = 0; x < tile; x++) {
          const from = 3 * (sourceRow + Math.floor((x * picture.width) / tile))
          const to = CHANNELS * ((gutter + r * (tile + gutter) + y) * width + left(c) + x)
          pixels[to] = picture.pixels[from]
          pixels[to + 1] = picture.pixels[from + 1]
          pixels[to + 2] = picture.pixels[from + 2]
          pixels[to + 3] = 255
        }
      }
    })
  })
  return { pixels, width, height }
}

/** A contact sheet as the bytes of a PNG or JPEG file; see `composeSheet`. */
export async function contactSheet(
  rows: readonly (readonly Tile[])[],
  layout: SheetLayout,
  format: 'png' | 'jpeg' = 'png',
): Promise<Uint8Array> {
  const { pixels, width, height } = composeSheet(rows, layout)
  const sheet = sharp(pixels, { raw: { width, height, channels: CHANNELS } })
  // JPEG has no transparency: the gutters become white.
  return format === 'png'
    ? sheet.png({ compressionLevel: 9 }).toBuffer()
    : sheet.flatten({ background: 'white' }).jpeg({ quality: 92, chromaSubsampling: '4:4:4' }).toBuffer()
}

export interface ViewsOptions {
  recipe: AugmentationRecipe
  /** Views per image. */
  views: number
  /** Indices of the images. */
  images: readonly number[]
  seed: number
  /** 0 by default. */
  epoch?: number
}

/**
 * Each image followed by its views. A run with the same seed trains on the same views in this epoch; here they are not
 * normalised. Views of a recipe with `crops` keep their sizes.
 *
 * @returns one row per image, the original first
 */
export async function imagesWithViews(
  engine: Engine,
  dataset: ImageDataset,
  { recipe, views, images, seed, epoch = 0 }: ViewsOptions,
): Promise<Tile[][]> {
  const { height: sourceHeight, width: sourceWidth } = dataset
  const shown = await inMemory(subset(dataset, images))
  const onDevice = deviceImages(shown, engine.target.maxBindingBytes)
  const count = images.length
  const rows = drawViews(recipe, { seed, epoch, images, views, sourceHeight, sourceWidth })
  // The views are drawn for the indices in the whole data set, but the device holds only the shown images.
  for (let row = 0; row < views * count; row++) rows[row * ROW_FLOATS] = row % count
  const plain: AugmentationRecipe = { ...recipe, mean: [0, 0, 0], std: [1, 1, 1] }
  const groups = cropGroups(recipe, views)
  const made = augmentCrops(onDevice, input('rows', [views * count, ROW_FLOATS]), plain, views)
  const outputs = Object.fromEntries(made.map((pictures, i) => [`size ${i}`, pictures]))
  const program = await engine.compile({ label: 'views', outputs })
  try {
    await program.run({ rows })
    const values = await Promise.all(groups.map((_, i) => program.read(`size ${i}`)))
    return images.map((_, b) => [
      imageTile(shown, b),
      ...groups.flatMap(({ views, size }, i) =>
        Array.from({ length: views }, (_, view) => viewTile(values[i], view * count + b, size)),
      ),
    ])
  } finally {
    program.destroy()
    for (const { words } of onDevice.shards) engine.release(words)
  }
}

/** @param values [views, size, size, 4], red, green and blue in [0, 1] */
function viewTile(values: ArrayLike<number>, view: number, size: number): Tile {
  const pixels = new Uint8Array(size * size * 3)
  for (let pixel = 0; pixel < size * size; pixel++)
    for (let channel = 0; channel < 3; channel++)
      pixels[3 * pixel + channel] = Math.round(
        255 * Math.min(1, Math.max(0, values[4 * (view * size * size + pixel) + channel])),
      )
  return { pixels, height: size, width: size }
}
