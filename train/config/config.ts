/** What a pretraining run is: every choice in one validated object, as it is written to config.yaml. */
import { z } from 'zod'
import { architectures, type Architecture } from '../../models/index.js'
import { augmentationRecipe, cropGroups, recipes, type AugmentationRecipe } from '../augment/recipe.js'
import {
  ObjectiveError,
  objectiveNames,
  objectiveParameters,
  objectives,
  resolveObjective,
  type ObjectiveOptions,
} from '../objectives/index.js'
import { nearestName } from './nearest_name.js'

/** What the caller got wrong, in one line that names the option and the remedy. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** An option that does not exist: a mistake of the file that has it, whatever the other options are. */
export class UnknownOptionError extends ConfigError {
  override name = 'UnknownOptionError'
}

const whole = (least: number) => z.number().int().min(least)
const share = z.number().min(0).max(1)

const schema = z.strictObject({
  /** Name of the data set, or of the caller's own images. */
  data: z.string(),
  /** Folder that holds it in its official format; the cache by default. */
  dataDir: z.string().optional(),
  /** Height and width in pixels that a folder's pictures are packed at; other data sets have a size of their own. */
  resolution: whole(1).optional(),
  /** 'auto': images that are many, or stay in a file, come to the device batch by batch; 'always': all do. */
  stream: z.enum(['auto', 'always']),
  /** Share of the training images to pretrain on. */
  fraction: z.number().gt(0).max(1),
  /** The share is taken of each class, not of all. */
  fractionPerClass: z.boolean(),
  arch: z.enum(Object.keys(architectures) as [Architecture, ...Architecture[]]),
  /** Channels of the first stage. */
  width: whole(1),
  stem: z.enum(['cifar', 'imagenet']),
  /** ReLU after the stem's batch-norm; the research code of the paper has none. */
  stemRelu: z.boolean(),
  zeroInitResidual: z.boolean(),
  /** 'joint': batch-norm over all views' rows together; 'per-view': over each view's. */
  bn: z.enum(['joint', 'per-view']),
  /** Projector width, d. */
  projectorDim: whole(1),
  /** Linear layers of the projector. */
  projectorDepth: z.union([z.literal(2), z.literal(3)]),
  objective: z.enum(objectiveNames),
  // Parameters of the objective; each has its own of these.
  /** Weight of the orthogonality constraint; of VICReg's invariance (and variance) against its covariance. */
  lambda: z.number().min(0).optional(),
  /** VICReg: weight of the variance. */
  mu: z.number().min(0).optional(),
  /** Spectral loss: weight of the orthogonality constraint. */
  beta: z.number().min(0).optional(),
  /** SimCLR. */
  temperature: z.number().positive().optional(),
  /** BYOL: both views predict each other. */
  symmetric: z.boolean().optional(),
  /** BYOL: rate of the target's moving average at the first step; it rises to 1. */
  targetRate: share.optional(),
  /** BYOL: width of the predictor's hidden layer; `projectorDim` where it is absent. */
  predictorHidden: whole(1).optional(),
  /** λ follows the eigenspectrum of the features once an epoch, from `lambda` on. */
  adaptiveLambda: z.boolean(),
  /** Views an image, m. */
  views: whole(2),
  /** Views whose activations are in memory at once, a divisor of `views`; all of them where it is absent. */
  viewChunk: whole(1).optional(),
  /** Images of a forward pass; each gives `views` rows. */
  batch: whole(2),
  /** Forward passes whose gradients are averaged for one step: a step takes accumulate · batch images. */
  accumulate: whole(1),
  epochs: whole(1),
  /** How activations and their gradients are stored; all else is f32. 'f16' needs an adapter with shader-f16. */
  precision: z.enum(['f32', 'f16']),
  /** Ends the run after so many steps, if `epochs` has not ended it before; optional. */
  steps: whole(1).optional(),
  optimizer: z.enum(['adam', 'adamw', 'sgd', 'lars']),
  /** Of SGD and LARS. */
  momentum: z.number().min(0).lt(1).optional(),
  /** Learning rate at its highest. */
  lr: z.number().positive(),
  schedule: z.enum(['constant', 'cosine']),
  /** Epochs over which the learning rate rises linearly, before the schedule begins. */
  warmupEpochs: z.number().min(0),
  /** Share of `lr` at which the cosine ends. */
  lrFloor: share.optional(),
  /** Added to the gradient as weightDecay · parameter; AdamW takes lr · weightDecay · parameter off the parameter. */
  weightDecay: z.number().min(0),
  /** Largest norm of the gradient; optional. */
  clipNorm: z.number().positive().optional(),
  /** Rate at which a moving average of the backbone keeps its past each step, for the readout; optional. */
  emaRate: z.number().min(0).lt(1).optional(),
  /** A linear probe is trained within the step, and nearest neighbours are read at every checkpoint. */
  onlineProbe: z.boolean(),
  seed: whole(0).max(2 ** 52),
  /** Epochs between checkpoints. */
  checkpointEvery: whole(1),
  augmentation: augmentationRecipe,
})

/** A resolved configuration: nothing is left to defaults. */
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
  // As the original Barlow Twins and VICReg start: a network of identities learns sooner.
  zeroInitResidual: true,
  bn: 'joint',
  projectorDim: 256,
  projectorDepth: 2,
  objective: 'barlow-twins',
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
} as const

/** Fields that only one choice of another field has, with their defaults. */
const momentum = { momentum: 0.9 }
const dependent = {
  optimizer: { adam: {}, adamw: {}, sgd: momentum, lars: momentum },
  schedule: { constant: {}, cosine: { lrFloor: 0 } },
} as const

/** The recipe of the paper for each data set. */
const recipeOfData: Readonly<Record<string, keyof typeof recipes>> = { stl10: 'stl', folder: 'imagenet100' }

/** An augmentation as it is given: a recipe by name (that of the data set, if none is named) and what differs from it. */
export type PartialAugmentation = Partial<Omit<AugmentationRecipe, 'jitter' | 'blur'>> & {
  recipe?: string
  jitter?: Partial<AugmentationRecipe['jitter']>
  blur?: Partial<AugmentationRecipe['blur']>
}

export type PartialConfig = Partial<Omit<PretrainConfig, 'augmentation'>> & { augmentation?: PartialAugmentation }

/**
 * Fills in the defaults (the paper's CIFAR recipe) and checks every field, and what must hold between them.
 *
 * @throws ConfigError naming the option, what it was given and what it takes
 */
export function resolveConfig(partial: PartialConfig): PretrainConfig {
  const given = withoutUndefined(partial)
  const data = given.data ?? defaults.data
  // An objective that is defined for two views only takes them unless others are asked for.
  const twoViews = objectives[given.objective ?? defaults.objective]?.twoViews
  const merged = {
    ...defaults,
    ...(twoViews && { views: 2 }),
    ...given,
    augmentation: resolveAugmentation(data, partial.augmentation),
  }
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
  throw new ConfigError(`${name} ${typeof value === 'string' ? `'${value}'` : String(value)}: ${requirement(issue)}`)
}

/**
 * Lays one partial configuration over another, as a command line over a file. What belongs to a choice that the upper
 * one changes (the parameters of another objective, say) is not taken from the lower.
 */
export function overlay(lower: PartialConfig, upper: PartialConfig): PartialConfig {
  const over = withoutUndefined(upper)
  const under: Record<string, unknown> = { ...lower }
  const drop = (field: 'objective' | keyof typeof dependent, dependents: readonly string[]): void => {
    if (over[field] !== undefined && over[field] !== (lower[field] ?? defaults[field]))
      for (const name of dependents) delete under[name]
  }
  drop('objective', [...objectiveParameters, 'predictorHidden'])
  drop('optimizer', ['momentum'])
  drop('schedule', ['lrFloor'])
  const [a, b] = [lower.augmentation ?? {}, withoutUndefined(over.augmentation ?? {})]
  // Another recipe by name replaces all of the lower one's.
  const augmentation = b.recipe === undefined ? mergeAugmentation(a, b) : b
  return { ...under, ...over, ...(Object.keys(augmentation).length > 0 && { augmentation }) }
}

const mergeAugmentation = <A extends PartialAugmentation>(base: A, changes: PartialAugmentation): A => ({
  ...base,
  ...changes,
  ...(base.jitter && { jitter: { ...base.jitter, ...changes.jitter } }),
  ...(base.blur && { blur: { ...base.blur, ...changes.blur } }),
})

function resolveAugmentation(data: string, given: PartialAugmentation = {}): unknown {
  const { recipe = recipeOfData[data] ?? 'cifar', ...changes } = withoutUndefined(given)
  if (!Object.hasOwn(recipes, recipe))
    throw new ConfigError(`\`augmentation\` '${recipe}': choose one of ${Object.keys(recipes).join(', ')}`)
  return mergeAugmentation<PartialAugmentation>(recipes[recipe as keyof typeof recipes], changes)
}

/** The objective and its parameters. */
export type ObjectiveConfig = Pick<
  PretrainConfig,
  'objective' | 'lambda' | 'mu' | 'beta' | 'temperature' | 'symmetric' | 'targetRate'
>

/** The parameters of a configuration's objective. */
export const objectiveOptions = (config: ObjectiveConfig): ObjectiveOptions =>
  Object.fromEntries(
    objectives[config.objective].parameters.map((name) => [name, config[name as keyof ObjectiveConfig] as number]),
  )

/** Fills in what a choice brings with it, and refuses what belongs to another. */
function withDependents(config: PretrainConfig): PretrainConfig {
  const fields: Record<string, unknown> = { ...config }
  const { objective, views } = config
  const parameters = objectiveParameters.filter((name) => fields[name] !== undefined)
  for (const name of parameters)
    if (!objectives[objective].parameters.includes(name))
      throw new ConfigError(
        `${quoted(name)} ${String(fields[name])}: \`objective\` ${objective} has no such parameter; it takes ${objectives[objective].parameters.map(quoted).join(' and ')}`,
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

/** What holds between fields. */
function consistent(config: PretrainConfig): PretrainConfig {
  const { viewChunk, views, bn, objective, augmentation, accumulate, warmupEpochs, epochs, adaptiveLambda } = config
  const { predictorHidden } = config
  const chunk = `\`viewChunk\` ${viewChunk}`
  try {
    cropGroups(augmentation, views)
  } catch (error) {
    throw new ConfigError((error as Error).message)
  }
  if (adaptiveLambda && !objectives[objective].changing)
    throw new ConfigError(`\`adaptiveLambda\`: \`objective\` ${objective} has no λ that may change; barlow-twins has`)
  if (predictorHidden !== undefined && objectives[objective].needs !== 'predictor')
    throw new ConfigError(
      `\`predictorHidden\` ${predictorHidden}: \`objective\` ${objective} has no predictor; byol has`,
    )
  if (warmupEpochs > epochs)
    throw new ConfigError(`\`warmupEpochs\` ${warmupEpochs}: must be at most the run's \`epochs\` ${epochs}`)
  if (viewChunk === undefined) return config
  if (bn === 'joint')
    throw new ConfigError(
      `${chunk}: joint batch-norm needs all views at once; take each view's statistics with \`bn\` per-view`,
    )
  if (views % viewChunk) throw new ConfigError(`${chunk}: must divide the number of views, \`views\` ${views}`)
  if (objectives[objective].needs === 'predictor')
    throw new ConfigError(`${chunk}: \`objective\` ${objective} takes its two views at once`)
  if (accumulate > 1)
    throw new ConfigError(`${chunk}: does not go with \`accumulate\` ${accumulate}: take a larger \`batch\`, in chunks`)
  if (augmentation.crops)
    throw new ConfigError(`${chunk}: views of several sizes (augmentation.crops) are taken at once`)
  return config
}

/** An option in a message. The command line replaces the quotes by its dashes. */
const quoted = (field: PropertyKey): string => `\`${String(field)}\``

/** The options that there are at a path: of the configuration itself, or of what is nested in it. */
function namesAt(path: readonly PropertyKey[]): string[] {
  if (path.length === 0) return Object.keys(schema.shape)
  const at = path.reduce<unknown>((on, key) => (on as Record<PropertyKey, unknown> | undefined)?.[key], {
    augmentation: { recipe: undefined, crops: undefined, ...recipes.cifar },
  })
  return typeof at === 'object' && at !== null ? Object.keys(at) : []
}

/** What a field takes, from what the validator found wrong. */
function requirement(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'too_small':
      return `must be ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}`
    case 'too_big':
      return `must be ${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}`
    case 'invalid_value':
      return `choose one of ${issue.values.join(', ')}`
    case 'invalid_type':
      return `must be ${{ int: 'a whole number', number: 'a number', string: 'a text', boolean: 'true or false' }[issue.expected as string] ?? issue.expected}`
    case 'invalid_union':
      return issue.path[0] === 'projectorDepth' ? 'choose one of 2, 3' : issue.message
    default:
      return issue.message
  }
}

/** An object without the keys that hold undefined. */
export const withoutUndefined = <T extends object>(object: T): T =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
