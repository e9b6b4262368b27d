/** The options that choose a network's weights, for `embed` and `export`. */
import { join } from 'node:path'
import type { Command } from 'commander'
import { architectures } from '../../models/index.js'
import { ConfigError, withoutUndefined, type PretrainConfig } from '../config/config.js'
import { readBackbone, readWeights, refuseOtherNetwork } from '../node/weights.js'
import { AVERAGE_FILE, MODEL_FILE } from '../run/checkpoint_record.js'
import type { InitialWeights } from '../run/pretrain.js'
import { featureInfoOf, type FeatureInfo } from '../run/weights.js'
import { chooseCheckpoint } from './choose_checkpoint.js'
import { number, optionOf, say } from './common.js'
import { withoutDefaults } from './pretrain_options.js'
import { configOfWeights } from './weights_config.js'

export interface WeightsOptions {
  weights?: string
  run?: string
  checkpoint?: string
  average?: true
  arch?: FeatureInfo['arch']
  width?: number
  stem?: FeatureInfo['stem']
  stemRelu?: boolean
  imageSize?: number
}

/** Adds the options to a command. */
export const withWeights = (command: Command): Command =>
  command
    .option('--run <folder>', 'folder that `npm run pretrain` wrote with --out')
    .option('--checkpoint <name>', 'with --run: checkpoint to use, by its name or its step (the newest)')
    .option('--average', 'with --run: the moving average of the weights, which runs with --ema-rate keep')
    .option('--weights <file>', "instead of --run: a safetensors file with torchvision's names")
    .option('--arch <name>', `network: ${Object.keys(architectures).join(', ')} (from the weights)`)
    .option('--width <channels>', 'number of channels of the first stage (from the weights)', number('--width'))
    .option('--stem <name>', 'first layers: cifar or imagenet (from the weights)')
    .option('--no-stem-relu', 'no ReLU after the batch-norm of the stem')
    .option(
      '--image-size <pixels>',
      'height and width to which images are resized (from the weights, or 224 with the imagenet stem and 32 with cifar10)',
      number('--image-size'),
    )

export interface ChosenWeights {
  file: string
  tensors: InitialWeights['tensors']
  saved: Partial<FeatureInfo>
  /** The configuration of the run that they come from. */
  config?: PretrainConfig
}

/**
 * The weights, with the network and the data that they come from as far as these are known.
 *
 * @throws ConfigError in one line that names the option or the file
 */
export async function loadChosenWeights(options: WeightsOptions): Promise<ChosenWeights> {
  const { run, checkpoint: wanted, average, weights, arch, width, stem } = options
  if ((run === undefined) === (weights === undefined))
    throw new ConfigError('--run or --weights: give exactly one of them')
  if (run !== undefined) {
    const { config, checkpoint } = await chooseCheckpoint(run, wanted)
    if (average && config.emaRate === undefined)
      throw new ConfigError(`--average: the run in ${run} keeps no moving average; start one with --ema-rate`)
    const file = join(checkpoint.folder, average ? AVERAGE_FILE : MODEL_FILE)
    // The configuration of the run says more than the files of older checkpoints.
    const { tensors } = await readWeights(file)
    const saved = featureInfoOf(config)
    refuseOtherNetwork({ arch, width, stem }, { tensors, source: file, info: saved })
    return { file, tensors, saved, config }
  }
  if (wanted !== undefined) throw new ConfigError(`--checkpoint ${wanted}: needs --run`)
  if (average) throw new ConfigError('--average: needs --run')
  const read = await readBackbone(weights!)
  refuseOtherNetwork({ arch, width, stem }, read)
  return { file: weights!, tensors: read.tensors, saved: read.info }
}

/** An option as on the command line: `--width 64`, `--no-stem-relu`. */
const optionFor = (name: string, value: unknown): string =>
  typeof value === 'boolean'
    ? optionOf(value ? name : `no${name[0].toUpperCase()}${name.slice(1)}`)
    : `${optionOf(name)} ${String(value)}`

/** The configuration of the weights, with the user's network and image size in their place, and with the given data. */
export function configOfChosen(
  command: Command,
  { arch, width, stem, stemRelu, imageSize: size }: WeightsOptions,
  { saved }: ChosenWeights,
  data: Parameters<typeof configOfWeights>[1] = {},
): PretrainConfig {
  const chosen = withoutDefaults(command, { arch, width, stem, stemRelu, imageSize: size })
  for (const [name, value] of Object.entries(chosen)) {
    const own = saved[name as keyof FeatureInfo]
    if (value !== undefined && own !== undefined && value !== own)
      say(`${optionFor(name, value)} overrides ${optionFor(name, own)}, with which the weights were trained`)
  }
  return configOfWeights({ ...saved, ...withoutUndefined(chosen) }, data)
}
