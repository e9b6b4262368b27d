/** `npm run views -- --out views.png`: draws images and the views that training makes of them. */
import { Command } from 'commander'
import { cropGroups, recipes } from '../augment/recipe.js'
import { datasetNames, loadDataset } from '../node/data/index.js'
import { writeAtomically } from '../node/files.js'
import { firstAcrossClasses } from '../data/subset.js'
import { imagesWithViews } from '../augment/pictures.js'
import { contactSheet } from '../node/contact_sheet.js'
import { counted } from '../report/text.js'
import { extensionOf } from './extension.js'
import { openWithNote, parseOptions, runCommand, wholeNumber, withAdapter } from './common.js'
import { configOf, type PretrainCliOptions } from './pretrain_options.js'

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
  images: number
}

/** Views per image by default. */
const VIEWS = 8
const MOST_TILES = 4096
/** Approximate side of an enlarged picture, in pixels. */
const TILE = 128

const command = withAdapter(
  new Command('views')
    .description('Draw a contact sheet. Each row shows a training image and then its views, as training makes them.')
    .option('--out <file>', 'PNG or JPEG file to write', 'views.png')
    .option('--recipe <name>', 'recipe of a run of the paper, as for pretrain')
    .option('--config <file.yaml>', "options from a file, named as in a run's config.yaml")
    .option('--data <name>', `data set: ${datasetNames.join(', ')} (cifar10)`)
    .option('--data-dir <folder>', 'folder that holds the official files or pictures (the cache)')
    .option(
      '--resolution <pixels>',
      'height and width at which the pictures of a folder are packed (160)',
      wholeNumber('--resolution', 1),
    )
    .option(
      '--resize <filter>',
      "how the pictures of a folder are resized: lanczos, or torchvision's bilinear (lanczos)",
    )
    .option('--views <m>', `views per image (from --recipe or --config, otherwise ${VIEWS})`, wholeNumber('--views', 1))
    .option('--images <count>', 'number of images, taken from each class in turn', wholeNumber('--images', 1), 8)
    .option('--seed <number>', 'seed of the views (1)', wholeNumber('--seed', 0))
    .option('--augmentation <recipe>', `augmentation: ${Object.keys(recipes).join(', ')} (by data set)`)
    .option(
      '--image-size <pixels>',
      'height and width of a view (from the augmentation)',
      wholeNumber('--image-size', 1),
    ),
)

await runCommand(async () => {
  const { out, images: count, views: wanted, adapter, ...fields } = parseOptions<Options>(command)
  const extension = extensionOf('--out', out, ['.png', '.jpg', '.jpeg'])
  const config = await configOf(fields)
  const { data, dataDir, resolution, resize, augmentation: recipe, seed } = config
  const views = wanted ?? (fields.recipe === undefined && fields.config === undefined ? VIEWS : config.views)
  if (count * (views + 1) > MOST_TILES)
    throw new Error(`--images ${count} with --views ${views}: the sheet would have more than ${MOST_TILES} pictures`)
  const sizes = [...new Set(cropGroups(recipe, views).map(({ size }) => size))]
  const dataset = await loadDataset(data, 'pretraining', { dataDir, resolution, resize })
  const engine = await openWithNote(adapter)
  const images = firstAcrossClasses(dataset, count)
  const rows = await imagesWithViews(engine, dataset, { recipe, views, images, seed })
  const tile = Math.max(1, Math.round(TILE / recipe.size)) * recipe.size
  await writeAtomically(out, await contactSheet(rows, { tile, afterFirst: 16 }, extension === '.png' ? 'png' : 'jpeg'))
  const pixels = sizes.map((size) => `${size}×${size}`).join(' and ')
  console.log(
    `${out}: ${counted(images.length, 'image')} of ${dataset.name}, each with ${counted(views, 'view')} of ${pixels} pixels`,
  )
})
