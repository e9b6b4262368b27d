/** `npm run views -- --out views.png`: a contact sheet of images and the views that training makes of them. */
import { Command } from 'commander'
import { recipes } from '../augment/recipe.js'
import { datasetNames, loadDataset } from '../data/dataset.js'
import { writeAtomically } from '../files.js'
import { acrossClasses, contactSheet, imagesWithViews } from '../report/contact_sheet.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from './common.js'

interface Options {
  out: string
  data: string
  dataDir?: string
  resolution?: number
  views: number
  images: number
  seed: number
  recipe: string
  imageSize?: number
  adapter?: string
}

const MOST_TILES = 4096
/** About the side of an enlarged picture: 32 pixels four times. */
const TILE = 128

/** Parses a whole number for commander. */
function wholeNumber(option: string, least: number): (text: string) => number {
  const parse = number(option)
  return (text) => {
    const value = parse(text)
    if (!Number.isSafeInteger(value) || value < least)
      throw new Error(`${option}: ${text} is not a whole number of at least ${least}`)
    return value
  }
}

const command = withAdapter(
  new Command('views')
    .description('Draw a contact sheet: each row an image of the train split, then its views as training makes them.')
    .option('--out <file>', 'PNG file to write', 'views.png')
    .option('--data <name>', `data set: ${datasetNames.join(', ')}`, 'cifar10')
    .option('--data-dir <folder>', 'folder that holds it, in its official format or as pictures (default: the cache)')
    .option(
      '--resolution <pixels>',
      "height and width that a folder's pictures are packed at (160)",
      wholeNumber('--resolution', 1),
    )
    .option('--views <m>', 'views an image', wholeNumber('--views', 1), 8)
    .option('--images <count>', 'images, of one class after the other', wholeNumber('--images', 1), 8)
    .option('--seed <number>', 'of the views', wholeNumber('--seed', 0), 1)
    .option('--recipe <name>', `augmentations: ${Object.keys(recipes).join(', ')}`, 'cifar')
    .option('--image-size <pixels>', "height and width of a view (the recipe's)", wholeNumber('--image-size', 1)),
)

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  if (!Object.hasOwn(recipes, options.recipe))
    throw new Error(`--recipe: '${options.recipe}' is none of ${Object.keys(recipes).join(', ')}`)
  if (options.images * (options.views + 1) > MOST_TILES)
    throw new Error(
      `--images ${options.images} with --views ${options.views}: more than ${MOST_TILES} pictures on a sheet`,
    )
  const preset = recipes[options.recipe as keyof typeof recipes]
  const recipe = { ...preset, size: options.imageSize ?? preset.size }
  const { dataDir, resolution } = options
  const dataset = await loadDataset(options.data, 'pretraining', { dataDir, resolution })
  const engine = await openWithNote(options.adapter)
  const images = acrossClasses(dataset, options.images)
  const rows = await imagesWithViews(engine, dataset, { recipe, views: options.views, images, seed: options.seed })
  const tile = Math.max(1, Math.round(TILE / recipe.size)) * recipe.size
  await writeAtomically(options.out, await contactSheet(rows, { tile, afterFirst: 16 }))
  console.log(
    `${options.out}: ${images.length} images of ${dataset.name}, each with ${options.views} views of ${recipe.size}×${recipe.size} pixels`,
  )
})
