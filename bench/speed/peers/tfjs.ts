/** TensorFlow.js on WebGPU: one kernel per op, `tidy` around each run, `Optimizer.minimize` for a step. */
import { createRequire } from 'node:module'
import type * as TF from '@tensorflow/tfjs-core'
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu'
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

type Library = typeof TF

async function open(): Promise<Peer> {
  const device = await emulateBrowser()
  const tf = await import('@tensorflow/tfjs-core')
  await import('@tensorflow/tfjs-backend-webgpu')
  const require = createRequire(import.meta.url)
  // The bundle for Node lacks the gradients. This module adds them to the registry that all copies share.
  require('@tensorflow/tfjs-core/dist/register_all_gradients.js')
  if (!(await tf.setBackend('webgpu'))) throw new Error('tfjs: its WebGPU backend does not start on this adapter')
  const backend = tf.backend() as WebGPUBackend
  exitOnDeviceErrors(backend.device)
  const { version } = require('@tensorflow/tfjs-backend-webgpu/package.json') as { version: string }
  return {
    name: 'tfjs',
    version,
    device,
    prepare: (c, inputs) =>
      c.kind === 'step' ? prepareStep(tf, backend, c, inputs) : prepareOp(tf, backend, c, inputs),
  }
}

/**
 * Submits the dispatches that the backend has collected in its command encoder, and waits for the device. The backend
 * itself submits only when a tensor is read or when it has collected enough.
 */
async function finish(backend: WebGPUBackend): Promise<void> {
  const { commandEncoder } = backend as unknown as { commandEncoder: GPUCommandEncoder | null }
  if (commandEncoder) {
    backend.endComputePassEncoder()
    backend.submitQueue()
  }
  await backend.queue.onSubmittedWorkDone()
}

async function prepareOp(
  tf: Library,
  backend: WebGPUBackend,
  c: Exclude<Case, StepCase>,
  inputs: Tensors,
): Promise<Prepared> {
  const held: TF.Tensor[] = []
  const hold = (name: string, shape: number[]): TF.Tensor => {
    held.push(tf.tensor(inputs[name], shape))
    return held[held.length - 1]
  }
  const once = c.kind === 'matmul' ? product(tf, hold, c.size) : convolution(tf, hold, c)
  const first = once()
  const result = (await first.data()) as Float32Array
  first.dispose()
  return {
    run: async (times) => {
      for (let i = 0; i < times; i++) tf.tidy(() => void once())
      await finish(backend)
    },
    result: async () => ({ [resultsOf(c)[0]]: result }),
    release: () => tf.dispose(held),
  }
}

type Hold = (name: string, shape: number[]) => TF.Tensor

function product(tf: Library, hold: Hold, size: number): () => TF.Tensor {
  const a = hold('a', [size, size]) as TF.Tensor2D
  const b = hold('b', [size, size]) as TF.Tensor2D
  return () => tf.matMul(a, b)
}

/** Calls the kernels of the gradients by name, because `tf.grad` would also run the forward pass. */
function convolution(tf: Library, hold: Hold, { shape, direction }: ConvCase): () => TF.Tensor {
  const [n, h, w, from, to, strides] = shape
  const pad = 1
  const attributes = { strides, pad, dataFormat: 'NHWC' }
  const x = hold('x', [n, h, w, from]) as TF.Tensor4D
  const filter = hold('w', [3, 3, from, to]) as TF.Tensor4D
  if (direction === 'forward') return () => tf.conv2d(x, filter, strides, pad)
  const dy = hold('dy', [n, outputSide(h, strides), outputSide(w, strides), to])
  const kernel = (name: string, tensors: Record<string, TF.Tensor>, more: object): TF.Tensor =>
    tf.engine().runKernel(name, tensors as TF.NamedTensorMap, { ...attributes, ...more })
  return direction === 'input gradient'
    ? () => kernel('Conv2DBackpropInput', { dy, filter }, { inputShape: x.shape })
    : () => kernel('Conv2DBackpropFilter', { x, dy }, { filterShape: filter.shape })
}

async function prepareStep(tf: Library, backend: WebGPUBackend, c: StepCase, inputs: Tensors): Promise<Prepared> {
  const x = tf.tensor4d(inputs.x, [VIEWS * c.batch, c.pixels, c.pixels, 3])
  const p = parameters(tf, c, inputs)
  const trained = Object.values(p)
  const weights = tf.tidy(() => lossWeights(tf))
  const loss = (): TF.Scalar => barlowTwins(tf, forward(tf, c, p, x), c.batch, weights)

  const { grads, value } = tf.variableGrads(loss, trained)
  const gradient = (await grads[p['conv1.weight'].name].data()) as Float32Array
  tf.dispose([grads, value])
  const optimizer = tf.train.adam(RATE, ADAM.beta1, ADAM.beta2, ADAM.epsilon)
  const losses: number[] = []
  for (let i = 0; i < 2; i++) {
    const cost = optimizer.minimize(loss, true, trained)!
    losses.push((await cost.data())[0])
    cost.dispose()
  }
  return {
    run: async (times) => {
      for (let i = 0; i < times; i++) {
        optimizer.minimize(loss, false, trained)
        await finish(backend)
      }
    },
    result: async () => ({
      loss: new Float32Array(losses),
      'conv1.weight gradient': permute(gradient, [3, 3, 3, c.width], [3, 2, 0, 1]),
    }),
    release: () => {
      optimizer.dispose()
      tf.dispose([x, weights, ...trained])
    },
  }
}

type Parameters = Record<string, TF.Variable>

/** Convolutions are HWIO, linear layers [in, out]. A step has no running statistics. */
function parameters(tf: Library, c: StepCase, inputs: Tensors): Parameters {
  const p: Parameters = {}
  const conv = (name: string, size: number, from: number, to: number): void => {
    const data = permute(inputs[`${name}.weight`], [to, from, size, size], [2, 3, 1, 0])
    p[`${name}.weight`] = tf.variable(tf.tensor4d(data, [size, size, from, to]))
  }
  const vector = (name: string): void => void (p[name] = tf.variable(tf.tensor1d(inputs[name])))
  const norm = (name: string): void => [`${name}.weight`, `${name}.bias`].forEach(vector)
  const linear = (name: string, from: number, to: number): void => {
    p[`${name}.weight`] = tf.variable(tf.tensor2d(permute(inputs[`${name}.weight`], [to, from], [1, 0]), [from, to]))
  }
  conv('conv1', 3, 3, c.width)
  norm('bn1')
  for (const { name, from, to, stride } of blocks(c.width, c.pixels)) {
    conv(`${name}.conv1`, 3, from, to)
    norm(`${name}.bn1`)
    conv(`${name}.conv2`, 3, to, to)
    norm(`${name}.bn2`)
    if (stride > 1) {
      conv(`${name}.downsample.0`, 1, from, to)
      norm(`${name}.downsample.1`)
    }
  }
  linear('projector.0', 8 * c.width, PROJECTOR_DIM)
  norm('projector.1')
  linear('projector.3', PROJECTOR_DIM, PROJECTOR_DIM)
  vector('projector.3.bias')
  return p
}

/** [M·B, H, W, 3] → [M·B, PROJECTOR_DIM] */
function forward(tf: Library, c: StepCase, p: Parameters, x: TF.Tensor4D): TF.Tensor2D {
  const conv = (h: TF.Tensor4D, name: string, stride: number, pad: number): TF.Tensor4D =>
    tf.conv2d(h, p[`${name}.weight`] as TF.Tensor4D, stride, pad)
  let h = tf.relu(batchNorm(tf, conv(x, 'conv1', 1, 1), p, 'bn1'))
  for (const { name, stride } of blocks(c.width, c.pixels)) {
    const shortcut =
      stride > 1 ? batchNorm(tf, conv(h, `${name}.downsample.0`, stride, 0), p, `${name}.downsample.1`) : h
    const inner = tf.relu(batchNorm(tf, conv(h, `${name}.conv1`, stride, 1), p, `${name}.bn1`))
    h = tf.relu(tf.add<TF.Tensor4D>(batchNorm(tf, conv(inner, `${name}.conv2`, 1, 1), p, `${name}.bn2`), shortcut))
  }
  const features = tf.mean<TF.Tensor2D>(h, [1, 2])
  const hidden = tf.relu(batchNorm(tf, tf.matMul(features, p['projector.0.weight'] as TF.Tensor2D), p, 'projector.1'))
  return tf.add(tf.matMul(hidden, p['projector.3.weight'] as TF.Tensor2D), p['projector.3.bias'])
}

/** Batch-norm from elementary ops: `tf.batchNorm` needs the statistics as inputs, and its gradient tiles them. */
function batchNorm<T extends TF.Tensor>(tf: Library, x: T, p: Parameters, name: string): T {
  const { mean, variance } = tf.moments(
    x,
    x.shape.slice(0, -1).map((_, i) => i),
  )
  const scale = tf.mul(tf.rsqrt(tf.add(variance, BATCH_NORM_EPSILON)), p[`${name}.weight`])
  return tf.add(tf.mul(tf.sub(x, mean), scale), p[`${name}.bias`])
}

/** 1 on the diagonal, λ elsewhere. */
function lossWeights(tf: Library): TF.Tensor2D {
  const eye = tf.eye(PROJECTOR_DIM)
  return tf.add(tf.mul(eye, 1 - LAMBDA), LAMBDA)
}

/** Normalises rows, standardises columns over both views, and compares the cross-correlation with the identity. */
function barlowTwins(tf: Library, z: TF.Tensor2D, batch: number, weights: TF.Tensor2D): TF.Scalar {
  const rows = VIEWS * batch
  const unit = tf.div<TF.Tensor2D>(z, tf.sqrt(tf.sum(tf.square(z), 1, true)))
  const { mean, variance } = tf.moments(unit, 0)
  const standard = tf.div<TF.Tensor2D>(tf.sub(unit, mean), tf.sqrt(tf.mul(variance, rows / (rows - 1))))
  const [z1, z2] = tf.split(standard, VIEWS)
  const correlation = tf.div(tf.matMul(z1, z2, true), batch)
  return tf.sum(tf.mul(tf.square(tf.sub(correlation, tf.eye(PROJECTOR_DIM))), weights))
}

await serve(open)
