/** `npm run views -- --out views.png`: a contact sheet of images and the views that training makes of them. */
import { Command, InvalidArgumentError, Option } from 'commander'
import { openEngine } from '../../engine/node/index.js'
import { recipes } from '../augment/recipe.js'
import { datasetNames, loadDataset } from '../data/dataset.js'
import { writeAtomically } from '../files.js'
import { acrossClasses, contactSheet, imagesWithViews } from '../report/contact_sheet.js'

interface ViewsArguments {
  out: string
  data: string
  dataDir?: string
  views: number
  images: number
  seed: number
  recipe: keyof typeof recipes
  imageSize?: number
  adapter?: string
}

const MOST_TILES = 4096

/** @param least the smallest whole number that serves */
const wholeNumber = (least: number) => (text: string) => {
  const value = Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least)
    throw new InvalidArgumentError(`It must be a whole number of at least ${least}.`)
  return value
}

async function views(options: ViewsArguments): Promise<void> {
  if (options.images * (options.views + 1) > MOST_TILES)
    throw new Error(
      `${options.images} images × ${options.views} views are more than ${MOST_TILES} pictures: ask for fewer`,
    )
  const preset = recipes[options.recipe]
  const recipe = { ...preset, size: options.imageSize ?? preset.size }
  const dataset = await loadDataset(options.data, 'train', { dataDir: options.dataDir })
  const engine = await openEngine({ adapter: options.adapter })
  try {
    console.error(engine.driver.note)
    const images = acrossClasses(dataset, options.images)
    const rows = await imagesWithViews(engine, dataset, { recipe, views: options.views, images, seed: options.seed })
    const tile = Math.max(1, Math.round(128 / recipe.size)) * recipe.size
    await writeAtomically(options.out, await contactSheet(rows, { tile, afterFirst: 16 }))
    console.log(
      `${options.out}: ${images.length} images, each with ${options.views} views of ${recipe.size}×${recipe.size} pixels`,
    )
  } finally {
    engine.close()
  }
}

const program = new Command('views')
  .description('Draw a contact sheet: each row one image of the train split, then its views as training makes them.')
  .option('--out <file>', 'PNG file to write', 'views.png')
  .addOption(new Option('--data <name>', 'data set').choices([...datasetNames]).default('cifar10'))
  .option('--data-dir <folder>', 'folder with the data set in its official format; nothing is downloaded then')
  .option('--views <m>', 'views an image', wholeNumber(1), 8)
  .option('--images <n>', 'images, one class after the other', wholeNumber(1), 8)
  .option('--seed <seed>', 'seed of the draws', wholeNumber(0), 1)
  .addOption(new Option('--recipe <name>', 'augmentation recipe').choices(Object.keys(recipes)).default('cifar'))
  .option('--image-size <pixels>', "height and width of a view; the recipe's by default", wholeNumber(1))
  .option('--adapter <name>', 'adapter to use, as npm run doctor prints them')
  .action(async (options: ViewsArguments) => {
    try {
      await views(options)
    } catch (error) {
      console.error(error instanceof Error ? error.message : String(error))
      process.exitCode = 1
    }
  })

await program.parseAsync()
