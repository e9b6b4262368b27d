/** The options of `npm run pretrain`, and the configuration from them, a file, a recipe or a run to resume. */
import { Command } from 'commander'
import { architectures } from '../../models/index.js'
import { recipes } from '../augment/recipe.js'
import { checkHoldsRun, runFolder } from '../node/run_folder.js'
import {
  ConfigError,
  overlay,
  resolveConfig,
  UnknownOptionError,
  type PartialConfig,
  type PretrainConfig,
} from '../config/config.js'
import { datasetNames } from '../node/data/index.js'
import { readInitialWeights, refuseOtherNetwork, type BackboneWeights } from '../node/weights.js'
import type { InitialWeights } from '../run/pretrain.js'
import { objectiveNames } from '../objectives/index.js'
import { readRecipe } from '../recipes/index.js'
import { readYaml } from '../node/read_yaml.js'
import { readConfig } from '../run/folder.js'
import { number, wholeNumber, withAdapter } from './common.js'
import { withSlurm, type SlurmCliOptions } from './slurm_options.js'

/** The parsed command line: fields of the configuration and options of the command itself. */
export interface PretrainCliOptions extends Omit<PartialConfig, 'augmentation' | 'stream'>, SlurmCliOptions {
  config?: string
  recipe?: string
  listRecipes?: boolean
  augmentation?: string
  imageSize?: number
  stream?: boolean
  out?: string
  resume?: boolean
  maxMinutes?: number
  keep?: number
  keepWeights?: number
  adapter?: string
  csv?: boolean
  tensorboard?: boolean
  debugNan?: boolean
  tune: boolean
  slurm?: boolean
  nodes?: number
  ranksPerNode?: number
}

const text = String

function minutes(given: string): number {
  const value = number('--max-minutes')(given)
  if (!(value > 0)) throw new Error(`--max-minutes ${given}: must be more than 0`)
  return value
}

/** Options with a value, by heading: [flags, description, parser]. Without a parser the value is a number. */
const groups: Record<string, [string, string, ((value: string) => unknown)?][]> = {
  'Data:': [
    ['--data <name>', `data set: ${datasetNames.join(', ')} (cifar10)`, text],
    [
      '--data-dir <folder>',
      'folder that holds the official files, pictures or shards, or the URL of shards (the cache)',
      text,
    ],
    [
      '--resolution <pixels>',
      'height and width at which the pictures of a folder are packed (chosen to suit the views)',
    ],
    [
      '--resize <filter>',
      "how the pictures of a folder are resized: lanczos, or torchvision's bilinear; whole keeps all of each (lanczos)",
      text,
    ],
    ['--fraction <share>', 'share of the training images to pretrain on (1)'],
  ],
  'Views:': [
    ['--views <m>', 'views per image, at least 2 (4; 2 for objectives of two views)'],
    [
      '--image-size <pixels>',
      'height and width of a view (from the augmentation: 32 for cifar10; 64 for folder and shards on a processor)',
    ],
    ['--augmentation <recipe>', `augmentation: ${Object.keys(recipes).join(', ')} (by data set)`, text],
    ['--view-chunk <k>', 'number of views in memory at once, a divisor of --views; needs --bn per-view (all)'],
  ],
  'Network:': [
    ['--arch <name>', `network: ${Object.keys(architectures).join(', ')} (resnet18)`, text],
    ['--width <channels>', 'number of channels of the first stage (64; 16 for folder and shards on a processor)'],
    ['--stem <name>', 'first layers: cifar or imagenet (cifar; imagenet for folder and shards)', text],
    [
      '--init <weights>',
      "start the backbone from a safetensors file with torchvision's or timm's names, or from the folder of a run; sets " +
        '--arch, --width and --stem (random weights)',
      text,
    ],
    ['--freeze-stages <n>', 'with --init: freeze the stem and the first n stages; 0 freezes only the stem (nothing)'],
    [
      '--initial-weights <name>',
      "random weights of the convolutions: he, or the smaller ones that are PyTorch's default, pytorch (he)",
      text,
    ],
    [
      '--gate-budget <share>',
      'train a dense and a sparse network together: gates choose this share of the channels for half of the views (none)',
    ],
    ['--bn <mode>', 'batch-norm statistics over all views (joint) or over each view (per-view) (joint)', text],
    ['--bn-statistics <of>', "with several ranks: of each rank's images (rank) or of all images (global) (rank)", text],
    ['--projector-dim <d>', 'width of the projector (256)'],
    ['--projector-depth <layers>', 'number of linear layers of the projector, 2 or 3 (2)'],
  ],
  'Objective:': [
    ['--objective <name>', `objective: ${objectiveNames.join(', ')} (barlow-twins)`, text],
    [
      '--loss-statistics <of>',
      "with several ranks: the mean of the losses of each rank's images (rank), or the loss of all images (global) (rank)",
      text,
    ],
    [
      '--lambda <weight>',
      'Barlow Twins: weight of the orthogonality constraint (0.01); VICReg, FroSSL and EMP-SSL: weight of the invariance (25; 1; 200); MMCR: weight of the norm of the views (0); LeJEPA: weight of SIGReg (0.02). auto: for barlow-twins, from --projector-dim and --views',
      (given) => (given === 'auto' ? given : number('--lambda')(given)),
    ],
    ['--mu <weight>', 'vicreg-original: weight of the variance term (25)'],
    ['--beta <weight>', 'spectral: weight of the orthogonality constraint (0.5)'],
    [
      '--estimator <name>',
      'spectral: estimate of the invariance: split (unbiased), clean (bias falls with views) or views (views alone) (split)',
      text,
    ],
    ['--distortion <e>', 'emp-ssl: distortion of the coding rate (0.2)'],
    ['--slices <count>', 'lejepa: number of directions along which embeddings are compared with a normal one (256)'],
    ['--temperature <t>', 'simclr and mv-infonce: temperature of the softmax (0.1; 0.5)'],
    ['--target-rate <rate>', 'byol: initial rate of the moving average of the target; rises to 1 (0.99)'],
    ['--target-schedule <shape>', 'byol: the rate rises to 1 (cosine) or stays (constant) (cosine)', text],
    ['--predictor-hidden <width>', 'byol and fastsiam: width of the hidden layer of the predictor (as the projector)'],
  ],
  'Optimisation:': [
    ['--optimizer <name>', 'optimizer: adam, adamw, sgd or lars (adam)', text],
    ['--lr <rate>', 'highest learning rate (0.001)'],
    ['--schedule <shape>', 'learning rate after the warm-up: constant or cosine (constant)', text],
    ['--warmup-epochs <count>', 'number of epochs in which the learning rate rises to --lr (0)'],
    ['--lr-floor <share>', 'cosine: final learning rate as a share of --lr (0)'],
    ['--momentum <rate>', 'sgd and lars: momentum (0.9)'],
    ['--weight-decay <rate>', 'weight decay, added to the gradient; decoupled for adamw (0.000001)'],
    ['--clip-norm <norm>', 'clip the gradient to this norm (no clipping)'],
    [
      '--second-gradient <name>',
      'gradient at a second point: sam (where the loss is larger) or extragradient (where the step leads); twice the work (none)',
      text,
    ],
    ['--radius <distance>', 'sam: distance of the second point (0.05)'],
    ['--batch <images>', 'number of images per forward pass (128; for folder and shards so that a step fits)'],
    [
      '--accumulate <count>',
      'number of forward passes per step, whose gradients are averaged; not equal to a larger batch (1)',
    ],
    ['--ema-rate <rate>', 'keep a moving average of the backbone at this rate, for readouts (none)'],
    ['--precision <type>', 'f32, or f16 for half the memory of activations on adapters that support it (f32)', text],
    [
      '--last-batch <mode>',
      "an epoch's last batch, if it is smaller than the others: drop it, or keep it for a smaller step (drop)",
      text,
    ],
    ['--epochs <count>', 'number of epochs (100)'],
    ['--steps <count>', 'end after this number of steps'],
    ['--seed <number>', 'seed of the weights, the order of images and the views (1)'],
  ],
  'Run:': [
    ['--checkpoint-every <epochs>', 'number of epochs between checkpoints (5)'],
    ['--checkpoint-minutes <minutes>', 'also save within an epoch after this time, for --resume; 0: never (10)'],
    ['--max-minutes <minutes>', 'save and stop after this time', minutes],
    [
      '--keep <count>',
      'number of last checkpoints that stay, for --resume and in case one is damaged (2)',
      wholeNumber('--keep', 1),
    ],
    [
      '--keep-weights <epochs>',
      'also keep the weights of a checkpoint every so many epochs, for probe and embed; 0: of none (25)',
      wholeNumber('--keep-weights', 0),
    ],
  ],
}

/** Switches, by heading: [flags, description]. A `--no-…` switch counts only when the command line has it. */
const switches: Record<string, [string, string][]> = {
  'Data:': [
    ['--fraction-per-class', 'take the share of --fraction from each class'],
    ['--stream', 'send images to the device batch by batch, even when all would fit'],
  ],
  'Network:': [
    ['--no-stem-relu', "no ReLU after the batch-norm of the stem, as in the paper's research code"],
    ['--no-zero-init-residual', 'do not start each residual block as the identity'],
  ],
  'Objective:': [
    ['--adaptive-lambda', 'adjust λ to the eigenspectrum of the features after each epoch'],
    ['--no-symmetric', 'byol: predict in one direction only'],
    ['--no-predictor-norm', 'byol and fastsiam: no batch-norm in the predictor'],
  ],
  'Run:': [
    [
      '--online-probe',
      'train a linear probe in each step (if images have labels) and read nearest neighbours at each checkpoint',
    ],
    ['--csv', 'also write metrics.csv, online.csv and diagnostics.csv, as the run goes'],
    ['--tensorboard', 'also write an event file for TensorBoard, as the run goes (tensorboard --logdir FOLDER)'],
    [
      '--debug-nan',
      'after a run that diverged: name the op where it began, its shapes and ranges; with --resume from the last checkpoint; steps take longer',
    ],
    ['--no-tune', 'use the default kernel variants; without this option they are measured once for each adapter'],
  ],
}

const files: [string, string][] = [
  ['--recipe <name>', 'recipe of a run of the paper; other options override it'],
  ['--list-recipes', 'list the recipes'],
  [
    '--fidelity <name>',
    "research-code: as the paper's research code runs, accidents included; each one is an option too (good practice)",
  ],
  ['--config <file.yaml>', "options from a file, named as in a run's config.yaml; the command line overrides them"],
  ['--out <folder>', 'folder in which the run is saved'],
  [
    '--resume',
    'continue the run in --out with its config.yaml; only --epochs, --steps, --checkpoint-…, --data-dir and --stream may change',
  ],
]

export function pretrainCommand(): Command {
  const command = new Command('pretrain').description(
    'Pretrain a ResNet on images without labels. Defaults are in parentheses.',
  )
  const grouped = (heading: string, flags: string, description: string, parser?: (value: string) => unknown): void => {
    const option = command.createOption(flags, description).helpGroup(heading)
    if (parser) option.argParser(parser)
    command.addOption(option)
  }
  for (const heading of Object.keys(groups)) {
    for (const [flags, description, parser] of groups[heading])
      grouped(heading, flags, description, parser ?? number(flags.split(' ')[0]))
    for (const [flags, description] of switches[heading] ?? []) grouped(heading, flags, description)
  }
  for (const [flags, description] of files) grouped('Run:', flags, description)
  grouped('Slurm:', '--slurm', 'submit the run as a job, and do not make it here')
  grouped('Slurm:', '--nodes <n>', 'nodes of the job (1)', wholeNumber('--nodes', 1))
  grouped(
    'Slurm:',
    '--ranks-per-node <n>',
    'processes on each node, one for each GPU (1)',
    wholeNumber('--ranks-per-node', 1),
  )
  return withAdapter(withSlurm(command))
}

/** Removes options that come only from the default of a `--no-…` switch, so that they do not override a file, recipe or run. */
export function withoutDefaults<T extends Partial<PretrainCliOptions>>(command: Command, options: T): T {
  for (const name of ['zeroInitResidual', 'stemRelu', 'symmetric', 'predictorNorm'] as const)
    if (command.getOptionValueSource(name) !== 'cli') delete options[name]
  return options
}

/** The fields of the configuration among the options of the command line. */
function fieldsOf({
  config: _config,
  recipe: _recipe,
  listRecipes: _list,
  augmentation: recipe,
  imageSize: size,
  stream,
  out: _out,
  resume: _resume,
  maxMinutes: _minutes,
  keep: _keep,
  keepWeights: _keepWeights,
  adapter: _adapter,
  csv: _csv,
  tensorboard: _tensorboard,
  debugNan: _debugNan,
  tune: _tune,
  slurm: _slurm,
  nodes: _nodes,
  ranksPerNode: _ranks,
  partition: _partition,
  gres: _gres,
  time: _time,
  account: _account,
  slurmFile: _slurmFile,
  dryRun: _dryRun,
  ...fields
}: Partial<PretrainCliOptions>): PartialConfig {
  const augmentation = { ...(recipe !== undefined && { recipe }), ...(size !== undefined && { size }) }
  return {
    ...fields,
    ...(stream && { stream: 'always' as const }),
    ...(Object.keys(augmentation).length > 0 && { augmentation }),
  }
}

export interface ReadOptions {
  config: PretrainConfig
  /** The options that are given. There are none where a run to resume or a recipe gives all options. */
  given?: PartialConfig
  /** The weights of `init`. */
  initial?: InitialWeights
}

/**
 * The configuration that the options describe. The command line overrides the file, and the file overrides the recipe.
 * The weights of `init` say which network it is.
 *
 * @param readInit false where the network does not matter: the weights of `init` need not be there
 * @throws ConfigError in one line
 */
export async function readOptions(options: Partial<PretrainCliOptions>, readInit = true): Promise<ReadOptions> {
  const fields = fieldsOf(options)
  if (options.resume) {
    if (!options.out) throw new ConfigError('--resume: name the run with --out')
    if (options.recipe) throw new ConfigError('--resume: uses the configuration of the run; leave --recipe out')
    checkHoldsRun(options.out)
    const config = await readConfig(runFolder(options.out))
    return { config: namingSource(options, config, () => resolveConfig(overlay(config, fields))) }
  }
  const recipe = options.recipe === undefined ? {} : readRecipe(options.recipe)
  const fromFile = await readConfigFile(options.config)
  const below = overlay(recipe, fromFile)
  const chosen = overlay(below, fields)
  const resolved = namingSource(options, below, () => resolveConfig(chosen))
  const initial = resolved.init === undefined || !readInit ? undefined : await readInitialWeights(resolved.init)
  const given = initial ? withInitialNetwork(chosen, initial) : chosen
  const config = initial ? resolveConfig(given) : resolved
  return { config, ...(options.recipe === undefined && { given }), ...(initial && { initial }) }
}

/** Resolves a configuration. Its errors name the file or the option that a wrong value comes from. */
function namingSource(
  { config: file, imageSize }: Partial<PretrainCliOptions>,
  below: PartialConfig,
  resolve: () => PretrainConfig,
): PretrainConfig {
  try {
    return resolve()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const { message } = error
    // Commander has refused unknown options of the command line already, so an unknown one is in the file.
    if (file !== undefined && (error instanceof UnknownOptionError || messageOf(below) === message))
      throw new ConfigError(`--config ${file}: ${message}`)
    throw imageSize === undefined ? error : new ConfigError(message.replace(/^augmentation\.size /, '`imageSize` '))
  }
}

function messageOf(given: PartialConfig): string | undefined {
  try {
    resolveConfig(given)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** A configuration with the network that its initial weights belong to. */
function withInitialNetwork(given: PartialConfig, initial: BackboneWeights): PartialConfig {
  refuseOtherNetwork(given, initial)
  const { arch, width, stem, stemRelu } = initial.info
  return { ...(stemRelu !== undefined && { stemRelu }), ...given, arch, width, stem }
}

async function readConfigFile(path?: string): Promise<PartialConfig> {
  if (path === undefined) return {}
  const parsed = (await readYaml(path, `--config ${path}`)) ?? {}
  if (typeof parsed !== 'object' || Array.isArray(parsed))
    throw new ConfigError(`--config ${path}: must be a YAML mapping from option names to values`)
  return parsed as PartialConfig
}
