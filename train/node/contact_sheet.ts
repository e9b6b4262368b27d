/** Contact sheets: images and their views, enlarged side by side, as PNG bytes. */
import sharp from 'sharp'
import type { Tile } from '../augment/pictures.js'

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
