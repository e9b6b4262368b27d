/** `npm run data -- cifar10 [--data-dir FOLDER]`: fetches, unpacks or packs a data set, checks it and says what it holds. */
import { Command } from 'commander'
import { number, parseOptions, runCommand } from './common.js'
import { MissingSplitError, type LoadOptions } from '../data/registry.js'
import { datasetNames, datasetLoader, loadDataset } from '../node/data/index.js'

async function describe(name: string, options: LoadOptions): Promise<string> {
  const source = await datasetLoader(name)
  const lines = [`${name}: ${await source.locate(options)}`]
  let classes: string[] = []
  const missing: MissingSplitError[] = []
  const width = Math.max(...source.splits.map((split) => split.length))
  for (const split of source.splits) {
    try {
      const dataset = await loadDataset(name, split, options)
      if (dataset.classes.length) classes = dataset.classes
      const { count, width: across, height } = dataset
      lines.push(`${split.padEnd(width)} ${count.toLocaleString('en')} images of ${across}×${height} pixels`)
    } catch (error) {
      if (!(error instanceof MissingSplitError)) throw error
      missing.push(error)
      lines.push(`${split.padEnd(width)} none`)
    }
  }
  if (missing.length === source.splits.length) throw missing[0]
  lines.push(classes.length ? `${classes.length} classes: ${classes.join(', ')}` : 'no labels')
  return lines.join('\n')
}

const command = new Command('data')
  .description('Bring a data set into the cache, check it, and print where it is and what it holds.')
  .argument('<name>', `one of: ${datasetNames.join(', ')}`)
  .option('--data-dir <folder>', 'the folder that holds it, in its official format, as its archive or as pictures')
  .option(
    '--resolution <pixels>',
    "height and width that a folder's pictures are packed at (160)",
    number('--resolution'),
  )

await runCommand(async () => {
  const options = parseOptions<Pick<LoadOptions, 'dataDir' | 'resolution'>>(command)
  console.log(await describe(command.args[0], options))
})
