/** `npm run embed`: writes the features of a data set to a file; see `--help`. */
import { basename, dirname } from 'node:path'
import { Command, Option } from 'commander'
import { importStateDict, resnet } from '../../models/index.js'
import type { PartialConfig, PretrainConfig } from '../config/config.js'
import type { ImageDataset, Split } from '../data/dataset.js'
import { MissingSplitError } from '../data/registry.js'
import { datasetNames, loadDataset } from '../node/data/index.js'
import { checkFile, writeAtomically } from '../node/files.js'
import { featureFormats } from '../readout/feature_files.js'
import { extractFeatures } from '../readout/features.js'
import { featureInfoOf, featureMetadata } from '../run/weights.js'
import {
  configOfChosen,
  loadChosenWeights,
  withWeights,
  type ChosenWeights,
  type WeightsOptions,
} from './chosen_weights.js'
import { number, openWithNote, parseOptions, runCommand, wholeNumber, withAdapter } from './common.js'
import { extensionOf } from './extension.js'
import { beginPhase } from './phases.js'
import { describeInput } from './weights_config.js'

interface Options extends WeightsOptions, Pick<PartialConfig, 'data' | 'dataDir' | 'resolution' | 'resize'> {
  split?: Split
  limit?: number
  out: string
  adapter?: string
}

const command = withAdapter(
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

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const { limit, out, adapter } = options
  const extension = extensionOf('--out', out, Object.keys(featureFormats))
  await checkFile('--out', out)
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
  const count = Math.min(limit ?? dataset.count, dataset.count)
  const phase = beginPhase('features')
  const features = await extractFeatures(engine, backbone, dataset, {
    recipe,
    seed: 0,
    indices: Uint32Array.from({ length: count }, (_, i) => i),
    onProgress: (done, total) => phase.update(done, total),
  })
  phase.finish()

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
  const base = out.slice(0, -extension.length)
  for (const [ending, bytes] of Object.entries(written)) await writeAtomically(base + ending, bytes)
  console.log(
    `${out}: features [${count}, ${backbone.features}] of the first ${count} ${split} images of ${data}, ${describeInput(config)}`,
  )
})
