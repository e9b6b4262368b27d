/** What learns functions on the pictures of a world: a table of free values, an MLP and a small ResNet. */
import {
  adam,
  gather,
  gradients,
  input,
  Purpose,
  RandomStream,
  reshape,
  sliceRows,
  variable,
  type Assignment,
  type Engine,
  type Program,
  type Value,
  type Variable,
} from '../../../engine/index.js'
import { batchNormLayer, linearLayer, resnet, StateDict, type Mode } from '../../../models/index.js'
import { objectives, resolveObjective, type ObjectiveName } from '../../../train/objectives/index.js'
import { Sampler, type World } from './world.js'

export const learners = ['table', 'mlp', 'resnet'] as const
export type LearnerName = (typeof learners)[number]

/** How one learner is trained. */
export interface Training {
  learner: LearnerName
  objective: ObjectiveName
  /** Parameters of the objective. */
  options: Readonly<Record<string, number | string>>
  /** Views m of an image in a step. Every step takes all images. */
  views: number
  /** How often every image is in the batch of a step, each time with other views; 1 by default. */
  draws?: number
  /** Number of functions, d. */
  width: number
  steps: number
  /**
   * The learning rate at the first step. It falls to 0 as a cosine. Networks use Adam. The table uses gradient descent with
   * momentum, and its rate is relative to the norm of the table.
   */
  rate: number
}

interface Learner {
  /** Functions at pictures; index: [n] u32 → [n, width]. */
  forward(index: Value, mode: Mode): Value
  readonly parameters: readonly Variable[]
  readonly own: readonly Variable[]
}

const MOMENTUM = 0.9
const HIDDEN = 64
const RESNET_WIDTH = 8

/** The pictures as a Variable [count, size · size · 4], which all learners of a world share. */
export const pictureVariable = ({ pictures, count }: World): Variable =>
  variable('pictures', [count, pictures.length / count], pictures)

function networkOf(world: World, pictures: Variable, { learner, width }: Training, seed: number): Learner {
  const { size } = world
  const dict = new StateDict(seed + 2 ** 32, 'head.')
  if (learner === 'mlp') {
    const first = linearLayer(dict, '0', { from: pictures.shape[1], to: HIDDEN, bias: false })
    const norm = batchNormLayer(dict, '1', HIDDEN)
    const last = linearLayer(dict, '3', { from: HIDDEN, to: width })
    dict.seal()
    return {
      forward: (index, mode) => last(norm(first(gather(pictures, index)), mode, { relu: true })),
      parameters: dict.parameters,
      own: dict.variables,
    }
  }
  const backbone = resnet({ arch: 'resnet18', width: RESNET_WIDTH, stem: 'cifar', seed })
  const last = linearLayer(dict, '0', { from: backbone.features, to: width })
  dict.seal()
  return {
    forward: (index, mode) =>
      last(backbone.forward(reshape(gather(pictures, index), [index.shape[0], size, size, 4]), mode)),
    parameters: [...backbone.dict.parameters, ...dict.parameters],
    own: [...backbone.dict.variables, ...dict.variables],
  }
}

/** Pictures that are read at once. */
const READ_AT_ONCE = 512
/** Steps between two reports of progress. */
const TOLD = 20

export interface TrainOptions {
  seed: number
  /** Called after some steps. */
  onStep?(done: number): void
  signal?: AbortSignal
}

/** The functions before and after training, each [count, width], row-major. */
export interface Learned {
  before: Float32Array
  after: Float32Array
}

/** These compare rows of norm 1, so what they learn is the normalised rows. */
const ROWS_NORMALISED: ReadonlySet<ObjectiveName> = new Set(['barlow-twins', 'simclr'])

/** Trains a learner on draws from the world. @returns the functions as the objective sees them */
export async function learn(
  engine: Engine,
  world: World,
  pictures: Variable,
  training: Training,
  options: TrainOptions,
): Promise<Learned> {
  const { before, after } =
    training.learner === 'table'
      ? await learnTable(engine, world, training, options)
      : await learnNetwork(engine, world, pictures, training, options)
  if (!ROWS_NORMALISED.has(training.objective)) return { before, after }
  return { before: withUnitRows(before, training.width), after: withUnitRows(after, training.width) }
}

/** Rows of width `width`, each divided by its Euclidean norm. */
function withUnitRows(rows: Float32Array, width: number): Float32Array {
  const unit = new Float32Array(rows.length)
  for (let from = 0; from < rows.length; from += width) {
    const row = rows.subarray(from, from + width)
    const norm = Math.hypot(...row)
    unit.set(
      row.map((value) => value / norm),
      from,
    )
  }
  return unit
}

/** The loss of functions at the rows that `Sampler.batch` draws. */
function lossOf(all: Value, images: number, { objective, views, options }: Training, clean: boolean): Value {
  return objectives[objective].build(
    {
      projection: sliceRows(all, 0, views * images),
      ...(clean && { clean: sliceRows(all, views * images, images) }),
    },
    views,
    resolveObjective(objective, views, options),
  )
}

/** Whether the objective looks at clean pictures too. */
const takesClean = ({ objective, views, options }: Training): boolean =>
  objectives[objective].takesClean?.(resolveObjective(objective, views, options)) ?? false

/** The learning rate of a step. */
const rateAt = ({ rate, steps }: Training, at: number): number => (rate * (1 + Math.cos((Math.PI * at) / steps))) / 2

async function learnNetwork(
  engine: Engine,
  world: World,
  pictures: Variable,
  training: Training,
  { seed, onStep, signal }: TrainOptions,
): Promise<Learned> {
  const { views, width, steps, draws = 1 } = training
  const { count } = world
  const images = draws * world.images
  const clean = takesClean(training)
  const learner = networkOf(world, pictures, training, seed)
  const updates: Assignment[] = []
  const index = input('index', [(views + Number(clean)) * images], 'u32')
  const loss = lossOf(learner.forward(index, { training: true, updates }), images, training, clean)
  const optimizer = adam(learner.parameters)
  const next = optimizer.updates(gradients(loss, learner.parameters), input('rate', [1]))
  const some = input('some', [Math.min(READ_AT_ONCE, count)], 'u32')
  const programs: Program[] = []
  try {
    programs.push(
      await engine.compile({ label: 'a step in the world', outputs: { loss }, updates: [...updates, ...next] }),
      await engine.compile({ label: 'functions', outputs: { z: learner.forward(some, { training: false }) } }),
    )
    const [train, read] = programs
    const before = await functionsOf(read, count, width, some.shape[0])
    const sampler = new Sampler(world, seed)
    for (let at = 0; at < steps; at++) {
      signal?.throwIfAborted()
      await train.run({ index: sampler.batch(views, clean, draws), rate: Float32Array.of(rateAt(training, at)) })
      if (at % TOLD === TOLD - 1) {
        await train.read('loss')
        onStep?.(at + 1)
      }
    }
    return { before, after: await functionsOf(read, count, width, some.shape[0]) }
  } finally {
    for (const program of programs) program.destroy()
    for (const v of [...learner.own, ...optimizer.state]) engine.release(v)
  }
}

/**
 * Gradient descent in L²(ρ), the geometry of the theory: the gradient at a picture is divided by the number of times that
 * the picture is expected in a batch. Each gradient is scaled to the norm of the table, so that one rate serves losses of
 * any scale, also those that do not see the scale of the functions (You et al. 2017, https://arxiv.org/abs/1708.03888).
 *
 * The device computes the gradient of the drawn rows. The table and its momentum stay here, because they are small.
 */
async function learnTable(
  engine: Engine,
  world: World,
  training: Training,
  { seed, onStep, signal }: TrainOptions,
): Promise<Learned> {
  const { views, width, steps, draws = 1 } = training
  const { count, weights } = world
  const images = draws * world.images
  const clean = takesClean(training)
  const random = new RandomStream(seed, Purpose.weights)
  const table = Float32Array.from({ length: count * width }, () => random.normal())
  const before = table.slice()
  const rows = (views + Number(clean)) * images
  const z = input('z', [rows, width])
  const [gradient] = gradients(lossOf(z, images, training, clean), [z])
  const program = await engine.compile({ label: 'gradient of a table', outputs: { gradient } })
  const momentum = new Float64Array(table.length)
  try {
    const sampler = new Sampler(world, seed)
    const drawn = new Float32Array(rows * width)
    for (let at = 0; at < steps; at++) {
      signal?.throwIfAborted()
      const batch = sampler.batch(views, clean, draws)
      batch.forEach((picture, row) => drawn.set(table.subarray(picture * width, (picture + 1) * width), row * width))
      await program.run({ z: drawn })
      const byRow = await program.read('gradient')
      const direction = new Float64Array(table.length)
      batch.forEach((picture, row) => {
        for (let k = 0; k < width; k++) direction[picture * width + k] += byRow[row * width + k] / weights[picture]
      })
      const scale = normOf(table, weights) / normOf(direction, weights)
      const rate = rateAt(training, at)
      for (let i = 0; i < table.length; i++) {
        momentum[i] = MOMENTUM * momentum[i] + scale * direction[i]
        table[i] -= rate * momentum[i]
      }
      if (at % TOLD === TOLD - 1) onStep?.(at + 1)
    }
    return { before, after: table }
  } finally {
    program.destroy()
  }
}

/** The norm of functions [count, width] in L²(ρ). */
function normOf(functions: ArrayLike<number>, weights: Float64Array): number {
  const width = functions.length / weights.length
  let squares = 0
  for (let i = 0; i < functions.length; i++) squares += weights[Math.floor(i / width)] * functions[i] ** 2
  return Math.sqrt(squares)
}

async function functionsOf(read: Program, count: number, width: number, atOnce: number): Promise<Float32Array> {
  const functions = new Float32Array(count * width)
  for (let first = 0; first < count; first += atOnce) {
    await read.run({ some: Uint32Array.from({ length: atOnce }, (_, i) => Math.min(first + i, count - 1)) })
    const z = await read.read('z')
    functions.set(z.subarray(0, Math.min(atOnce, count - first) * width), first * width)
  }
  return functions
}
