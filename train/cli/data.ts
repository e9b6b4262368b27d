/** `npm run data -- cifar10 [--data-dir FOLDER]`: prepares a data set in the cache, checks it and prints its contents. */
import { Command } from 'commander'
import { number, parseOptions, runCommand } from './common.js'
import { MissingSplitError, type LoadOptions } from '../data/registry.js'
import { datasetNames, datasetLoader, loadDataset } from '../node/data/index.js'
import { formatCount } from '../report/text.js'

/** Folder, splits and classes of a data set, as lines. */
async function describe(name: string, options: LoadOptions): Promise<string> {
  const loader = await datasetLoader(name)
  const lines = [`${name}: ${await loader.locate(options)}`]
  let classes: string[] = []
  const missing: MissingSplitError[] = []
  const longest = Math.max(...loader.splits.map((split) => split.length))
  for (const split of loader.splits) {
    try {
      const dataset = await loadDataset(name, split, options)
      if (dataset.classes.length) classes = dataset.classes
      const size = `${dataset.width}×${dataset.height}`
      lines.push(`${split.padEnd(longest)} ${formatCount(dataset.count)} images of ${size} pixels`)
    } catch (error) {
      if (!(error instanceof MissingSplitError)) throw error
      missing.push(error)
      lines.push(`${split.padEnd(longest)} none`)
    }
  }
  if (missing.length === loader.splits.length) throw missing[0]
  lines.push(classes.length ? `${classes.length} classes: ${classes.join(', ')}` : 'no labels')
  return lines.join('\n')
}

const command = new Command('data')
  .description('Prepare a data set in the cache, check it, and print its folder and its contents.')
  .argument('<name>', `one of: ${datasetNames.join(', ')}`)
  .option('--data-dir <folder>', 'folder that holds the official files, their archive, or pictures')
  .option(
    '--resolution <pixels>',
    'height and width at which the pictures of a folder are packed (160)',
    number('--resolution'),
  )
  .option(
    '--resize <filter>',
    'how they are resized: lanczos; bilinear as torchvision does; whole keeps all of each (lanczos)',
  )

await runCommand(async () => {
  const options = parseOptions<Pick<LoadOptions, 'dataDir' | 'resolution' | 'resize'>>(command)
  console.log(await describe(command.args[0], options))
})
