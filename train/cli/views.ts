/** `npm run views -- --out views.png`: draws images and the views that training makes of them. */
import { Command } from 'commander'
import { cropGroups, recipes } from '../augment/recipe.js'
import { overlay, resolveConfig } from '../config/config.js'
import { datasetLoader, datasetNames, loadDataset } from '../node/data/index.js'
import { checkFile, writeAtomically } from '../node/files.js'
import { firstAcrossClasses } from '../data/subset.js'
import { imagesWithViews } from '../augment/pictures.js'
import { contactSheet } from '../node/contact_sheet.js'
import { counted } from '../report/text.js'
import { openWithNote, parseOptions, runCommand, sayOn, wholeNumber, withAdapter, withForce } from './common.js'
import { extensionOf } from './extension.js'
import { pictureSizes } from './picture_defaults.js'
import { readOptions, type PretrainCliOptions } from './pretrain_options.js'

interface Options extends Pick<
  PretrainCliOptions,
  | 'data'
  | 'dataDir'
  | 'resolution'
  | 'resize'
  | 'views'
  | 'seed'
  | 'recipe'
  | 'config'
  | 'augmentation'
  | 'imageSize'
  | 'adapter'
> {
  out: string
  force?: true
  images: number
}

const MOST_TILES = 4096
/** Approximate side of an enlarged picture, in pixels. */
const TILE = 128

const command = withForce(
  new Command('views')
    .description('Draw a contact sheet. Each row shows a training image and then its views, as training makes them.')
    .option('--out <file>', 'PNG or JPEG file to write', 'views.png')
    .option('--recipe <name>', 'recipe of a run of the paper, as for pretrain')
    .option('--config <file.yaml>', "options from a file, named as in a run's config.yaml")
    .option('--data <name>', `data set: ${datasetNames.join(', ')} (cifar10)`)
    .option('--data-dir <folder>', 'folder that holds the official files or pictures (the cache)')
    .option(
      '--resolution <pixels>',
      'height and width at which the pictures of a folder are packed (chosen to suit the views)',
      wholeNumber('--resolution', 1),
    )
    .option(
      '--resize <filter>',
      "how the pictures of a folder are resized: lanczos, or torchvision's bilinear; whole keeps all of each (lanczos)",
    )
    .option(
      '--views <m>',
      'views per image (as in pretraining: 4, or from --recipe or --config)',
      wholeNumber('--views', 1),
    )
    .option('--images <count>', 'number of images, taken from each class in turn', wholeNumber('--images', 1), 8)
    .option('--seed <number>', 'seed of the views (1)', wholeNumber('--seed', 0))
    .option('--augmentation <recipe>', `augmentation: ${Object.keys(recipes).join(', ')} (by data set)`)
    .option(
      '--image-size <pixels>',
      'height and width of a view (from the augmentation: 32 for cifar10; 64 for folder on a processor)',
      wholeNumber('--image-size', 1),
    ),
)
withAdapter(command)

await runCommand(async () => {
  const { out, force, images: count, views: wanted, adapter, ...fields } = parseOptions<Options>(command)
  const extension = extensionOf('--out', out, ['.png', '.jpg', '.jpeg'])
  await checkFile('--out', out, force)
  // The weights of `init` need not be there: only the views matter.
  const { config, given } = await readOptions(fields, false)
  const { data, dataDir } = config
  const views = wanted ?? config.views
  if (count * (views + 1) > MOST_TILES)
    throw new Error(`--images ${count} with --views ${views}: the sheet would have more than ${MOST_TILES} pictures`)
  const { anyResolution, locate, side } = await datasetLoader(data)
  // A missing folder is reported before the engine is opened.
  if (dataDir !== undefined) await locate({ dataDir })
  const engine = await openWithNote(adapter)
  const sizes = given && anyResolution ? pictureSizes(given, engine, side) : {}
  const { resolution, resize, augmentation: recipe, seed } = given ? resolveConfig(overlay(given, sizes)) : config
  const sides = [...new Set(cropGroups(recipe, views).map(({ size }) => size))]
  const dataset = await loadDataset(data, 'pretraining', { dataDir, resolution, resize })
  const images = firstAcrossClasses(dataset, count)
  const rows = await imagesWithViews(engine, dataset, { recipe, views, images, seed })
  const tile = Math.max(1, Math.round(TILE / recipe.size)) * recipe.size
  await writeAtomically(out, await contactSheet(rows, { tile, afterFirst: 16 }, extension === '.png' ? 'png' : 'jpeg'))
  const pixels = sides.map((size) => `${size}×${size}`).join(' and ')
  sayOn(
    process.stdout,
    `${out}: ${counted(images.length, 'image')} of ${dataset.name}, each with ${counted(views, 'view')} of ${pixels} pixels`,
  )
})
