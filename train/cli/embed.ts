/** `npm run embed`: writes a backbone's features of a data set; see `--help`. */
import { basename } from 'node:path'
import { Command, Option } from 'commander'
import { architectures, encodeSafetensors, importStateDict, resnet } from '../../models/index.js'
import { readTensors } from '../checkpoint.js'
import { ConfigError, resolveConfig, type PartialConfig } from '../config.js'
import { datasetNames, loadDataset, type Split } from '../data/dataset.js'
import { writeAtomically } from '../files.js'
import { extractFeatures } from '../readout/features.js'
import { beginPhase } from '../report/phases.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from './common.js'

interface Options extends Pick<PartialConfig, 'arch' | 'width' | 'stem' | 'data' | 'dataDir' | 'resolution'> {
  weights: string
  split: Split
  limit?: number
  imageSize?: number
  out: string
  adapter?: string
}

const command = withAdapter(
  new Command('embed')
    .description(
      "Write a backbone's features of a data set in eval mode, from one clean view an image: a safetensors file with " +
        '`features` (F32 [N, D]) and `labels` (I64 [N]).',
    )
    .requiredOption(
      '--weights <file>',
      "safetensors under torchvision's names: a checkpoint's model.safetensors, or any other",
    )
    .requiredOption('--out <file>', 'where to write the features')
    .option('--arch <name>', `${Object.keys(architectures).join(', ')} (resnet18)`)
    .option('--width <channels>', 'channels of the first stage (64)', number('--width'))
    .option('--stem <name>', 'cifar or imagenet (cifar)')
    .option('--data <name>', `data set: ${datasetNames.join(', ')} (cifar10)`)
    .option('--data-dir <folder>', 'folder that holds it, in its official format or as pictures (default: the cache)')
    .option(
      '--resolution <pixels>',
      "height and width that a folder's pictures are packed at (160)",
      number('--resolution'),
    )
    .addOption(new Option('--split <name>', 'which images').choices(['train', 'test', 'unlabelled']).default('test'))
    .option('--limit <count>', 'the first so many images (all)', number('--limit'))
    .option('--image-size <pixels>', 'height and width that images are resized to (32)', number('--image-size')),
)

await runCommand(async () => {
  const { weights, split, limit, imageSize, out, adapter, ...fields } = parseOptions<Options>(command)
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 1))
    throw new ConfigError(`--limit ${limit}: must be a whole number of at least 1`)
  const config = resolveConfig({ ...fields, augmentation: imageSize === undefined ? {} : { size: imageSize } })
  const { arch, width, stem, data, dataDir, resolution, augmentation: recipe } = config
  const tensors = await readTensors(weights)
  const dataset = await loadDataset(data, split, { dataDir, resolution })

  const engine = await openWithNote(adapter)
  const backbone = resnet({ arch, width, stem })
  importStateDict(engine, backbone.dict, tensors, weights)
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
      weights: basename(weights),
      arch,
      width: String(width),
      stem,
      data,
      split,
      imageSize: String(recipe.size),
      views: '1 clean view',
      mean: JSON.stringify(recipe.mean),
      std: JSON.stringify(recipe.std),
    },
  )
  await writeAtomically(out, bytes)
  console.log(`${out}: features [${count}, ${backbone.features}] of the first ${count} ${split} images of ${data}`)
})
