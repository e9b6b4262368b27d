/** `npm run data -- cifar10 [--data-dir FOLDER]`: fetches a data set, checks it and says what it holds. */
import { Command } from 'commander'
import { MissingSplitError, datasetNames, datasetSource, type ImageDataset, type LoadOptions } from './dataset.js'

async function describe(name: string, options: LoadOptions): Promise<string> {
  const source = await datasetSource(name)
  const lines = [`${name}: ${await source.locate(options)}`]
  let classes: string[] = []
  const missing: MissingSplitError[] = []
  for (const split of ['train', 'test'] as const) {
    let dataset: ImageDataset
    try {
      dataset = await source.load(split, options)
    } catch (error) {
      if (!(error instanceof MissingSplitError)) throw error
      missing.push(error)
      lines.push(`${split.padEnd(5)} none`)
      continue
    }
    classes = dataset.classes
    const { count, width, height } = dataset
    lines.push(`${split.padEnd(5)} ${count.toLocaleString('en')} images of ${width}×${height} pixels`)
  }
  if (missing.length === 2) throw missing[0]
  lines.push(`${classes.length} classes: ${classes.join(', ')}`)
  return lines.join('\n')
}

const program = new Command('data')
  .description('Fetch a data set into the cache, check it, and print where it is and what it holds.')
  .argument('<name>', `one of: ${datasetNames.join(', ')}`)
  .option('--data-dir <folder>', 'use this folder in the official binary format; nothing is downloaded')
  .action(async (name: string, { dataDir }: { dataDir?: string }) => {
    try {
      console.log(await describe(name, { dataDir }))
    } catch (error) {
      console.error(error instanceof Error ? error.message : String(error))
      process.exitCode = 1
    }
  })

await program.parseAsync()
