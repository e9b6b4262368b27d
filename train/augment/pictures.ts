/** Images and their views as bytes, for people to look at. */
import { input, type Engine } from '../../engine/index.js'
import { inMemory, type ArrayDataset, type ImageDataset } from '../data/dataset.js'
import { subset } from '../data/subset.js'
import { drawViews, ROW_FLOATS } from './draw.js'
import { cropGroups, type AugmentationRecipe } from './recipe.js'
import { augmentCrops, deviceImages } from './views.js'

/** One picture: [height, width, 3] bytes. */
export interface Tile {
  pixels: Uint8Array
  /** Pixels. */
  height: number
  /** Pixels. */
  width: number
}

/** One image of a data set as a tile. */
export function imageTile({ images, height, width }: ArrayDataset, index: number): Tile {
  const bytes = height * width * 3
  return { pixels: images.subarray(index * bytes, (index + 1) * bytes), height, width }
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

/** Images with their views, drawn again and again with one recorded program. */
export interface ViewDrawer {
  /**
   * @param epoch 0 by default
   * @returns one row per image, the original first
   */
  draw(epoch?: number): Promise<Tile[][]>
  release(): void
}

/**
 * Each image followed by its views. A run with the same seed trains on the same views in the same epoch; here they are
 * not normalised. Views of a recipe with `crops` keep their sizes.
 */
export async function viewDrawer(
  engine: Engine,
  dataset: ImageDataset,
  { recipe, views, images, seed }: Omit<ViewsOptions, 'epoch'>,
): Promise<ViewDrawer> {
  const { height: sourceHeight, width: sourceWidth, sizes } = dataset
  const shown = await inMemory(subset(dataset, images))
  const onDevice = deviceImages(shown, engine.target.maxBindingBytes)
  const count = images.length
  const plain: AugmentationRecipe = { ...recipe, mean: [0, 0, 0], std: [1, 1, 1] }
  const groups = cropGroups(recipe, views)
  const made = augmentCrops(onDevice, input('rows', [views * count, ROW_FLOATS]), plain, views)
  const outputs = Object.fromEntries(made.map((pictures, i) => [`size ${i}`, pictures]))
  const program = await engine.compile({ label: 'views', outputs })
  return {
    async draw(epoch = 0) {
      const rows = drawViews(recipe, { seed, epoch, images, views, sourceHeight, sourceWidth, sizes })
      // The views are drawn for the indices in the whole data set, but the device holds only the shown images.
      for (let row = 0; row < views * count; row++) rows[row * ROW_FLOATS] = row % count
      await program.run({ rows })
      const values = await Promise.all(groups.map((_, i) => program.read(`size ${i}`)))
      return images.map((_, b) => [
        imageTile(shown, b),
        ...groups.flatMap(({ views, size }, i) =>
          Array.from({ length: views }, (_, view) => viewTile(values[i], view * count + b, size)),
        ),
      ])
    },
    release() {
      program.destroy()
      for (const { words } of onDevice.shards) engine.release(words)
    },
  }
}

/** The views of one epoch; see `viewDrawer`. */
export async function imagesWithViews(
  engine: Engine,
  dataset: ImageDataset,
  { epoch, ...options }: ViewsOptions,
): Promise<Tile[][]> {
  const once = await viewDrawer(engine, dataset, options)
  try {
    return await once.draw(epoch)
  } finally {
    once.release()
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
