/** `npm run embed`: writes the features of a data set; see `--help`. */
import { basename, dirname, join } from 'node:path'
import { Command, Option } from 'commander'
import { architectures, encodeSafetensors, importStateDict, resnet } from '../../models/index.js'
import { featureInfoOf, featureMetadata, type FeatureInfo } from '../run/weights.js'
import { ConfigError, withoutUndefined, type PartialConfig, type PretrainConfig } from '../config/config.js'
import type { InitialWeights } from '../run/pretrain.js'
import { datasetNames, loadDataset } from '../node/data/index.js'
import type { ImageDataset, Split } from '../data/dataset.js'
import { MissingSplitError } from '../data/registry.js'
import { checkFile, writeAtomically } from '../node/files.js'
import { readBackbone, readWeights, refuseOtherNetwork } from '../node/weights.js'
import { extractFeatures } from '../readout/features.js'
import { chooseCheckpoint } from './choose_checkpoint.js'
import { beginPhase } from './phases.js'
import {
  number,
  openWithNote,
  optionOf,
  parseOptions,
  runCommand,
  say,
  sayOn,
  wholeNumber,
  withAdapter,
  withForce,
} from './common.js'
import { withoutDefaults } from './pretrain_options.js'
import { configOfWeights, describeInput } from './weights_config.js'

interface Options extends Pick<PartialConfig, 'data' | 'dataDir' | 'resolution' | 'resize'> {
  weights?: string
  run?: string
  checkpoint?: string
  arch?: FeatureInfo['arch']
  width?: number
  stem?: FeatureInfo['stem']
  stemRelu?: boolean
  imageSize?: number
  split?: Split
  limit?: number
  out: string
  force?: true
  adapter?: string
}

const command = withForce(
  new Command('embed')
    .description(
      'Write the features of a data set, computed in eval mode from one clean view per image, to a safetensors file ' +
        'with `features` (F32 [N, D]) and `labels` (I64 [N]).',
    )
    .option('--run <folder>', 'folder that `npm run pretrain` wrote with --out')
    .option('--checkpoint <name>', 'with --run: checkpoint to use, by its name or its step (the newest)')
    .option('--weights <file>', "instead of --run: a safetensors file with torchvision's names")
    .requiredOption('--out <file>', 'safetensors file to write')
    .option('--arch <name>', `network: ${Object.keys(architectures).join(', ')} (from the weights)`)
    .option('--width <channels>', 'number of channels of the first stage (from the weights)', number('--width'))
    .option('--stem <name>', 'first layers: cifar or imagenet (from the weights)')
    .option('--no-stem-relu', 'no ReLU after the batch-norm of the stem')
    .option(
      '--image-size <pixels>',
      'height and width to which images are resized (from the weights, or 224 with the imagenet stem and 32 with cifar10)',
      number('--image-size'),
    )
    .option('--data <name>', `data set: ${datasetNames.join(', ')} (as in the run, or cifar10)`)
    .option('--data-dir <folder>', 'folder that holds the data set (as in the run, or the cache)')
    .option(
      '--resolution <pixels>',
      'height and width at which the pictures of a folder are packed (as in the run, or 160)',
      number('--resolution'),
    )
    .option(
      '--resize <filter>',
      'how the pictures of a folder are resized: lanczos or bilinear (as in the run, or lanczos)',
    )
    .addOption(
      new Option('--split <name>', 'split to read (test, or train where there is no test)').choices([
        'train',
        'test',
        'unlabelled',
      ]),
    )
    .option('--limit <count>', 'number of images, from the start of the split (all)', wholeNumber('--limit', 1)),
)
withAdapter(command)

/** An option as on the command line: `--width 64`, `--no-stem-relu`. */
const optionFor = (name: string, value: unknown): string =>
  typeof value === 'boolean'
    ? optionOf(value ? name : `no${name[0].toUpperCase()}${name.slice(1)}`)
    : `${optionOf(name)} ${String(value)}`

interface Loaded {
  file: string
  tensors: InitialWeights['tensors']
  saved: Partial<FeatureInfo>
  /** The configuration of the run that they come from. */
  config?: PretrainConfig
}

/** The weights, with the network and the data that they come from as far as these are known. */
async function loadWeights({ run, checkpoint: wanted, weights, arch, width, stem }: Options): Promise<Loaded> {
  if ((run === undefined) === (weights === undefined))
    throw new ConfigError('--run or --weights: give exactly one of them')
  if (run !== undefined) {
    const { config, checkpoint } = await chooseCheckpoint(run, wanted)
    const file = join(checkpoint.folder, 'model.safetensors')
    // The configuration of the run says more than the files of older checkpoints.
    const { tensors } = await readWeights(file)
    const saved = featureInfoOf(config)
    refuseOtherNetwork({ arch, width, stem }, { tensors, source: file, info: saved })
    return { file, tensors, saved, config }
  }
  if (wanted !== undefined) throw new ConfigError(`--checkpoint ${wanted}: needs --run`)
  const read = await readBackbone(weights!)
  refuseOtherNetwork({ arch, width, stem }, read)
  return { file: weights!, tensors: read.tensors, saved: read.info }
}

/** The configuration of the weights, with the user's network, data set and image size in their place. */
function embedConfig(options: Options, { saved, config: trained }: Loaded) {
  const { arch, width, stem, stemRelu, imageSize: size, data } = options
  const chosen = withoutDefaults(command, { arch, width, stem, stemRelu, imageSize: size })
  for (const [name, value] of Object.entries(chosen)) {
    const own = saved[name as keyof FeatureInfo]
    if (value !== undefined && own !== undefined && value !== own)
      say(`${optionFor(name, value)} overrides ${optionFor(name, own)}, with which the weights were trained`)
  }
  const sameData = trained && (data ?? trained.data) === trained.data
  // Images are normalised as in pretraining, whatever the data set is now.
  return configOfWeights(
    { ...saved, ...withoutUndefined(chosen) },
    {
      data: data ?? trained?.data,
      dataDir: options.dataDir ?? (sameData ? trained.dataDir : undefined),
      resolution: options.resolution ?? (sameData ? trained.resolution : undefined),
      resize: options.resize ?? (sameData ? trained.resize : undefined),
    },
  )
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const { limit, out, force, adapter } = options
  await checkFile('--out', out, force)
  const loaded = await loadWeights(options)
  const config = embedConfig(options, loaded)
  const { arch, width, stem, stemRelu, augmentation: recipe, data, dataDir, resolution, resize } = config
  const load = (split: Split): Promise<ImageDataset> => loadDataset(data, split, { dataDir, resolution, resize })
  const dataset = await load(options.split ?? 'test').catch((error: unknown) => {
    if (!(error instanceof MissingSplitError) || options.split !== undefined) throw error
    return load('train')
  })
  const { split } = dataset

  const engine = await openWithNote(adapter)
  const backbone = resnet({ arch, width, stem, stemRelu })
  importStateDict(engine, backbone.dict, loaded.tensors, loaded.file)
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
      weights: basename(loaded.file),
      ...(loaded.config && { run: options.run!, step: basename(dirname(loaded.file)) }),
      data,
      split,
      views: '1 clean view',
      ...(dataset.files && { files: JSON.stringify(dataset.files.slice(0, count)) }),
      ...(dataset.classes.length > 0 && { classes: JSON.stringify(dataset.classes) }),
    },
  )
  await writeAtomically(out, bytes)
  sayOn(
    process.stdout,
    `${out}: features [${count}, ${backbone.features}] of the first ${count} ${split} images of ${data}, ${describeInput(config)}`,
  )
})
