import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { recipes } from '../../../train/augment/recipe.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { imagesWithViews, viewDrawer, type Tile } from '../../../train/augment/pictures.js'
import { composeSheet, contactSheet } from '../../../train/node/contact_sheet.js'
import { engine } from '../../support/engine.js'

const flat = (value: number, side: number): Tile => ({
  pixels: new Uint8Array(side * side * 3).fill(value),
  height: side,
  width: side,
})

/** Two pixels side by side: red, blue. */
const pair: Tile = { pixels: Uint8Array.of(255, 0, 0, 0, 0, 255), height: 1, width: 2 }

describe('contact sheet', () => {
  const layout = { tile: 4, gutter: 2, afterFirst: 5 }
  const sheet = composeSheet([[pair, flat(9, 2), flat(8, 1)], [flat(7, 4)]], layout)
  const at = (x: number, y: number) => [
    ...sheet.pixels.subarray(4 * (y * sheet.width + x), 4 * (y * sheet.width + x) + 4),
  ]

  it('is as large as its tiles and gutters', () => {
    expect([sheet.width, sheet.height]).toEqual([2 + 4 + 5 + 4 + 2 + 4 + 2, 2 + 4 + 2 + 4 + 2])
  })

  it('puts each tile in its place, enlarged by nearest neighbour', () => {
    expect([at(2, 2), at(3, 5), at(4, 2), at(5, 5)]).toEqual([
      [255, 0, 0, 255],
      [255, 0, 0, 255],
      [0, 0, 255, 255],
      [0, 0, 255, 255],
    ])
    expect([at(11, 2), at(14, 5), at(17, 3), at(2, 8)].map(([grey]) => grey)).toEqual([9, 9, 8, 7])
  })

  it('leaves gutters and absent tiles transparent', () => {
    for (const [x, y] of [
      [0, 0],
      [6, 3],
      [10, 3],
      [15, 3],
      [3, 6],
      [12, 9],
      [22, 13],
    ])
      expect(at(x, y)).toEqual([0, 0, 0, 0])
  })

  it('becomes a PNG of the same pixels', async () => {
    const { data, info } = await sharp(await contactSheet([[pair, flat(9, 2), flat(8, 1)], [flat(7, 4)]], layout))
      .raw()
      .toBuffer({ resolveWithObject: true })
    expect([info.width, info.height, info.channels]).toEqual([sheet.width, sheet.height, 4])
    expect(Buffer.compare(data, Buffer.from(sheet.pixels))).toBe(0)
  })
})

describe('images with their views', () => {
  const images = Uint8Array.from({ length: 8 * 12 }, (_, i) => i * 2)
  const dataset = fromArrays({ images, height: 2, width: 2 })

  it('are shown in rows, also when they are not the first of the data set', async () => {
    const still = {
      ...recipes.cifar,
      size: 2,
      scale: [1, 1] as [number, number],
      ratio: [1, 1] as [number, number],
      flip: 0,
      greyscale: 0,
    }
    const recipe = { ...still, jitter: { ...still.jitter, probability: 0 } }
    const rows = await imagesWithViews(await engine(), dataset, { recipe, views: 2, images: [6, 3], seed: 1 })
    expect(rows.map((row) => row.length)).toEqual([3, 3])
    for (const [r, index] of [6, 3].entries())
      for (const tile of rows[r]) expect([...tile.pixels]).toEqual([...images.subarray(12 * index, 12 * index + 12)])
    // Another epoch needs nothing new on the device.
    const gpu = await engine()
    const drawer = await viewDrawer(gpu, dataset, { recipe, views: 2, images: [6, 3], seed: 1 })
    expect(await drawer.draw()).toEqual(rows)
    const { counters } = gpu
    expect(await drawer.draw(1)).toEqual(rows)
    expect(gpu.counters).toEqual(counters)
    drawer.release()
    // Views of several sizes keep their sizes.
    const crops = [
      { views: 1, size: 2, scale: [1, 1] as [number, number] },
      { views: 2, size: 4, scale: [1, 1] as [number, number] },
    ]
    const [sized] = await imagesWithViews(await engine(), dataset, {
      ...{ recipe: { ...recipe, crops }, views: 3, images: [3], seed: 1 },
    })
    expect(sized.map(({ width }) => width)).toEqual([2, 2, 4, 4])
    expect([...sized[1].pixels]).toEqual([...images.subarray(36, 48)])
    expect(sized[2].pixels).toEqual(sized[3].pixels)
  })
})
