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
  /** Number of functions, d. */
  width: number
  steps: number
  /** The learning rate of Adam at the first step; it falls to 0 as a cosine. */
  rate: number
}

interface Learner {
  /** Functions at pictures; index: [n] u32 → [n, width]. */
  forward(index: Value, mode: Mode): Value
  readonly parameters: readonly Variable[]
  readonly own: readonly Variable[]
}

/** Initial values of the table have this standard deviation. */
const TABLE_SCALE = 0.1
const HIDDEN = 64
const RESNET_WIDTH = 8

/** The pictures as a Variable [count, size · size · 4], which all learners of a world share. */
export const pictureVariable = ({ pictures, count }: World): Variable =>
  variable('pictures', [count, pictures.length / count], pictures)

function learnerOf(world: World, pictures: Variable, { learner, width }: Training, seed: number): Learner {
  const { count, size } = world
  if (learner === 'table') {
    const table = variable('table', [count, width], () => {
      const random = new RandomStream(seed, Purpose.weights)
      return Float32Array.from({ length: count * width }, () => TABLE_SCALE * random.normal())
    })
    return { forward: (index) => gather(table, index), parameters: [table], own: [table] }
  }
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

/** Trains a learner on draws from the world. */
export async function learn(
  engine: Engine,
  world: World,
  pictures: Variable,
  training: Training,
  { seed, onStep, signal }: TrainOptions,
): Promise<Learned> {
  const { objective, views, width, steps, rate } = training
  const { images } = world
  const options = resolveObjective(objective, views, training.options)
  const clean = objectives[objective].takesClean?.(options) ?? false
  const learner = learnerOf(world, pictures, training, seed)
  const updates: Assignment[] = []
  const index = input('index', [(views + Number(clean)) * images], 'u32')
  const all = learner.forward(index, { training: true, updates })
  const loss = objectives[objective].build(
    {
      projection: sliceRows(all, 0, views * images),
      ...(clean && { clean: sliceRows(all, views * images, images) }),
    },
    views,
    options,
  )
  const optimizer = adam(learner.parameters)
  const step = { loss, gradients: gradients(loss, learner.parameters) }
  const some = input('some', [Math.min(READ_AT_ONCE, world.count)], 'u32')
  const programs: Program[] = []
  try {
    programs.push(
      await engine.compile({
        label: 'a step in the world',
        outputs: { loss },
        updates: [...updates, ...optimizer.updates(step.gradients, input('rate', [1]))],
      }),
      await engine.compile({ label: 'functions', outputs: { z: learner.forward(some, { training: false }) } }),
    )
    const [train, read] = programs
    const before = await functionsOf(read, world.count, width, some.shape[0])
    const sampler = new Sampler(world, seed)
    for (let at = 0; at < steps; at++) {
      signal?.throwIfAborted()
      const now = (rate * (1 + Math.cos((Math.PI * at) / steps))) / 2
      await train.run({ index: sampler.batch(views, clean), rate: Float32Array.of(now) })
      if (at % 20 === 19) {
        await train.read('loss')
        onStep?.(at + 1)
      }
    }
    return { before, after: await functionsOf(read, world.count, width, some.shape[0]) }
  } finally {
    for (const program of programs) program.destroy()
    for (const v of [...learner.own, ...optimizer.state]) engine.release(v)
  }
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
