/** The configuration of a pretraining run: every option in one validated object, as config.yaml has it. */
import { z } from 'zod'
import { architectures, type Architecture } from '../../models/index.js'
import { augmentationRecipe, recipes, type AugmentationRecipe } from '../augment/recipe.js'
import {
  ObjectiveError,
  objectiveNames,
  objectiveParameters,
  objectives,
  resolveObjective,
} from '../objectives/index.js'
import { ConfigError, UnknownOptionError } from './config_error.js'
import { estimators } from '../objectives/spectral.js'
import { pictureResizes } from '../data/resample.js'
import { fidelities, fidelityFields, fidelityOptions, recipeOfFidelity } from './fidelity.js'
import { consistent, predictorFields } from './consistent.js'
import { quoted, requirement, shown } from './messages.js'
import { nearestName } from './nearest_name.js'

export { ConfigError, UnknownOptionError }
export { objectiveOptions, takesClean, type ObjectiveConfig } from './objective_options.js'

const whole = (least: number) => z.number().int().min(least)
const share = z.number().min(0).max(1)

const schema = z.strictObject({
  /**
   * 'research-code': what the paper's research code runs, accidents included. It sets the defaults of the options in
   * `fidelity.ts`, chooses the data set's augmentation of that name, and readouts follow it. Absent: good practice.
   */
  fidelity: z.enum(fidelities).optional(),
  /** Name of the data set, or a name for the caller's own images. */
  data: z.string(),
  /** Folder with the data set in its official format, or the URL of shards; the cache by default. */
  dataDir: z.string().optional(),
  /** Height and width, in pixels, at which the pictures of a folder are packed; other data sets have a fixed size. */
  resolution: whole(1).optional(),
  /**
   * How the pictures of a folder are resized; 'lanczos' by default. 'bilinear' equals torchvision's `Resize`. Both keep the
   * central square. 'whole' keeps all of each picture, and shrinks it if its longer side is larger than `resolution`.
   */
  resize: z.enum(pictureResizes).optional(),
  /**
   * 'auto': large data sets, and images that stay in a file, come to the device batch by batch; 'always': all images
   * do.
   */
  stream: z.enum(['auto', 'always']),
  /** Share of the training images to pretrain on, above 0 and at most 1. */
  fraction: z.number().gt(0).max(1),
  /** Takes this share of each class instead of all images together. */
  fractionPerClass: z.boolean(),
  arch: z.enum(Object.keys(architectures) as [Architecture, ...Architecture[]]),
  /** Channels of the first stage. */
  width: whole(1),
  stem: z.enum(['cifar', 'imagenet']),
  /** ReLU after the stem's batch-norm; the paper's research code has none. */
  stemRelu: z.boolean(),
  zeroInitResidual: z.boolean(),
  /** Initial weights of the convolutions: 'he' (default) or PyTorch's defaults, which are smaller. */
  initialWeights: z.enum(['he', 'pytorch']).optional(),
  /** Where the initial weights of the backbone come from: a weights file or a run's folder; random if absent. */
  init: z.string().min(1).optional(),
  /** The stem (0), or the stem and this number of stages, keep the weights and running statistics of `init`. */
  freezeStages: whole(0).max(4).optional(),
  /**
   * Trains a dense and a sparse network together: half of the views go through gates that choose channels for each image,
   * and this share of them is open.
   */
  gateBudget: z.number().gt(0).lt(1).optional(),
  /** 'joint': batch statistics over the rows of all views; 'per-view': over the rows of each view. */
  bn: z.enum(['joint', 'per-view']),
  /** With several ranks: 'rank': batch-norm's statistics are those of each rank's rows; 'global': of all ranks' rows. */
  bnStatistics: z.enum(['rank', 'global']),
  /** Projector width, d. */
  projectorDim: whole(1),
  /** Linear layers of the projector. */
  projectorDepth: z.union([z.literal(2), z.literal(3)]),
  objective: z.enum(objectiveNames),
  /** With several ranks: 'rank': the mean of the losses of each rank's images; 'global': the loss of all images. */
  lossStatistics: z.enum(['rank', 'global']),
  // Parameters of the objective; each objective has some of them.
  /**
   * Barlow Twins: weight of the orthogonality constraint. VICReg: weight of the invariance, in `vicreg` of the variance
   * too.
   */
  lambda: z.number().min(0).optional(),
  /** VICReg: weight of the variance. */
  mu: z.number().min(0).optional(),
  /** Spectral loss: weight of the orthogonality constraint. */
  beta: z.number().min(0).optional(),
  /** Spectral loss: how the invariance is estimated. */
  estimator: z.enum(estimators).optional(),
  /** EMP-SSL: distortion ε² of the coding rate. */
  distortion: z.number().positive().optional(),
  /** LeJEPA: number of directions along which embeddings are compared with a normal distribution. */
  slices: whole(1).optional(),
  /** SimCLR, MV-InfoNCE: temperature of the softmax. */
  temperature: z.number().positive().optional(),
  /** BYOL: both views predict each other. */
  symmetric: z.boolean().optional(),
  /** BYOL: rate of the target's moving average at the first step; it rises to 1. */
  targetRate: share.optional(),
  /** BYOL: how that rate changes: it rises to 1 along half a cosine (default), or stays 'constant'. */
  targetSchedule: z.enum(['cosine', 'constant']).optional(),
  /** BYOL: batch-norm in the predictor, true by default. The research code's predictor has none. */
  predictorNorm: z.boolean().optional(),
  /** BYOL: width of the predictor's hidden layer; `projectorDim` if absent. */
  predictorHidden: whole(1).optional(),
  /** Adapts λ to the eigenspectrum of the features once per epoch, starting from `lambda`. */
  adaptiveLambda: z.boolean(),
  /** Views per image, m. */
  views: whole(2),
  /** Number of views whose activations are in memory at once, a divisor of `views`; all views if absent. */
  viewChunk: whole(1).optional(),
  /** Images per forward pass, of all ranks together; each gives `views` rows. */
  batch: whole(2),
  /** Forward passes whose gradients are averaged for one step; a step takes accumulate · batch images. */
  accumulate: whole(1),
  /** Whether an epoch drops its last batch, if it is smaller than the others (default), or has a smaller step for it. */
  lastBatch: z.enum(['drop', 'keep']).optional(),
  epochs: whole(1),
  /** Type of activations and their gradients; everything else is f32. 'f16' needs an adapter with shader-f16. */
  precision: z.enum(['f32', 'f16']),
  /** Largest number of steps; optional. */
  steps: whole(1).optional(),
  optimizer: z.enum(['adam', 'adamw', 'sgd', 'lars']),
  /** SGD and LARS: momentum. */
  momentum: z.number().min(0).lt(1).optional(),
  /** The highest learning rate. */
  lr: z.number().positive(),
  schedule: z.enum(['constant', 'cosine']),
  /** Epochs over which the learning rate rises linearly before the schedule begins. */
  warmupEpochs: z.number().min(0),
  /** Share of `lr` at which the cosine ends. */
  lrFloor: share.optional(),
  /**
   * Adds weightDecay · parameter to the gradient; AdamW subtracts lr · weightDecay · parameter from the parameter
   * instead.
   */
  weightDecay: z.number().min(0),
  /** Largest norm of the gradient; optional. */
  clipNorm: z.number().positive().optional(),
  /**
   * Takes the gradient at a second point, with any optimizer: 'sam' where the loss is about largest nearby,
   * 'extragradient' where the optimizer's own step would lead. Absent: one gradient a step.
   */
  secondGradient: z.enum(['sam', 'extragradient']).optional(),
  /** SAM: distance of the second point, 0.05 by default. */
  radius: z.number().positive().optional(),
  /**
   * Keeps a moving average of the backbone for the readout: average = emaRate · average + (1 − emaRate) · weights;
   * optional.
   */
  emaRate: z.number().min(0).lt(1).optional(),
  /** Trains a linear probe within the step, and reads kNN accuracy at every checkpoint. */
  onlineProbe: z.boolean(),
  seed: whole(0).max(2 ** 52),
  /** Epochs between checkpoints. */
  checkpointEvery: whole(1),
  /** Minutes after which a checkpoint is saved within an epoch too, for resuming; 0: only at the ends of epochs. */
  checkpointMinutes: z.number().min(0),
  augmentation: augmentationRecipe,
})

/** A resolved configuration, with all defaults filled in. */
export type PretrainConfig = z.infer<typeof schema>

/** The paper's multi-view Barlow Twins on CIFAR-10, with a ResNet-18. */
const defaults = {
  data: 'cifar10',
  stream: 'auto',
  fraction: 1,
  fractionPerClass: false,
  arch: 'resnet18',
  width: 64,
  stem: 'cifar',
  stemRelu: true,
  // The original Barlow Twins and VICReg do the same: residual blocks that start as identities learn faster.
  zeroInitResidual: true,
  bn: 'joint',
  bnStatistics: 'rank',
  projectorDim: 256,
  projectorDepth: 2,
  objective: 'barlow-twins',
  lossStatistics: 'rank',
  adaptiveLambda: false,
  views: 4,
  batch: 128,
  accumulate: 1,
  epochs: 100,
  precision: 'f32',
  optimizer: 'adam',
  lr: 1e-3,
  schedule: 'constant',
  warmupEpochs: 0,
  weightDecay: 1e-6,
  onlineProbe: false,
  seed: 1,
  checkpointEvery: 5,
  checkpointMinutes: 10,
} as const

/** Defaults of some data sets. */
const defaultsOfData: Readonly<Record<string, Partial<typeof defaults | { stem: PretrainConfig['stem'] }>>> = {
  // The stem for small images keeps the full size, which is slow for pictures.
  folder: { stem: 'imagenet' },
  shards: { stem: 'imagenet' },
}

/** Options that only some values of another option have, with their defaults. */
const momentum = { momentum: 0.9 }
const dependent = {
  optimizer: { adam: {}, adamw: {}, sgd: momentum, lars: momentum },
  schedule: { constant: {}, cosine: { lrFloor: 0 } },
} as const

/** The paper's augmentation recipe for each data set; 'cifar' for all others. */
export const recipeOfData: Readonly<Record<string, keyof typeof recipes>> = {
  stl10: 'stl',
  folder: 'imagenet100',
  shards: 'imagenet100',
}

/** Data sets that are the user's own: their folder says which images they have. */
export const ownData: ReadonlySet<string> = new Set(['folder', 'shards'])

/** The name of an augmentation recipe (by default that of the data set) and changes to it. */
export type PartialAugmentation = Partial<Omit<AugmentationRecipe, 'jitter' | 'blur'>> & {
  recipe?: string
  jitter?: Partial<AugmentationRecipe['jitter']>
  blur?: Partial<AugmentationRecipe['blur']>
}

/** With `lambda` auto, λ follows from the projector width and the number of views. */
export type PartialConfig = Partial<Omit<PretrainConfig, 'augmentation' | 'lambda'>> & {
  augmentation?: PartialAugmentation
  lambda?: number | 'auto'
}

/**
 * Fills in the defaults (the paper's CIFAR-10 run) and checks all options, alone and together.
 *
 * @throws ConfigError that names the option, its value and what it takes
 */
export function resolveConfig(partial: PartialConfig): PretrainConfig {
  const given = withoutUndefined(partial)
  const { data = defaults.data, objective = defaults.objective, fidelity } = given
  // An objective that is defined only for two views has two by default.
  const twoViews = own(objectives, objective)?.twoViews
  const merged = {
    ...defaults,
    ...own(defaultsOfData, data),
    ...(twoViews && { views: 2 }),
    ...(fidelity && fidelityOptions(data, own(objectives, objective)?.needs === 'target')),
    ...given,
    augmentation: resolveAugmentation(data, partial.augmentation, fidelity),
  }
  if (merged.lambda === AUTO) merged.lambda = automaticLambda(merged)
  const result = schema.safeParse(merged)
  if (result.success) return consistent(withDependents(result.data))
  const issue = result.error.issues[0]
  if (issue.code === 'unrecognized_keys') {
    const where = issue.path.length ? issue.path.join('.') : 'the configuration'
    const near = nearestName(issue.keys[0], namesAt(issue.path))
    throw new UnknownOptionError(
      `unknown option ${issue.keys.map((k) => `'${k}'`).join(', ')} in ${where}${near ? `; did you mean ${near}?` : ''}`,
    )
  }
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], merged)
  const name = issue.path.length === 1 ? quoted(issue.path[0]) : issue.path.join('.')
  throw new ConfigError(`${name} ${shown(value)}: ${requirement(issue)}`)
}

const AUTO = 'auto'

/** λ by the rule of the objective; 'auto' itself, which the schema refuses, where width or views are no numbers. */
function automaticLambda({
  objective,
  projectorDim,
  views,
}: Pick<PartialConfig, 'objective' | 'projectorDim' | 'views'>): number | typeof AUTO {
  const rule = own(objectives, objective)?.automatic
  if (!rule)
    throw new ConfigError(
      `\`lambda\` auto: \`objective\` ${objective} has no rule for it; ${objectiveNames.filter((name) => objectives[name].automatic).join(' and ')} has one`,
    )
  return typeof projectorDim === 'number' && typeof views === 'number' ? rule(projectorDim, views) : AUTO
}

/** An entry of a table, by a name from outside. */
const own = <T>(table: Readonly<Record<string, T>>, name: unknown): T | undefined =>
  typeof name === 'string' && Object.hasOwn(table, name) ? table[name] : undefined

/** Whether a value from outside is an object of named options. */
const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * Lays one partial configuration over another, for example a command line over a file. If the upper one changes a
 * choice, the options that belong to the lower choice are dropped, for example the parameters of another objective.
 */
export function overlay(lower: PartialConfig, upper: PartialConfig): PartialConfig {
  const over = withoutUndefined(upper)
  const under: Record<string, unknown> = { ...lower }
  const drop = (field: 'objective' | keyof typeof dependent, dependents: readonly string[]): void => {
    if (over[field] !== undefined && over[field] !== (lower[field] ?? defaults[field]))
      for (const name of dependents) delete under[name]
  }
  drop('objective', [...objectiveParameters, ...predictorFields])
  drop('optimizer', ['momentum'])
  drop('schedule', ['lrFloor'])
  // The switch decides all that it names, except what is given beside it.
  if (over.fidelity !== undefined) for (const name of fidelityFields) delete under[name]
  const wrong = [over.augmentation, lower.augmentation].find((given) => given !== undefined && !isMapping(given))
  // `resolveConfig` refuses it.
  if (wrong !== undefined) return { ...under, ...over, augmentation: wrong }
  const [a, b] = [lower.augmentation ?? {}, withoutUndefined(over.augmentation ?? {})]
  // A recipe that is given by name replaces the whole augmentation of the lower one.
  const augmentation = b.recipe === undefined ? mergeAugmentation(a, b) : b
  return { ...under, ...over, ...(Object.keys(augmentation).length > 0 && { augmentation }) }
}

const mergeAugmentation = <A extends PartialAugmentation>(base: A, changes: PartialAugmentation): A => ({
  ...base,
  ...changes,
  ...(mergeable(base.jitter, changes.jitter) && { jitter: { ...base.jitter, ...changes.jitter } }),
  ...(mergeable(base.blur, changes.blur) && { blur: { ...base.blur, ...changes.blur } }),
})

/** Values of another kind stay as they are, so that the schema refuses them. */
const mergeable = (base: unknown, changes: unknown): boolean =>
  isMapping(base) && (changes === undefined || isMapping(changes))

function resolveAugmentation(
  data: string,
  given: PartialAugmentation = {},
  fidelity?: PretrainConfig['fidelity'],
): unknown {
  if (!isMapping(given))
    throw new ConfigError(
      `\`augmentation\` ${shown(given)}: must be a mapping, for example { recipe: cifar, size: 32 }`,
    )
  const { recipe = own(recipeOfData, data) ?? 'cifar', ...changes } = withoutUndefined<PartialAugmentation>(given)
  const base = own<AugmentationRecipe>(recipes, fidelity ? recipeOfFidelity(recipe) : recipe)
  if (!base)
    throw new ConfigError(`\`augmentation\` ${shown(recipe)}: choose one of ${Object.keys(recipes).join(', ')}`)
  return mergeAugmentation<PartialAugmentation>(base, changes)
}

/** Fills in the options that a choice has, and refuses options of another choice. */
function withDependents(config: PretrainConfig): PretrainConfig {
  const fields: Record<string, unknown> = { ...config }
  const { objective, views } = config
  const parameters = objectiveParameters.filter((name) => fields[name] !== undefined)
  for (const name of parameters)
    if (!objectives[objective].parameters.includes(name))
      throw new ConfigError(
        `${quoted(name)} ${String(fields[name])}: \`objective\` ${objective} has no such parameter; it takes ${objectives[objective].parameters.map(quoted).join(' and ') || 'none'}`,
      )
  try {
    const given = Object.fromEntries(parameters.map((name) => [name, fields[name]]))
    Object.assign(fields, resolveObjective(objective, views, given))
  } catch (error) {
    if (error instanceof ObjectiveError) throw new ConfigError(error.message)
    throw error
  }
  for (const [field, choices] of Object.entries(dependent)) {
    const chosen = config[field as keyof typeof dependent]
    const own = (choices as Record<string, Record<string, number>>)[chosen]
    for (const [choice, others] of Object.entries(choices as Record<string, Record<string, number>>))
      for (const name of Object.keys(others))
        if (!(name in own) && fields[name] !== undefined)
          throw new ConfigError(
            `${quoted(name)} ${String(fields[name])}: ${quoted(field)} ${chosen} has no such parameter; ${quoted(field)} ${choice} has`,
          )
    for (const [name, value] of Object.entries(own)) fields[name] ??= value
  }
  return fields as PretrainConfig
}

/** The names of the options at a path: of the configuration itself, or of an object in it. */
function namesAt(path: readonly PropertyKey[]): string[] {
  if (path.length === 0) return Object.keys(schema.shape)
  const at = path.reduce<unknown>((on, key) => (on as Record<PropertyKey, unknown> | undefined)?.[key], {
    augmentation: { recipe: undefined, crops: undefined, ...recipes.cifar },
  })
  return typeof at === 'object' && at !== null ? Object.keys(at) : []
}

/** An object without the keys that hold undefined. */
export const withoutUndefined = <T extends object>(object: T): T =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
