/** `npm run views -- --out views.png`: a contact sheet of images and the views that training makes of them. */
import { Command } from 'commander'
import { cropGroups, recipes } from '../augment/recipe.js'
import { ConfigError } from '../config/config.js'
import { datasetNames, loadDataset } from '../node/data/index.js'
import { writeAtomically } from '../node/files.js'
import { firstAcrossClasses } from '../data/subset.js'
import { contactSheet, imagesWithViews } from '../node/contact_sheet.js'
import { counted } from '../report/text.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from './common.js'
import { configOf, type PretrainCliOptions } from './pretrain_options.js'

interface Options extends Pick<
  PretrainCliOptions,
  'data' | 'dataDir' | 'resolution' | 'views' | 'seed' | 'recipe' | 'config' | 'augmentation' | 'imageSize' | 'adapter'
> {
  out: string
  images: number
}

/** Views an image where nothing says how many. */
const VIEWS = 8
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
    .option('--recipe <name>', 'a run of the paper, as for pretrain')
    .option('--config <file.yaml>', "options from a file, named as in a run's config.yaml")
    .option('--data <name>', `data set: ${datasetNames.join(', ')} (cifar10)`)
    .option('--data-dir <folder>', 'folder that holds it, in its official format or as pictures (the cache)')
    .option(
      '--resolution <pixels>',
      "height and width that a folder's pictures are packed at (160)",
      wholeNumber('--resolution', 1),
    )
    .option('--views <m>', `views an image (those of --recipe or --config, or ${VIEWS})`, wholeNumber('--views', 1))
    .option('--images <count>', 'images, of one class after the other', wholeNumber('--images', 1), 8)
    .option('--seed <number>', 'of the views (1)', wholeNumber('--seed', 0))
    .option('--augmentation <recipe>', `${Object.keys(recipes).join(', ')} (that of the data set)`)
    .option('--image-size <pixels>', "height and width of a view (the recipe's)", wholeNumber('--image-size', 1)),
)

await runCommand(async () => {
  const { out, images: count, views: wanted, adapter, ...fields } = parseOptions<Options>(command)
  if (!/\.png$/i.test(out))
    throw new ConfigError(`--out ${out}: the sheet is a PNG file; give a name that ends in .png`)
  const config = await configOf(fields)
  const { data, dataDir, resolution, augmentation: recipe, seed } = config
  const views = wanted ?? (fields.recipe === undefined && fields.config === undefined ? VIEWS : config.views)
  if (count * (views + 1) > MOST_TILES)
    throw new Error(`--images ${count} with --views ${views}: more than ${MOST_TILES} pictures on a sheet`)
  const sizes = [...new Set(cropGroups(recipe, views).map(({ size }) => size))]
  const dataset = await loadDataset(data, 'pretraining', { dataDir, resolution })
  const engine = await openWithNote(adapter)
  const images = firstAcrossClasses(dataset, count)
  const rows = await imagesWithViews(engine, dataset, { recipe, views, images, seed })
  const tile = Math.max(1, Math.round(TILE / recipe.size)) * recipe.size
  await writeAtomically(out, await contactSheet(rows, { tile, afterFirst: 16 }))
  console.log(
    `${out}: ${counted(images.length, 'image')} of ${dataset.name}, each with ${counted(views, 'view')} of ${sizes.map((size) => `${size}×${size}`).join(' and ')} pixels`,
  )
})
