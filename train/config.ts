/** What a pretraining run is: every choice in one validated object, as it is written to config.yaml. */
import { z } from 'zod'
import { architectures, type Architecture } from '../models/index.js'
import { augmentationRecipe, recipes } from './augment/recipe.js'

/** What the caller got wrong, in one line that names the option and the remedy. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

const whole = (least: number) => z.number().int().min(least)

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
  zeroInitResidual: z.boolean(),
  /** 'joint': batch-norm over all views' rows together; 'per-view': over each view's. */
  bn: z.enum(['joint', 'per-view']),
  objective: z.enum(['barlow-twins']),
  /** Views an image, m. */
  views: whole(2),
  /** Views whose activations are in memory at once, a divisor of `views`; all of them where it is absent. */
  viewChunk: whole(1).optional(),
  /** Projector width, d. */
  projectorDim: whole(1),
  /** Weight of the orthogonality constraint. */
  lambda: z.number().min(0),
  /** Images a step; each gives `views` rows. */
  batch: whole(2),
  epochs: whole(1),
  /** How activations and their gradients are stored; all else is f32. 'f16' needs an adapter with shader-f16. */
  precision: z.enum(['f32', 'f16']),
  /** Ends the run after so many steps, if `epochs` has not ended it before; optional. */
  steps: whole(1).optional(),
  /** Adam's learning rate, constant. */
  lr: z.number().positive(),
  /** Added to the gradient as weightDecay · parameter. */
  weightDecay: z.number().min(0),
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
  // As the original Barlow Twins and VICReg start: a network of identities learns sooner.
  zeroInitResidual: true,
  bn: 'joint',
  objective: 'barlow-twins',
  views: 4,
  projectorDim: 256,
  lambda: 0.01,
  batch: 128,
  precision: 'f32',
  epochs: 100,
  lr: 1e-3,
  weightDecay: 1e-6,
  seed: 1,
  checkpointEvery: 5,
} as const

export type PartialConfig = Partial<Omit<PretrainConfig, 'augmentation'>> & {
  augmentation?: Partial<PretrainConfig['augmentation']>
}

/** The option of the command line that a field comes from. */
const optionOf = (field: PropertyKey): string => `--${String(field).replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`

/**
 * Fills in the defaults (the paper's CIFAR recipe) and checks every field.
 *
 * @throws ConfigError naming the option, what it was given and what it takes
 */
export function resolveConfig(partial: PartialConfig): PretrainConfig {
  const merged = {
    ...defaults,
    ...withoutUndefined(partial),
    augmentation: { ...recipes.cifar, ...withoutUndefined(partial.augmentation ?? {}) },
  }
  const result = schema.safeParse(merged)
  if (result.success) return consistent(result.data)
  const issue = result.error.issues[0]
  if (issue.code === 'unrecognized_keys')
    throw new ConfigError(`unknown option ${issue.keys.map((k) => `'${k}'`).join(', ')} in the configuration`)
  const given = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], merged)
  const name = issue.path.length === 1 ? optionOf(issue.path[0]) : issue.path.join('.')
  throw new ConfigError(`${name} ${typeof given === 'string' ? `'${given}'` : String(given)}: ${requirement(issue)}`)
}

/** What holds between fields. */
function consistent(config: PretrainConfig): PretrainConfig {
  const { viewChunk, views, bn } = config
  if (viewChunk === undefined) return config
  if (bn === 'joint')
    throw new ConfigError(
      `--view-chunk ${viewChunk}: joint batch-norm needs all views at once; take each view's statistics with --bn per-view`,
    )
  if (views % viewChunk)
    throw new ConfigError(`--view-chunk ${viewChunk}: must divide the number of views, --views ${views}`)
  return config
}

/** What a field takes, from what the validator found wrong. */
function requirement(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'too_small':
      return `must be ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}`
    case 'too_big':
      return `must be at most ${issue.maximum}`
    case 'invalid_value':
      return `choose one of ${issue.values.join(', ')}`
    case 'invalid_type':
      return `must be ${{ int: 'a whole number', number: 'a number', string: 'a text' }[issue.expected as string] ?? issue.expected}`
    default:
      return issue.message
  }
}

const withoutUndefined = <T extends object>(object: T): T =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
