/** jax-js on WebGPU: NCHW and OIHW, the layouts of its convolution; everything under `jit`. */
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type * as Jax from '@jax-js/jax'
import { exitOnDeviceErrors, emulateBrowser } from './browser.js'
import {
  ADAM,
  BATCH_NORM_EPSILON,
  blocks,
  LAMBDA,
  outputSide,
  PROJECTOR_DIM,
  RATE,
  resultsOf,
  VIEWS,
  type Case,
  type ConvCase,
  type StepCase,
  type Tensors,
} from './cases.js'
import { permute, serve, type Peer, type Prepared } from './peer.js'

type Library = typeof Jax
type Array = Jax.Array

const NCHW = [0, 3, 1, 2]
const NHWC = [0, 2, 3, 1]
const OIHW = [3, 2, 0, 1]
const HWIO = [2, 3, 1, 0]

async function open(): Promise<Peer> {
  const device = await emulateBrowser()
  const jax = await import('@jax-js/jax')
  if (!(await jax.init('webgpu')).includes('webgpu'))
    throw new Error('jax-js: its WebGPU backend does not start on this adapter')
  jax.defaultDevice('webgpu')
  exitOnDeviceErrors(jax.getWebGPUDevice())
  const entry = createRequire(import.meta.url).resolve('@jax-js/jax')
  const { version } = JSON.parse(readFileSync(join(dirname(entry), '..', 'package.json'), 'utf8')) as {
    version: string
  }
  return {
    name: 'jax-js',
    version,
    device,
    prepare: (c, inputs) => (c.kind === 'step' ? prepareStep(jax, c, inputs) : prepareOp(jax, c, inputs)),
  }
}

const array = (jax: Library, data: Float32Array, shape: number[]): Array => jax.numpy.array(data).reshape(shape)

async function prepareOp(jax: Library, c: Exclude<Case, StepCase>, inputs: Tensors): Promise<Prepared> {
  const { operands, once, toOurs } = c.kind === 'matmul' ? product(jax, c.size, inputs) : convolution(jax, c, inputs)
  const call = (): Array => once(...operands.map((a) => a.ref))
  const result = toOurs((await call().data()) as Float32Array)
  return {
    run: async (times) => {
      let last = call()
      for (let i = 1; i < times; i++) {
        last.dispose()
        last = call()
      }
      await last.blockUntilReady()
      last.dispose()
    },
    result: async () => ({ [resultsOf(c)[0]]: result }),
    release: () => operands.forEach((a) => a.dispose()),
  }
}

interface Compiled {
  operands: Array[]
  once: (...operands: Array[]) => Array
  /** Converts the result to the layout of the result file. */
  toOurs: (data: Float32Array) => Float32Array
}

function product(jax: Library, size: number, { a, b }: Tensors): Compiled {
  return {
    operands: [a, b].map((data) => array(jax, data, [size, size])),
    once: jax.jit((a: Array, b: Array) => jax.numpy.matmul(a, b)),
    toOurs: (data) => data,
  }
}

const PADDING: [number, number][] = [
  [1, 1],
  [1, 1],
]

function convolution(jax: Library, { shape, direction }: ConvCase, inputs: Tensors): Compiled {
  const [n, h, w, from, to, stride] = shape
  const [outH, outW] = [outputSide(h, stride), outputSide(w, stride)]
  const x = (): Array => array(jax, permute(inputs.x, [n, h, w, from], NCHW), [n, from, h, w])
  const weight = (): Array => array(jax, permute(inputs.w, [3, 3, from, to], OIHW), [to, from, 3, 3])
  const dy = (): Array => array(jax, permute(inputs.dy, [n, outH, outW, to], NCHW), [n, to, outH, outW])
  const conv = (a: Array, b: Array): Array => jax.lax.conv(a, b, [stride, stride], PADDING)
  /** jit removes the forward pass, because its result is not used. */
  const pull = (f: (target: Array) => Array, target: Array, g: Array): Array => {
    const [y, transposed] = jax.vjp(f, [target])
    y.dispose()
    const [gradient] = transposed(g) as Array[]
    transposed.dispose()
    return gradient
  }
  switch (direction) {
    case 'forward':
      return {
        operands: [x(), weight()],
        once: jax.jit(conv),
        toOurs: (data) => permute(data, [n, to, outH, outW], NHWC),
      }
    case 'input gradient':
      return {
        operands: [x(), weight(), dy()],
        once: jax.jit((x: Array, w: Array, g: Array) => pull((t) => conv(t, w), x, g)),
        toOurs: (data) => permute(data, [n, from, h, w], NHWC),
      }
    case 'weight gradient':
      return {
        operands: [x(), weight(), dy()],
        once: jax.jit((x: Array, w: Array, g: Array) => pull((t) => conv(x, t), w, g)),
        toOurs: (data) => permute(data, [to, from, 3, 3], HWIO),
      }
  }
}

type Parameters = Record<string, Array>

async function prepareStep(jax: Library, c: StepCase, inputs: Tensors): Promise<Prepared> {
  const { numpy: np, tree } = jax
  const rows = VIEWS * c.batch
  const x = array(jax, permute(inputs.x, [rows, c.pixels, c.pixels, 3], NCHW), [rows, 3, c.pixels, c.pixels])
  const shapes = parameterShapes(c)
  const of = (make: (name: string, shape: number[]) => Array): Parameters =>
    Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, make(name, shape)]))
  let p = of((name, shape) => array(jax, inputs[name], shape))
  let m = of((_, shape) => np.zeros(shape))
  let v = of((_, shape) => np.zeros(shape))

  const loss = (p: Parameters, x: Array): Array => barlowTwins(jax, forward(jax, c, p, x), c.batch)
  const differentiate = jax.jit((p: Parameters, x: Array) => jax.grad(loss)(p, x) as Parameters)
  const g = differentiate(tree.ref(p), x.ref) as Parameters
  const gradient = (await g['conv1.weight'].ref.data()) as Float32Array
  tree.dispose(g)

  /** `scales`: 1 / (1 − β₁ᵗ) and 1 / (1 − β₂ᵗ). */
  const step = jax.jit((p: Parameters, m: Parameters, v: Parameters, scales: Array[], x: Array) => {
    const [value, g] = jax.valueAndGrad(loss)(tree.ref(p), x) as [Array, Parameters]
    const next: [Parameters, Parameters, Parameters] = [{}, {}, {}]
    for (const name of Object.keys(p)) {
      const m1 = m[name].mul(ADAM.beta1).add(g[name].ref.mul(1 - ADAM.beta1))
      const v1 = v[name].mul(ADAM.beta2).add(np.square(g[name]).mul(1 - ADAM.beta2))
      const root = np.sqrt(v1.ref.mul(scales[1].ref)).add(ADAM.epsilon)
      next[0][name] = p[name].sub(m1.ref.mul(scales[0].ref).div(root).mul(RATE))
      next[1][name] = m1
      next[2][name] = v1
    }
    tree.dispose(scales)
    return [...next, value] as [Parameters, Parameters, Parameters, Array]
  })
  let count = 0
  const advance = (): Array => {
    count++
    const scales = [ADAM.beta1, ADAM.beta2].map((beta) => np.array(1 / (1 - beta ** count)))
    let value: Array
    ;[p, m, v, value] = step(p, m, v, scales, x.ref) as [Parameters, Parameters, Parameters, Array]
    return value
  }
  const losses = [(await advance().data())[0], (await advance().data())[0]]
  return {
    run: async (times) => {
      for (let i = 0; i < times; i++) advance().dispose()
      await jax.blockUntilReady([p, m, v])
    },
    result: async () => ({ loss: new Float32Array(losses), 'conv1.weight gradient': gradient }),
    release: () => {
      tree.dispose([p, m, v])
      x.dispose()
      step.dispose()
      differentiate.dispose()
    },
  }
}

/** The layouts are PyTorch's. A step has no running statistics. */
function parameterShapes(c: StepCase): Record<string, number[]> {
  const shapes: Record<string, number[]> = {}
  const conv = (name: string, size: number, from: number, to: number): void =>
    void (shapes[`${name}.weight`] = [to, from, size, size])
  const norm = (name: string, channels: number): void => {
    shapes[`${name}.weight`] = [channels]
    shapes[`${name}.bias`] = [channels]
  }
  conv('conv1', 3, 3, c.width)
  norm('bn1', c.width)
  for (const { name, from, to, stride } of blocks(c.width, c.pixels)) {
    conv(`${name}.conv1`, 3, from, to)
    norm(`${name}.bn1`, to)
    conv(`${name}.conv2`, 3, to, to)
    norm(`${name}.bn2`, to)
    if (stride > 1) {
      conv(`${name}.downsample.0`, 1, from, to)
      norm(`${name}.downsample.1`, to)
    }
  }
  shapes['projector.0.weight'] = [PROJECTOR_DIM, 8 * c.width]
  norm('projector.1', PROJECTOR_DIM)
  shapes['projector.3.weight'] = [PROJECTOR_DIM, PROJECTOR_DIM]
  shapes['projector.3.bias'] = [PROJECTOR_DIM]
  return shapes
}

/** [M·B, 3, H, W] → [M·B, PROJECTOR_DIM]. Each parameter is used once, so its reference is consumed here. */
function forward(jax: Library, c: StepCase, p: Parameters, x: Array): Array {
  const { numpy: np, nn, lax } = jax
  const conv = (h: Array, name: string, stride: number, padding: number): Array =>
    lax.conv(
      h,
      p[`${name}.weight`],
      [stride, stride],
      [
        [padding, padding],
        [padding, padding],
      ],
    )
  let h = nn.relu(batchNorm(jax, conv(x, 'conv1', 1, 1), p, 'bn1'))
  for (const { name, stride } of blocks(c.width, c.pixels)) {
    const shortcut =
      stride > 1 ? batchNorm(jax, conv(h.ref, `${name}.downsample.0`, stride, 0), p, `${name}.downsample.1`) : h.ref
    const inner = nn.relu(batchNorm(jax, conv(h, `${name}.conv1`, stride, 1), p, `${name}.bn1`))
    h = nn.relu(batchNorm(jax, conv(inner, `${name}.conv2`, 1, 1), p, `${name}.bn2`).add(shortcut))
  }
  const features = np.mean(h, [2, 3])
  const hidden = nn.relu(batchNorm(jax, linear(jax, features, p['projector.0.weight']), p, 'projector.1'))
  return linear(jax, hidden, p['projector.3.weight']).add(p['projector.3.bias'])
}

const linear = (jax: Library, x: Array, w: Array): Array => jax.numpy.matmul(x, w.transpose())

/** Batch-norm from elementary ops, which jit fuses. x: [N, C, H, W] or [N, C]. */
function batchNorm(jax: Library, x: Array, p: Parameters, name: string): Array {
  const { numpy: np } = jax
  const axes = x.shape.length === 4 ? [0, 2, 3] : [0]
  const shape = [1, x.shape[1], ...(x.shape.length === 4 ? [1, 1] : [])]
  const centred = x.ref.sub(np.mean(x, axes, { keepdims: true }))
  const variance = np.mean(np.square(centred.ref), axes, { keepdims: true })
  const scale = p[`${name}.weight`].reshape(shape).div(np.sqrt(variance.add(BATCH_NORM_EPSILON)))
  return centred.mul(scale).add(p[`${name}.bias`].reshape(shape))
}

/** Normalises rows, standardises columns over both views, and compares the cross-correlation with the identity. */
function barlowTwins(jax: Library, z: Array, batch: number): Array {
  const { numpy: np } = jax
  const unit = z.ref.div(np.sqrt(np.sum(np.square(z), 1, { keepdims: true })))
  const centred = unit.ref.sub(np.mean(unit, 0, { keepdims: true }))
  const variance = np.sum(np.square(centred.ref), 0, { keepdims: true }).mul(1 / (VIEWS * batch - 1))
  const [z1, z2] = np.split(centred.div(np.sqrt(variance)), VIEWS)
  const correlation = np.matmul(z1.transpose(), z2).mul(1 / batch)
  const eye = np.eye(PROJECTOR_DIM)
  const weights = eye.ref.mul(1 - LAMBDA).add(LAMBDA)
  return np.sum(np.square(correlation.sub(eye)).mul(weights))
}

await serve(open)
