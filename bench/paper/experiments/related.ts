/** Ours: related methods that the engine offers, each against what it changes. */
import type { Backbone } from '../../../models/index.js'
import { overlay, resolveConfig, type PartialConfig, type PretrainConfig } from '../../../train/config/config.js'
import type { ImageDataset } from '../../../train/data/dataset.js'
import { fractionIndicesPerClass, perClassSubset, subset } from '../../../train/data/subset.js'
import { readCorrupted } from '../../../train/readout/corrupted.js'
import { fineTune, type FineTuneOptions } from '../../../train/readout/fine_tune.js'
import type { LinearProbe } from '../../../train/readout/linear_probe.js'
import { readout, readoutLike } from '../../../train/readout/readout.js'
import { DivergedError, pretrain, type PretrainResult } from '../../../train/run/pretrain.js'
import { intervals } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import { outcomeOptions } from '../../runs/kept.js'
import { differences } from '../arm_results.js'
import { viewsArm } from '../arms.js'
import { judge } from '../claims.js'
import type { Analysis, Claim, Context, Experiment, Setup } from '../experiment.js'
import { trainInstances } from '../related/instances.js'
import { protocolOf } from '../scales.js'

/** One way to train. */
interface Method {
  name: string
  /** Ending of the recipe; two views by default. */
  recipe?: string
  changes?: PartialConfig
  /** Single-branch instance discrimination, with a tilt of the images' weights. */
  instances?: { tilt?: number }
  /** Whether the network is also fine-tuned, in each way of `TUNINGS`. */
  tuned?: boolean
}

const PLAIN: Method = { name: 'plain', tuned: true }
const FOUR_VIEWS: Method = { name: '4 views', recipe: 'v4' }
const INSTANCES: Method = { name: 'instance discrimination, one view', instances: {} }
const METHODS: readonly Method[] = [
  PLAIN,
  FOUR_VIEWS,
  { name: 'sharpness-aware', changes: { secondGradient: 'sam' } },
  { name: 'extragradient', changes: { secondGradient: 'extragradient' } },
  { name: 'gated channels, half of them open', changes: { gateBudget: 0.5 } },
  INSTANCES,
  { name: 'instance discrimination, weighted images', instances: { tilt: 1 } },
]

/** Ways to fine-tune the plain network on few labels. */
const TUNINGS = [
  { name: 'plain fine-tuning', terms: {} },
  { name: 'random linear projections', terms: { projections: 1 } },
  { name: 'consistency of features', terms: { consistency: 1 } },
] satisfies { name: string; terms: Pick<FineTuneOptions, 'projections' | 'consistency'> }[]
const FEW = { share: 0.01, epochs: 40, batch: 64 }

/** Severity of the corruptions, 1 to 5. */
const SEVERITY = 3

/** Top-1 in %: the probe on clean images, the mean over the corruptions, and after each tuning where the method is tuned. */
interface Figures {
  clean: number
  corrupted: number
  tuned: number[]
}

/** What all methods can do: a loop of its own has neither a loss scale nor smaller last batches. */
const COMMON: PartialConfig = { precision: 'f32', lastBatch: 'drop', accumulate: 1 }

const configOf = (setup: Setup, { recipe = 'v2', changes = {} }: Method, seed: number): PretrainConfig =>
  resolveConfig({
    ...overlay(viewsArm(setup, `${protocolOf(setup).views[0]}-${recipe}`).config, { ...COMMON, ...changes }),
    seed,
  })

async function figuresOf(context: Context, method: Method, seed: number): Promise<Figures> {
  const { instances, tuned } = method
  const { epochs, trainPerClass, testPerClass } = protocolOf(context).viewsReadout
  const [clean = NaN, corrupted = NaN, ...rest] = await context.figures(
    {
      part: 'related',
      config: outcomeOptions(configOf(context, method, seed)),
      readout: { epochs, trainPerClass, testPerClass, severity: SEVERITY },
      instances,
      ...(tuned && { few: FEW, tunings: TUNINGS.map(({ terms }) => terms) }),
    },
    () => measured(context, method, seed),
  )
  return { clean, corrupted, tuned: tuned && rest.length === 0 ? TUNINGS.map(() => NaN) : rest }
}

/** Trains and reads out. A run that diverges has no figures: it would diverge again. */
async function measured(context: Context, method: Method, seed: number): Promise<number[]> {
  const { engine } = context
  let trained: Trained | undefined
  try {
    trained = await train(context, method, seed)
    context.signal.throwIfAborted()
    return await read(context, method, trained.backbone, seed)
  } catch (error) {
    if (error instanceof DivergedError) return []
    throw error
  } finally {
    const { backbone, projector, average } = trained ?? {}
    for (const part of [backbone, projector, average]) for (const v of part?.dict.variables ?? []) engine.release(v)
  }
}

type Trained = Pick<PretrainResult, 'backbone'> & Partial<Pick<PretrainResult, 'projector' | 'average'>>

async function train(context: Context, method: Method, seed: number): Promise<Trained> {
  const { engine, signal, images, onProgress } = context
  const config = configOf(context, method, seed)
  const dataset = await images('train')
  const onStep = (step: number, steps: number): void => onProgress(`${method.name}, seed ${seed}`, step, steps)
  return method.instances
    ? trainInstances(engine, dataset, config, { ...method.instances, signal, onStep })
    : pretrain({ engine, dataset, config, signal, onStep: ({ step, steps }) => onStep(step, steps) })
}

/** Top-1 in %: the probe on clean images, the mean over the corruptions, and after each tuning. */
async function read(context: Context, method: Method, backbone: Backbone, seed: number): Promise<number[]> {
  const { engine, images, onProgress } = context
  const config = configOf(context, method, seed)
  const { trainPerClass, testPerClass, epochs } = protocolOf(context).viewsReadout
  const [train, test] = [await images('train'), perClassSubset(await images('test'), testPerClass)]
  let probe: LinearProbe | undefined
  const { linear } = await readout(engine, backbone, train, test, {
    ...{ ...readoutLike(config), views: 1, seeds: [1], epochs, trainPerClass },
    onProbes: ([first]) => (probe = first),
    onProgress: (phase, done, total) => onProgress(`${method.name}, seed ${seed}: ${phase}`, done, total),
  })
  const { augmentation: recipe } = config
  const corruptions = await readCorrupted(engine, backbone, test, probe!, { recipe, severity: SEVERITY })
  const mean = corruptions.reduce((sum, { top1 }) => sum + top1, 0) / corruptions.length
  const tuned = method.tuned ? await tunings(context, backbone, { train, test }, { recipe, seed }) : []
  return [linear.top1, mean, ...tuned].map((share) => 100 * share)
}

/** Top-1 after fine-tuning on few labels in each of the ways, always from the same weights. */
async function tunings(
  { engine, onProgress, signal }: Context,
  backbone: Backbone,
  { train, test }: { train: ImageDataset; test: ImageDataset },
  { recipe, seed }: Pick<FineTuneOptions, 'recipe' | 'seed'>,
): Promise<number[]> {
  const { variables } = backbone.dict
  const start = await Promise.all(variables.map((v) => engine.read(v)))
  const few = subset(train, fractionIndicesPerClass(train.labels, FEW.share, seed))
  const accuracies: number[] = []
  for (const { name, terms } of TUNINGS) {
    signal.throwIfAborted()
    variables.forEach((v, i) => engine.write(v, start[i]))
    const { top1 } = await fineTune(engine, backbone, few, test, {
      ...{ recipe, seed, classes: train.classes.length, batch: FEW.batch, epochs: FEW.epochs, ...terms },
      onProgress: (done, total) => onProgress(`${name}, seed ${seed}`, done, total),
    })
    accuracies.push(top1)
  }
  return accuracies
}

/** The figures of each method by seed. */
export type Measured = ReadonlyMap<string, readonly Figures[]>

/** Each method against what it changes, in points, by seed. */
export function claimsOf(all: Measured): Claim[] {
  const of = (name: string, value: (figures: Figures) => number): number[] => all.get(name)!.map(value)
  const clean = ({ clean: top1 }: Figures): number => top1
  const better = (statement: string, a: number[], b: number[]): Claim => ({
    statement,
    unit: 'points',
    perSeed: differences(a, b),
    bound: { above: 0 },
  })
  const weighted = METHODS[METHODS.length - 1].name
  const against = METHODS.filter(({ name }) => ![PLAIN.name, FOUR_VIEWS.name, weighted].includes(name))
  const tuned = (i: number): number[] => of(PLAIN.name, ({ tuned: list }) => list[i])
  return [
    ...against.map(({ name }) => better(`${name} − plain`, of(name, clean), of(PLAIN.name, clean))),
    better(`${weighted} − equal weights`, of(weighted, clean), of(INSTANCES.name, clean)),
    ...TUNINGS.slice(1).map(({ name }, i) =>
      better(`few labels, with ${name} − plain fine-tuning`, tuned(i + 1), tuned(0)),
    ),
    better(
      'corrupted images, 4 views − 2 views',
      of(FOUR_VIEWS.name, ({ corrupted }) => corrupted),
      of(PLAIN.name, ({ corrupted }) => corrupted),
    ),
  ]
}

async function run(context: Context): Promise<Analysis> {
  const all = new Map<string, Figures[]>()
  for (const seed of context.seeds)
    for (const method of METHODS)
      all.set(method.name, [...(all.get(method.name) ?? []), await figuresOf(context, method, seed)])
  const claims = claimsOf(all)
  const column = (list: readonly Figures[], value: (figures: Figures) => number): string =>
    meanAndSpread(list.map(value))
  return {
    claims,
    table: {
      header: ['', 'linear probe, %', 'the same on corrupted images, %'],
      rows: [
        ...METHODS.map(({ name }) => {
          const list = all.get(name)!
          return [name, column(list, (f) => f.clean), column(list, (f) => f.corrupted)]
        }),
        ...TUNINGS.map(({ name }, i) => [
          `plain, then ${name} on ${100 * FEW.share} % of the labels`,
          column(all.get(PLAIN.name)!, ({ tuned }) => tuned[i]),
          '–',
        ]),
      ],
    },
    figures: [],
    plots: [
      {
        name: 'difference',
        title: 'Each method against plain training or fine-tuning, with 95 % interval',
        spec: intervals(
          claims.map((claim) => ({ name: claim.statement, ...judge(claim).interval })),
          { title: 'points' },
          0,
        ),
      },
    ],
    notes: [
      'Sharpness-aware and extragradient steps compute two gradients, so they take twice the time of a plain step. Instance discrimination has one view of each image, half the work.',
      `Corrupted images: the mean over the corruptions of \`probe --corrupted ${SEVERITY}\`. No corrupted image is used in training.`,
    ],
  }
}

export const related: Experiment = {
  name: 'related',
  title: 'Related methods',
  claim: 'Ours, not the paper’s: methods around self-supervised pretraining improve its readout.',
  protocol: `All methods have the same network, images and steps. They train Barlow Twins on two views of each image, except where the name says otherwise; the readout has one clean view. The parameters of the methods are their defaults, without a search: SAM's radius, half of the gated channels open, a tilt of 1, both terms of the fine-tuning with weight 1. Fine-tuning has ${100 * FEW.share} % of the labels, other ones for each seed, and ${FEW.epochs} epochs.`,
  seeds: { tiny: 5, small: 3, full: 3 },
  apart: true,
  arms: () => [],
  run,
}
