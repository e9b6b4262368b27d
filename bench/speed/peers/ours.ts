/** This engine as a peer: a graph is compiled once and replayed by `program.run`. */
import {
  backward,
  cast,
  constant,
  conv2d,
  gradients,
  input,
  matmul,
  variable,
  type Assignment,
  type Engine,
  type Program,
  type Value,
  type Variable,
} from '../../../engine/index.js'
import { openEngine, tuneByMeasurement } from '../../../engine/node/index.js'
import { importStateDict, projector, resnet, type Mode } from '../../../models/index.js'
import { barlowTwins } from '../../../train/objectives/barlow_twins.js'
import { stepOptimizer } from '../../../train/step/optimizer.js'
import { CHECK_SCALE, lossesOf, LAMBDA, outputSide, PROJECTOR_DIM, RATE, resultsOf, VIEWS } from './cases.js'
import type { Case, ConvCase, StepCase, Tensors } from './cases.js'
import { permute, serve, type Peer, type Prepared } from './peer.js'

/** It supports every case. */
export function ourPeer(engine: Engine): Peer {
  return {
    name: 'webgpu-ssl',
    version: 'this checkout',
    device: engine.description,
    prepare: (c, inputs) => (c.kind === 'step' ? prepareStep(engine, c, inputs) : prepareOp(engine, c, inputs)),
  }
}

async function prepareOp(engine: Engine, c: Exclude<Case, StepCase>, inputs: Tensors): Promise<Prepared> {
  const operands: Variable[] = []
  const operand = (name: string, shape: readonly number[]): Variable => {
    operands.push(variable(name, shape, inputs[name]))
    return operands[operands.length - 1]
  }
  const [name] = resultsOf(c)
  const output =
    c.kind === 'matmul'
      ? matmul(operand('a', [c.size, c.size]), operand('b', [c.size, c.size]))
      : convolution(c, operand)
  const program = await engine.compile({ label: name, outputs: { [name]: output } })
  await program.run()
  return {
    run: (times) => repeat(engine, program, times),
    result: async () => ({ [name]: await program.read(name) }),
    release: () => free(engine, program, operands),
  }
}

function convolution(
  { shape, direction }: ConvCase,
  operand: (name: string, shape: readonly number[]) => Variable,
): Value {
  const [n, h, w, from, to, stride] = shape
  const x = operand('x', [n, h, w, from])
  const weight = operand('w', [3, 3, from, to])
  const y = conv2d(x, weight, { stride, padding: 1 })
  if (direction === 'forward') return y
  const dy = operand('dy', [n, outputSide(h, stride), outputSide(w, stride), to])
  return backward([[y, dy]], [direction === 'input gradient' ? x : weight])[0]
}

async function prepareStep(engine: Engine, c: StepCase, inputs: Tensors): Promise<Prepared> {
  const backbone = resnet({ arch: 'resnet18', width: c.width })
  const head = projector({ features: backbone.features, dim: PROJECTOR_DIM })
  for (const { dict } of [backbone, head])
    importStateDict(
      engine,
      dict,
      Object.fromEntries(
        [...dict.entries].map(([name, { torchShape }]) => [
          name,
          { dtype: 'F32', shape: [...torchShape], data: inputs[name] },
        ]),
      ),
      'inputs',
    )
  const x = variable('x', [VIEWS * c.batch, c.pixels, c.pixels, 4], fourChannels(inputs.x))
  const views = c.precision === 'f16' ? cast(x, 'f16') : x
  const updates: Assignment[] = []
  const loss = (collect?: Assignment[]): Value => {
    const mode: Mode = { training: true, updates: collect }
    return barlowTwins(head.forward(backbone.forward(views, mode), mode), { views: VIEWS, lambda: LAMBDA })
  }

  const stem = backbone.dict.entries.get('conv1.weight')!.variable
  const scale = c.precision === 'f16' ? CHECK_SCALE : 1
  const [scaled] = gradients(loss(), [stem], constant([scale]))
  const check = await engine.compile({ label: 'gradient', outputs: { gradient: scaled } })
  await check.run()
  const gradient = (await check.read('gradient')).map((g) => g / scale)
  check.destroy()

  const trained = loss(updates)
  const { parameters, seed, state, apply } = stepOptimizer(
    { backbone, projector: head },
    { optimizer: 'adam', weightDecay: 0, precision: c.precision },
  )
  const applied = apply(gradients(trained, parameters, seed), input('rate', [1]))
  updates.push(...applied.updates)
  const outputs = { loss: trained, ...applied.outputs }
  const program = await engine.compile({ label: 'step', outputs, updates })
  const rate = new Float32Array([RATE])
  const losses: number[] = []
  for (let i = 0; i < lossesOf(c); i++) {
    await program.run({ rate })
    losses.push((await program.read('loss'))[0])
  }
  const variables = [x, ...backbone.dict.variables, ...head.dict.variables, ...state]
  return {
    run: (times) => repeat(engine, program, times, { rate }),
    result: async () => ({
      loss: new Float32Array(losses),
      // [3, 3, 4, O] to [O, 3, 3, 3]; the fourth channel is padding.
      'conv1.weight gradient': permute(
        gradient.filter((_, i) => Math.floor(i / c.width) % 4 < 3),
        [3, 3, 3, c.width],
        [3, 2, 0, 1],
      ),
    }),
    peakBytes: () => program.peakBytes + program.plan.memory.variableBytes,
    release: () => free(engine, program, variables),
  }
}

/** RGB to RGB0: images have four channels on the device. */
function fourChannels(rgb: Float32Array): Float32Array {
  const out = new Float32Array((rgb.length / 3) * 4)
  for (let i = 0; i < rgb.length; i++) out[Math.floor(i / 3) * 4 + (i % 3)] = rgb[i]
  return out
}

async function repeat(
  engine: Engine,
  program: Program,
  times: number,
  inputs: Record<string, Float32Array> = {},
): Promise<void> {
  for (let i = 0; i < times; i++) await program.run(inputs)
  await engine.idle()
}

function free(engine: Engine, program: Program, variables: readonly Variable[]): void {
  program.destroy()
  for (const v of variables) engine.release(v)
}

/** Argument of this process: the variants of each product are measured first. */
export const TUNE = '--tune'

if (process.argv[1] === import.meta.filename)
  await serve(async () => {
    const engine = await openEngine()
    if (process.argv.includes(TUNE)) tuneByMeasurement(engine)
    return ourPeer(engine)
  })
