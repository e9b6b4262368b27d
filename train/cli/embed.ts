/** `npm run embed`: writes a backbone's features of a data set; see `--help`. */
import { basename, dirname, join } from 'node:path'
import { Command, Option } from 'commander'
import { architectures, encodeSafetensors, importStateDict, resnet } from '../../models/index.js'
import { featureInfoIn, featureInfoOf, featureMetadata, type FeatureInfo } from '../run/weights.js'
import { ConfigError, resolveConfig, withoutUndefined, type PartialConfig } from '../config/config.js'
import { datasetNames, loadDataset, type Split } from '../data/dataset.js'
import { writeAtomically } from '../node/files.js'
import { readWeights } from '../node/weights.js'
import { extractFeatures } from '../readout/features.js'
import { chooseCheckpoint } from './choose_checkpoint.js'
import { beginPhase } from './phases.js'
import { number, openWithNote, optionOf, parseOptions, runCommand, withAdapter } from './common.js'
import { withoutDefaults } from './pretrain_options.js'

interface Options extends Pick<PartialConfig, 'data' | 'dataDir' | 'resolution'> {
  weights?: string
  run?: string
  checkpoint?: string
  arch?: FeatureInfo['arch']
  width?: number
  stem?: FeatureInfo['stem']
  stemRelu?: boolean
  imageSize?: number
  split: Split
  limit?: number
  out: string
  adapter?: string
}

const command = withAdapter(
  new Command('embed')
    .description(
      "Write a backbone's features of a data set in eval mode, from one clean view an image: a safetensors file with " +
        '`features` (F32 [N, D]) and `labels` (I64 [N]).',
    )
    .option('--run <folder>', 'a folder that `npm run pretrain` wrote with --out: its newest checkpoint')
    .option('--checkpoint <name>', 'with --run: another one, by its name or its step')
    .option('--weights <file>', "or safetensors under torchvision's names: a model.safetensors, or any other")
    .requiredOption('--out <file>', 'where to write the features')
    .option(
      '--arch <name>',
      `${Object.keys(architectures).join(', ')} (what the weights say, as for the next four; or resnet18)`,
    )
    .option('--width <channels>', 'channels of the first stage (64)', number('--width'))
    .option('--stem <name>', 'cifar or imagenet (cifar)')
    .option('--no-stem-relu', "no ReLU after the stem's batch-norm")
    .option('--image-size <pixels>', 'height and width that images are resized to (32)', number('--image-size'))
    .option('--data <name>', `data set: ${datasetNames.join(', ')} (the run's, or cifar10)`)
    .option('--data-dir <folder>', "folder that holds it (the run's, or the cache)")
    .option(
      '--resolution <pixels>',
      "height and width that a folder's pictures are packed at (the run's, or 160)",
      number('--resolution'),
    )
    .addOption(new Option('--split <name>', 'which images').choices(['train', 'test', 'unlabelled']).default('test'))
    .option('--limit <count>', 'the first so many images (all)', number('--limit')),
)

/** An option as it is written on the command line. */
const optionFor = (name: string, value: unknown): string =>
  typeof value === 'boolean'
    ? optionOf(value ? name : `no${name[0].toUpperCase()}${name.slice(1)}`)
    : `${optionOf(name)} ${String(value)}`

/** The weights, and what is known of how to read them and of the data that they come from. */
async function source({ run, checkpoint: wanted, weights }: Options) {
  if ((run === undefined) === (weights === undefined))
    throw new ConfigError('--run or --weights: name a run, or a file of weights')
  if (run !== undefined) {
    const { config, checkpoint } = await chooseCheckpoint(run, wanted)
    const file = join(checkpoint.folder, 'model.safetensors')
    // Of older checkpoints the files say less than their run.
    const { tensors } = await readWeights(file)
    return { file, tensors, saved: featureInfoOf(config), config }
  }
  if (wanted !== undefined) throw new ConfigError(`--checkpoint ${wanted}: is one of a run; name that with --run`)
  const { tensors, metadata } = await readWeights(weights!)
  return { file: weights!, tensors, saved: featureInfoIn(metadata, weights!), config: undefined }
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const { split, limit, out, adapter, data } = options
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 1))
    throw new ConfigError(`--limit ${limit}: must be a whole number of at least 1`)
  const { file, tensors, saved, config: trained } = await source(options)
  const given = withoutDefaults(command, {
    ...{ arch: options.arch, width: options.width, stem: options.stem, stemRelu: options.stemRelu },
    imageSize: options.imageSize,
  })
  for (const [name, value] of Object.entries(given)) {
    const own = saved[name as keyof FeatureInfo]
    if (value !== undefined && own !== undefined && value !== own)
      console.error(
        `${optionFor(name, value)}: the weights were trained with ${optionFor(name, own)}; what is given wins`,
      )
  }
  const { imageSize, mean, std, ...network } = { ...saved, ...withoutUndefined(given) }
  const sameData = trained && (data ?? trained.data) === trained.data
  const config = resolveConfig({
    ...network,
    data: data ?? trained?.data,
    dataDir: options.dataDir ?? (sameData ? trained.dataDir : undefined),
    resolution: options.resolution ?? (sameData ? trained.resolution : undefined),
    // What the network saw, whatever it is shown now.
    augmentation: { size: imageSize, mean, std },
  })
  const { arch, width, stem, stemRelu, augmentation: recipe } = config
  const dataset = await loadDataset(config.data, split, { dataDir: config.dataDir, resolution: config.resolution })

  const engine = await openWithNote(adapter)
  const backbone = resnet({ arch, width, stem, stemRelu })
  importStateDict(engine, backbone.dict, tensors, file)
  const count = Math.min(limit ?? dataset.count, dataset.count)
  const phase = beginPhase('features')
  const features = await extractFeatures(engine, backbone, dataset, {
    recipe,
    seed: 0,
    indices: Uint32Array.from({ length: count }, (_, i) => i),
    onProgress: (done, total) => phase.update(done, total),
  })
  phase.finish()

  const labels = BigInt64Array.from(Array.from(dataset.labels.subarray(0, count), BigInt))
  const bytes = encodeSafetensors(
    {
      features: { dtype: 'F32', shape: [count, backbone.features], data: features },
      labels: { dtype: 'I64', shape: [labels.length], data: labels },
    },
    {
      ...featureMetadata(featureInfoOf(config)),
      weights: basename(file),
      ...(trained && { run: options.run!, step: basename(dirname(file)) }),
      data: config.data,
      split,
      views: '1 clean view',
    },
  )
  await writeAtomically(out, bytes)
  console.log(
    `${out}: features [${count}, ${backbone.features}] of the first ${count} ${split} images of ${config.data}`,
  )
})
