/** `npm run embed`: writes the features of a data set to a file; see `--help`. */
import { basename, dirname } from 'node:path'
import { Command, Option } from 'commander'
import { importStateDict, resnet } from '../../models/index.js'
import { ConfigError, type PartialConfig, type PretrainConfig } from '../config/config.js'
import type { ImageDataset, Split } from '../data/dataset.js'
import { MissingSplitError } from '../data/registry.js'
import { datasetNames, loadDataset } from '../node/data/index.js'
import { checkFile, writeAtomically } from '../node/files.js'
import { variedShare } from '../diagnostics/spectrum.js'
import { featureFormats, NPY_LABELS } from '../readout/feature_files.js'
import { extractFeatures } from '../readout/features.js'
import { featureInfoOf, featureMetadata, unusualWeights } from '../run/weights.js'
import {
  configOfChosen,
  loadChosenWeights,
  withWeights,
  type ChosenWeights,
  type WeightsOptions,
} from './chosen_weights.js'
import {
  number,
  openWithNote,
  parseOptions,
  runCommand,
  say,
  sayOn,
  wholeNumber,
  withAdapter,
  withForce,
} from './common.js'
import { extensionOf } from './extension.js'
import { beginPhase } from './phases.js'
import { describeInput } from './weights_config.js'

interface Options extends WeightsOptions, Pick<PartialConfig, 'data' | 'dataDir' | 'resolution' | 'resize'> {
  split?: Split
  limit?: number
  out: string
  force?: true
  adapter?: string
}

const command = withForce(
  withWeights(
    new Command('embed').description(
      'Write the features of a data set, computed in eval mode from one clean view per image: .safetensors with ' +
        '`features` (F32 [N, D]) and `labels` (I64 [N]), .npy with the labels in a second file, or .csv.',
    ),
  )
    .requiredOption('--out <file>', 'file to write: .safetensors, .npy or .csv')
    .option('--data <name>', `data set: ${datasetNames.join(', ')} (as in the run, or cifar10)`)
    .option('--data-dir <folder>', 'folder that holds the data set (as in the run, or the cache)')
    .option(
      '--resolution <pixels>',
      'height and width at which the pictures of a folder are packed (as in the run, or 160)',
      number('--resolution'),
    )
    .option(
      '--resize <filter>',
      'how the pictures of a folder are resized: lanczos, bilinear or whole (as in the run, or lanczos)',
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

/** The configuration of the weights, with the user's network, data set and image size in their place. */
function embedConfig(options: Options, loaded: ChosenWeights): PretrainConfig {
  const { data, dataDir, resolution, resize } = options
  const { config: trained } = loaded
  const sameData = trained && (data ?? trained.data) === trained.data
  // Images are normalised as in pretraining, whatever the data set is now.
  return configOfChosen(command, options, loaded, {
    data: data ?? trained?.data,
    dataDir: dataDir ?? (sameData ? trained.dataDir : undefined),
    resolution: resolution ?? (sameData ? trained.resolution : undefined),
    resize: resize ?? (sameData ? trained.resize : undefined),
  })
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
    say(
      `${images} almost the same features (only ${varied.toPrecision(1)} of their mean square varies): ${file} may hold a collapsed network`,
    )
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const { limit, out, force, adapter } = options
  const extension = extensionOf('--out', out, Object.keys(featureFormats))
  const base = out.slice(0, -extension.length)
  for (const file of [out, ...(extension === '.npy' ? [base + NPY_LABELS] : [])]) await checkFile('--out', file, force)
  const loaded = await loadChosenWeights(options)
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
  if (unusual) say(unusual)
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

  const written = featureFormats[extension]({
    features,
    count,
    width: backbone.features,
    labels: dataset.labels.subarray(0, count),
    classes: dataset.classes,
    files: dataset.files?.slice(0, count),
    metadata: {
      ...featureMetadata(featureInfoOf(config)),
      weights: basename(loaded.file),
      ...(loaded.config && { run: options.run!, step: basename(dirname(loaded.file)) }),
      data,
      split,
      views: '1 clean view',
    },
  })
  for (const [ending, bytes] of Object.entries(written)) await writeAtomically(base + ending, bytes)
  sayOn(
    process.stdout,
    `${out}: features [${count}, ${backbone.features}] of ${count < dataset.count ? `the first ${count}` : `all ${count}`} ${split} images of ${dataset.name}, ${describeInput(config)}`,
  )
})
