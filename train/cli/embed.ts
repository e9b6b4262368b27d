/** `npm run embed`: writes the features of a data set; see `--help`. */
import { basename, dirname, join } from 'node:path'
import { Command, Option } from 'commander'
import { architectures, encodeSafetensors, importStateDict, resnet } from '../../models/index.js'
import { featureInfoOf, featureMetadata, unusualWeights, type FeatureInfo } from '../run/weights.js'
import { ConfigError, withoutUndefined, type PartialConfig, type PretrainConfig } from '../config/config.js'
import type { InitialWeights } from '../run/pretrain.js'
import { datasetNames, loadDataset } from '../node/data/index.js'
import type { ImageDataset, Split } from '../data/dataset.js'
import { MissingSplitError } from '../data/registry.js'
import { checkFile, writeAtomically } from '../node/files.js'
import { readBackbone, readWeights, refuseOtherNetwork } from '../node/weights.js'
import { variedShare } from '../diagnostics/spectrum.js'
import { extractFeatures } from '../readout/features.js'
import { chooseCheckpoint } from './choose_checkpoint.js'
import { beginPhase } from './phases.js'
import { number, openWithNote, optionOf, parseOptions, runCommand, wholeNumber, withAdapter } from './common.js'
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
  adapter?: string
}

const command = withAdapter(
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
      console.error(`${optionFor(name, value)} overrides ${optionFor(name, own)}, with which the weights were trained`)
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

/** Variance below this share of the mean square is a rounding error; features with little more are of little use. */
const EQUAL = 1e-12
const ALMOST_EQUAL = 1e-6

/** Features that are the same for all images are of no use, so they are not written. */
function checkFeatures(features: Float32Array, width: number, { file, out }: { file: string; out: string }): void {
  const count = features.length / width
  const varied = count < 2 ? 1 : variedShare(features, width)
  const images = `all ${count.toLocaleString('en')} images have`
  if (varied < EQUAL)
    throw new ConfigError(
      `${images} the same features: ${file} holds a collapsed network, or the images are equal; ${out} is not written`,
    )
  if (varied < ALMOST_EQUAL)
    console.error(
      `${images} almost the same features (only ${varied.toPrecision(1)} of their mean square varies): ${file} may hold a collapsed network`,
    )
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const { limit, out, adapter } = options
  await checkFile('--out', out)
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
  const unusual = unusualWeights(backbone.dict, { tensors: loaded.tensors, source: loaded.file })
  if (unusual) console.error(unusual)
  const count = Math.min(limit ?? dataset.count, dataset.count)
  const phase = beginPhase('features')
  const features = await extractFeatures(engine, backbone, dataset, {
    recipe,
    seed: 0,
    indices: Uint32Array.from({ length: count }, (_, i) => i),
    onProgress: (done, total) => phase.update(done, total),
  })
  phase.finish()
  checkFeatures(features, backbone.features, { file: loaded.file, out })

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
  console.log(
    `${out}: features [${count}, ${backbone.features}] of the first ${count} ${split} images of ${data}, ${describeInput(config)}`,
  )
})
