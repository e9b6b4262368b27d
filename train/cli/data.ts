/**
 * `npm run data -- cifar10 [--data-dir FOLDER]`: prepares a data set in the cache, checks it and prints its contents.
 * `npm run data -- shard PICTURES --out FOLDER`: writes pictures as shards.
 */
import { Command } from 'commander'
import { stat } from 'node:fs/promises'
import { number, parseOptions, printable, runCommand, wholeNumber } from './common.js'
import { ConfigError } from '../config/config_error.js'
import { MissingSplitError, type LoadOptions } from '../data/registry.js'
import { checkFolder } from '../node/files.js'
import { datasetNames, datasetLoader, loadDataset } from '../node/data/index.js'
import { terminalProgress } from '../node/data/terminal_progress.js'
import { counted, formatCount } from '../report/text.js'
import { commandLine } from './ending.js'

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

const SHARD_MIB = 256

interface ShardOptions {
  out?: string
  shardSize?: number
  shorterSide?: number
  seed?: number
  force?: boolean
}

/** Writes the pictures of a folder as shards. */
async function shard(from: string | undefined, options: ShardOptions): Promise<void> {
  const { out, shardSize = SHARD_MIB, shorterSide, seed = 1 } = options
  if (from === undefined) throw new ConfigError('shard: name the folder of the pictures')
  if (out === undefined) throw new ConfigError('shard: give --out, the folder for the shards')
  if (!(await stat(from).catch(() => undefined))?.isDirectory())
    throw new ConfigError(`${from}: there is no such folder`)
  await checkFolder('--out', out)
  if (!options.force && (await stat(out).catch(() => undefined)))
    throw new ConfigError(`--out ${out}: exists already; name another folder, or replace it with --force`)
  const { writeShards } = await import('../node/data/shards/write_shards.js')
  const written = await writeShards({
    ...{ from, out, shorterSide, seed, shardBytes: shardSize * 2 ** 20, progress: terminalProgress() },
    onWarning: (line) => console.error(printable(line)),
  })
  for (const { split, index } of written) {
    const bytes = index.sizes.reduce((sum, size) => sum + size, 0)
    const classes = index.labels.length > 0 ? `, ${formatCount(index.classes.length)} classes` : ', no labels'
    const size = `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`
    console.log(
      `${split}: ${counted(index.starts.length, 'picture')} in ${counted(index.shards.length, 'shard')}, ${size}${classes}`,
    )
  }
  console.error(`Next: ${printable(commandLine('pretrain', '--data', 'shards', '--data-dir', out, '--out', 'runs/a'))}`)
}

const command = new Command('data')
  .description(
    'Prepare a data set in the cache, check it, and print its folder and its contents; or write a folder of pictures as ' +
      'shards (tar files as WebDataset has them): data shard PICTURES --out FOLDER',
  )
  .argument('<name>', `one of: ${datasetNames.join(', ')}; or shard`)
  .argument('[pictures]', 'shard: the folder of the pictures')
  .option(
    '--data-dir <folder>',
    'folder that holds the official files, their archive, pictures or shards; URL of shards',
  )
  .option(
    '--resolution <pixels>',
    'height and width at which the pictures of a folder are packed (160)',
    number('--resolution'),
  )
  .option(
    '--resize <filter>',
    'how they are resized: lanczos; bilinear as torchvision does; whole keeps all of each (lanczos)',
  )
  .option('--out <folder>', 'shard: the folder to write')
  .option('--shard-size <MiB>', `shard: size of a shard (${SHARD_MIB})`, wholeNumber('--shard-size', 1))
  .option(
    '--shorter-side <pixels>',
    'shard: shrink larger pictures to this shorter side and write them anew as JPEG (files stay as they are)',
    wholeNumber('--shorter-side', 1),
  )
  .option('--seed <number>', 'shard: seed of the order of the pictures (1)', wholeNumber('--seed', 0))
  .option('--force', 'shard: replace the folder of --out if it exists')

await runCommand(async () => {
  const options = parseOptions<Pick<LoadOptions, 'dataDir' | 'resolution' | 'resize'> & ShardOptions>(command)
  const [name, pictures] = command.args
  if (name === 'shard') return shard(pictures, options)
  if (pictures !== undefined) throw new ConfigError(`${name}: takes no folder of pictures: use --data-dir`)
  console.log(await describe(name, options))
})
