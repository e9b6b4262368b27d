/** The options of `npm run pretrain`, and the configuration that they, a file, a recipe and a run to resume make. */
import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { parse } from 'yaml'
import { architectures } from '../../models/index.js'
import { recipes } from '../augment/recipe.js'
import { openRun } from '../node/run_folder.js'
import {
  ConfigError,
  overlay,
  resolveConfig,
  UnknownOptionError,
  type PartialConfig,
  type PretrainConfig,
} from '../config/config.js'
import { datasetNames } from '../data/dataset.js'
import { unreadable } from '../node/files.js'
import { objectiveNames } from '../objectives/index.js'
import { readRecipe } from '../node/recipes.js'
import { number, withAdapter } from './common.js'

/** As the command line gives them: fields of the configuration under their own names, and the command's own. */
export interface PretrainCliOptions extends Omit<PartialConfig, 'augmentation' | 'stream'> {
  config?: string
  recipe?: string
  listRecipes?: boolean
  augmentation?: string
  imageSize?: number
  stream?: boolean
  out?: string
  resume?: boolean
  maxMinutes?: number
  adapter?: string
  tune: boolean
}

const text = String

/** By what they are about: [flags, description, parser (a number's, if absent)]. */
const groups: Record<string, [string, string, ((given: string) => string)?][]> = {
  'Data:': [
    ['--data <name>', `data set: ${datasetNames.join(', ')} (cifar10)`, text],
    ['--data-dir <folder>', 'folder that holds it, in its official format or as pictures (the cache)', text],
    ['--resolution <pixels>', "height and width that a folder's pictures are packed at (160)"],
    ['--fraction <share>', 'share of the training images to pretrain on (1)'],
  ],
  'Views:': [
    ['--views <m>', 'views an image, at least 2 (4; 2 where the objective takes no more)'],
    ['--image-size <pixels>', "height and width of a view (the recipe's: 32 for cifar10)"],
    ['--augmentation <recipe>', `${Object.keys(recipes).join(', ')} (that of the data set)`, text],
    ['--view-chunk <k>', 'views in memory at once, a divisor of --views; needs --bn per-view (all)'],
  ],
  'Network:': [
    ['--arch <name>', `${Object.keys(architectures).join(', ')} (resnet18)`, text],
    ['--width <channels>', 'channels of the first stage (64)'],
    ['--stem <name>', 'cifar or imagenet (cifar)', text],
    ['--bn <mode>', "joint or per-view: whose rows batch-norm's statistics are taken over (joint)", text],
    ['--projector-dim <d>', 'projector width (256)'],
    ['--projector-depth <layers>', 'linear layers of the projector, 2 or 3 (2)'],
  ],
  'Objective:': [
    ['--objective <name>', `${objectiveNames.join(', ')} (barlow-twins)`, text],
    ['--lambda <weight>', 'Barlow Twins: of the orthogonality constraint (0.01); VICReg: of the invariance (25)'],
    ['--mu <weight>', 'vicreg-original: of the variance (25)'],
    ['--beta <weight>', 'spectral: of the orthogonality constraint (0.5)'],
    ['--temperature <t>', 'simclr (0.1)'],
    ['--target-rate <rate>', "byol: of the target's moving average, rising to 1 (0.99)"],
    ['--predictor-hidden <width>', "byol: of the predictor's hidden layer (that of the projector)"],
  ],
  'Optimisation:': [
    ['--optimizer <name>', 'adam, adamw, sgd or lars (adam)', text],
    ['--lr <rate>', 'learning rate at its highest (0.001)'],
    ['--schedule <shape>', 'constant or cosine (constant)', text],
    ['--warmup-epochs <count>', 'epochs over which the rate rises before (0)'],
    ['--lr-floor <share>', 'cosine: share of --lr that it ends at (0)'],
    ['--momentum <rate>', 'sgd, lars (0.9)'],
    ['--weight-decay <rate>', 'added to the gradient; adamw: decoupled (0.000001)'],
    ['--clip-norm <norm>', 'largest norm of the gradient (any)'],
    ['--batch <images>', 'images of a forward pass (128)'],
    ['--accumulate <count>', 'forward passes a step, their gradients averaged; not the same as a larger batch (1)'],
    ['--ema-rate <rate>', 'keep a moving average of the backbone at this rate, for the readout (none)'],
    ['--precision <type>', 'f32, or f16: activations in half the memory, where the adapter has it (f32)', text],
    ['--epochs <count>', 'epochs (100)'],
    ['--steps <count>', 'end after so many steps'],
    ['--seed <number>', 'of the weights, the order and the views (1)'],
  ],
  'Run:': [
    ['--checkpoint-every <epochs>', 'epochs between checkpoints (5)'],
    ['--max-minutes <minutes>', 'save and stop after so long'],
  ],
}

/** Switches, with their groups. A `--no-…` one counts only where the command line has it. */
const switches: Record<string, [string, string][]> = {
  'Data:': [
    ['--fraction-per-class', 'take that share of each class'],
    ['--stream', 'bring the images to the device batch by batch, however few they are'],
  ],
  'Network:': [
    ['--no-stem-relu', "no ReLU after the stem's batch-norm, as the paper's research code has it"],
    ['--no-zero-init-residual', 'start the blocks at full strength instead of as identities'],
  ],
  'Objective:': [
    ['--adaptive-lambda', 'λ follows the eigenspectrum of the features, once an epoch'],
    ['--no-symmetric', 'byol: one direction only'],
  ],
  'Run:': [
    [
      '--online-probe',
      'train a linear probe within the step (where images have labels), read nearest neighbours at every checkpoint',
    ],
    ['--no-tune', "take the kernels' shipped choice instead of measuring, once for an adapter, which is faster"],
  ],
}

const files: [string, string][] = [
  ['--recipe <name>', 'a run of the paper; other options change it'],
  ['--list-recipes', 'show them all'],
  ['--config <file.yaml>', "options from a file, named as in a run's config.yaml; the command line wins"],
  ['--out <folder>', 'where the run is kept'],
  ['--resume', 'go on with the run in --out, as its config.yaml says; --epochs and --steps may be changed'],
]

export function pretrainCommand(): Command {
  const command = new Command('pretrain').description(
    'Pretrain a ResNet on images without labels. Defaults are in parentheses.',
  )
  const grouped = (heading: string, flags: string, description: string, parser?: (given: string) => unknown): void => {
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
  return withAdapter(command)
}

/** Options without those that only a `--no-…` switch's default set: a file, a recipe or a run has its say first. */
export function withoutDefaults<T extends Partial<PretrainCliOptions>>(command: Command, options: T): T {
  for (const name of ['zeroInitResidual', 'stemRelu', 'symmetric'] as const)
    if (command.getOptionValueSource(name) !== 'cli') delete options[name]
  return options
}

/** Fields of the configuration among the command line's options, under the configuration's names. */
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
  adapter: _adapter,
  tune: _tune,
  ...fields
}: Partial<PretrainCliOptions>): PartialConfig {
  const augmentation = { ...(recipe !== undefined && { recipe }), ...(size !== undefined && { size }) }
  return {
    ...fields,
    ...(stream && { stream: 'always' as const }),
    ...(Object.keys(augmentation).length > 0 && { augmentation }),
  }
}

/** @throws ConfigError in one line */
export async function configOf(options: Partial<PretrainCliOptions>): Promise<PretrainConfig> {
  const fields = fieldsOf(options)
  if (options.resume) {
    if (!options.out) throw new ConfigError('--resume: name the run with --out')
    if (options.recipe) throw new ConfigError('--resume: the run has a configuration; leave --recipe out')
    const { config } = await openRun(options.out)
    return resolveConfig(overlay(config, fields))
  }
  const recipe = options.recipe === undefined ? {} : readRecipe(options.recipe)
  const given = await fileOf(options.config)
  try {
    return resolveConfig(overlay(overlay(recipe, given), fields))
  } catch (error) {
    // The command line has no option that does not exist: it is one of the file's.
    if (error instanceof UnknownOptionError) throw new ConfigError(`--config ${options.config}: ${error.message}`)
    throw error
  }
}

async function fileOf(path?: string): Promise<PartialConfig> {
  if (path === undefined) return {}
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new ConfigError(`--config ${unreadable(path, error)}`)
  })
  let parsed: unknown
  try {
    parsed = parse(content) ?? {}
  } catch (error) {
    throw new ConfigError(`--config ${path}: is no YAML: ${(error as Error).message.split('\n')[0]}`)
  }
  if (typeof parsed !== 'object' || Array.isArray(parsed))
    throw new ConfigError(`--config ${path}: must be options by name, a line each`)
  return parsed as PartialConfig
}
