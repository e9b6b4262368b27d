import { describe, expect, test } from 'vitest'
import * as ops from '../../../engine/index.js'
import * as kernels from '../../../engine/standalone/index.js'
import type { Operand, RecordedKernel } from '../../../engine/standalone/index.js'
import { expectClose, runOp } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import * as reference from '../../support/reference/index.js'

const STORAGE = 0x80 | 0x04 | 0x08

/** A stand-in for the caller's device, which counts the objects that are made on it. */
async function countingDevice(): Promise<{ device: GPUDevice; made: () => number }> {
  const { device } = await engine()
  let count = 0
  const counted = new Set<PropertyKey>([
    'createBuffer',
    'createBindGroup',
    'createComputePipelineAsync',
    'createShaderModule',
  ])
  const proxy = new Proxy(device, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key, target)
      if (typeof member !== 'function') return member
      return (...given: unknown[]) => {
        if (counted.has(key)) count++
        return (member as (...given: unknown[]) => unknown).apply(target, given)
      }
    },
  })
  return { device: proxy, made: () => count }
}

function upload(device: GPUDevice, bytes: number, data?: Float32Array | Uint32Array): GPUBuffer {
  const buffer = device.createBuffer({ size: bytes, usage: STORAGE })
  if (data) device.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, data.byteLength)
  return buffer
}

function submit<N extends string>(device: GPUDevice, kernel: RecordedKernel<N>, operands: Record<N, Operand>): void {
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  kernel.encode(pass, operands)
  pass.end()
  device.queue.submit([encoder.finish()])
}

/** Runs a kernel on new buffers and reads everything that it writes. */
async function run<N extends string>(
  kernel: RecordedKernel<N>,
  given: Partial<Record<N, Float32Array | Uint32Array>>,
): Promise<Record<N, Float32Array>> {
  const e = await engine()
  const names = Object.keys(kernel.operands) as N[]
  for (const name of names)
    expect(name in given, `${name} is given, or only written`).toBe(kernel.operands[name].access !== 'write')
  const buffers = Object.fromEntries(
    names.map((name) => [name, upload(e.device, kernel.operands[name].bytes, given[name])]),
  ) as Record<N, GPUBuffer>
  submit(e.device, kernel, buffers)
  const results: Partial<Record<N, Float32Array>> = {}
  for (const name of names) {
    const { shape, access } = kernel.operands[name]
    if (access !== 'read') results[name] = await e.readBuffer(buffers[name], 0, 4 * reference.sizeOf(shape), 'f32')
    buffers[name].destroy()
  }
  kernel.destroy()
  return results as Record<N, Float32Array>
}

const device = async (): Promise<GPUDevice> => (await engine()).device
const formula = (name: string, shape: readonly number[]): Float32Array => formulaTensor(`kernels/${name}`, [...shape])
const t64 = (name: string, shape: readonly number[]) => reference.tensor64(shape, formula(name, shape))

describe('kernels against f64 references', () => {
  for (const [a, b, transposeA, transposeB, bias] of [
    [[5, 17], [17, 3], false, false, true],
    [[2, 9, 4], [2, 6, 9], true, true, false],
  ] as const)
    test(`matmul [${a}]·[${b}]`, async () => {
      const kernel = await kernels.matmul(await device(), { a, b, transposeA, transposeB, bias: bias as true })
      const given = { a: formula('a', a), b: formula('b', b), ...(bias && { bias: formula('bias', [3]) }) }
      const expected = reference.matmul(t64('a', a), t64('b', b), {
        transposeA,
        transposeB,
        bias: bias ? t64('bias', [3]) : undefined,
      })
      expect(kernel.operands.c.shape).toEqual(expected.shape)
      expectClose('c', (await run(kernel, given)).c, expected.data, 1e-5)
    })

  test('conv2d with bias, stride and channels that are not whole vec4s', async () => {
    const [x, w] = [
      [2, 7, 5, 3],
      [3, 3, 3, 5],
    ]
    const kernel = await kernels.conv2d(await device(), { x, w, stride: 2, padding: 1, bias: true })
    expect(kernel.workspaceBytes).toBeGreaterThan(0)
    const { y } = await run(kernel, { x: formula('x', x), w: formula('w', w), bias: formula('bias', [5]) })
    const options = { stride: 2, padding: 1, bias: t64('bias', [5]) }
    expectClose('y', y, reference.conv2d(t64('x', x), t64('w', w), options).data, 1e-5)
  })

  test('batch-norm: training with groups, ReLU and residual, and inference', async () => {
    const x = [4, 3, 3, 6]
    const given = {
      x: formula('x', x),
      scale: formula('scale', [6]),
      shift: formula('shift', [6]),
      residual: formula('r', x),
    }
    const options = { groups: 2, relu: true, residual: t64('r', x) }
    const { y, mean, variance } = reference.batchNorm(t64('x', x), t64('scale', [6]), t64('shift', [6]), options)
    const trained = await run(
      await kernels.batchNorm(await device(), { x, groups: 2, relu: true, residual: true }),
      given,
    )
    expectClose('y', trained.y, y.data, 1e-5)
    expectClose('mean', trained.mean, mean.data, 1e-5)
    expectClose('variance', trained.variance, variance.data, 1e-5)

    const statistics = { mean: formula('m', [6]), variance: formula('v', [6]).map((v) => v * v + 0.1) }
    const { residual: _, ...plain } = given
    const inferred = await run(await kernels.batchNormInference(await device(), { x }), { ...plain, ...statistics })
    const m = reference.tensor64([6], statistics.mean)
    const v = reference.tensor64([6], statistics.variance)
    const expected = reference.batchNormInference(t64('x', x), t64('scale', [6]), t64('shift', [6]), m, v)
    expectClose('inference', inferred.y, expected.data, 1e-5)
  })

  test('rows, columns, elementwise and pooling', async () => {
    const d = await device()
    const x = formula('x', [7, 5])
    const image = formula('image', [2, 5, 5, 3])
    const image64 = t64('image', [2, 5, 5, 3])
    const shape = [2, 5, 5, 3]
    const close = (what: string, actual: Float32Array, expected: reference.Tensor64) =>
      expectClose(what, actual, expected.data, 1e-5)
    close(
      'l2',
      (await run(await kernels.l2NormalizeRows(d, { x: [7, 5] }), { x })).y,
      reference.l2NormalizeRows(t64('x', [7, 5])),
    )
    close(
      'std',
      (await run(await kernels.standardizeColumns(d, { x: [7, 5] }), { x })).y,
      reference.standardizeColumns(t64('x', [7, 5])),
    )
    close('relu', (await run(await kernels.relu(d, { x: [7, 5] }), { x })).y, reference.relu(t64('x', [7, 5])))
    const sum = await run(await kernels.add(d, { a: [7, 5], b: [5] }), { a: x, b: formula('b', [5]) })
    close('add', sum.y, reference.add(t64('x', [7, 5]), t64('b', [5])))
    const window = { size: 3, stride: 2, padding: 1 }
    close(
      'max',
      (await run(await kernels.maxPool2d(d, { x: shape, ...window }), { x: image })).y,
      reference.maxPool2d(image64, window),
    )
    close(
      'mean',
      (await run(await kernels.globalAveragePool(d, { x: shape }), { x: image })).y,
      reference.globalAveragePool(image64),
    )
  })

  test('losses', async () => {
    const d = await device()
    const weights = { onDiagonal: 1, offDiagonal: 0.04, target: 1 }
    const c = formula('c', [6, 6])
    const { loss } = await run(await kernels.orthogonalityLoss(d, { c: [6, 6], ...weights }), { c })
    expectClose('orthogonality', loss, [reference.orthogonalityLoss(t64('c', [6, 6]), weights)], 1e-5)
    const given = { logits: formula('logits', [5, 7]), labels: Uint32Array.of(0, 6, 3, 3, 1) }
    const entropy = await run(await kernels.crossEntropy(d, { logits: [5, 7], labelSmoothing: 0.1 }), given)
    const expected = reference.crossEntropy(t64('logits', [5, 7]), given.labels, { labelSmoothing: 0.1 })
    expectClose('cross-entropy', entropy.loss, [expected], 1e-5)
  })

  test('three steps of Adam and of SGD, in place', async () => {
    const d = await device()
    const e = await engine()
    const shape = [3, 7]
    const gradient = Float64Array.from(formula('g', shape))
    const adam = await kernels.adam(d, { shape, weightDecay: 0.1 })
    const sgd = await kernels.sgd(d, { shape, momentum: 0.9, weightDecay: 0.1, nesterov: true })
    const [zeros, bytes] = [new Float64Array(21), adam.operands.parameters.bytes]
    const tensors = () => ({
      parameters: upload(d, bytes, formula('p', shape)),
      gradients: upload(d, bytes, formula('g', shape)),
    })
    const [rate, step] = [upload(d, 16, Float32Array.of(0.01)), upload(d, 16)]
    const a = { ...tensors(), m: upload(d, bytes), v: upload(d, bytes), rate, step }
    const s = { ...tensors(), buffer: upload(d, bytes), rate }
    const expected = { adam: Float64Array.from(formula('p', shape)), sgd: Float64Array.from(formula('p', shape)) }
    const state = { m: zeros.slice(), v: zeros.slice() }
    const velocity = zeros.slice()
    for (let t = 1; t <= 3; t++) {
      d.queue.writeBuffer(step, 0, Float32Array.of(t))
      submit(d, adam, a)
      submit(d, sgd, s)
      reference.adam(expected.adam, gradient, state, t, {
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weightDecay: 0.1,
      })
      reference.sgd(expected.sgd, gradient, velocity, { lr: 0.01, momentum: 0.9, weightDecay: 0.1, nesterov: true })
    }
    expectClose('Adam', await e.readBuffer(a.parameters, 0, 84, 'f32'), expected.adam, 1e-5)
    expectClose('SGD', await e.readBuffer(s.parameters, 0, 84, 'f32'), expected.sgd, 1e-5)
    for (const buffer of new Set([...Object.values(a), ...Object.values(s)])) buffer.destroy()
  })
})

describe('gradients against the engine, whose tests compare with f64', () => {
  /** Gradients of sum(y · dy) by the engine. */
  async function byEngine<K extends string>(
    shapes: Record<K, number[]>,
    build: (v: Record<K, ops.Value>) => ops.Value,
  ) {
    const given = Object.fromEntries(Object.entries<number[]>(shapes).map(([k, s]) => [k, formula(k, s)])) as Record<
      K,
      Float32Array
    >
    const y = build(
      Object.fromEntries(Object.entries<number[]>(shapes).map(([k, s]) => [k, ops.input(k, s)])) as Record<
        K,
        ops.Value
      >,
    )
    const dy = formula('dy', y.shape)
    return { given, dy, gradients: (await runOp(shapes, build, given, dy)).gradients }
  }

  test('conv2d', async () => {
    const options = { x: [2, 7, 6, 3], w: [3, 3, 3, 5], stride: 2, padding: 1 }
    const { given, dy, gradients } = await byEngine({ x: options.x, w: options.w }, ({ x, w }) =>
      ops.conv2d(x, w, options),
    )
    const { dx } = await run(await kernels.conv2dInputGradient(await device(), options), { dy, w: given.w })
    const { dw } = await run(await kernels.conv2dWeightGradient(await device(), options), { dy, x: given.x })
    expectClose('dx', dx, gradients.x, 1e-6)
    expectClose('dw', dw, gradients.w, 1e-6)
  })

  for (const relu of [true, false])
    test(`batch-norm with a residual, ${relu ? 'with' : 'without'} ReLU`, async () => {
      const x = [4, 3, 3, 6]
      const shapes = { x, scale: [6], shift: [6], residual: x }
      const { given, dy, gradients } = await byEngine(
        shapes,
        (v) => ops.batchNorm(v.x, v.scale, v.shift, { relu, residual: v.residual }).y,
      )
      const result = await run(await kernels.batchNormGradient(await device(), { x, relu, residual: true }), {
        ...given,
        dy,
      })
      for (const key of ['x', 'scale', 'shift', 'residual'] as const)
        expectClose(`d${key}`, result[`d${key}`], gradients[key], 1e-6)
    })

  test('the others', async () => {
    const d = await device()
    const x = [6, 5]
    const image = [1, 6, 5, 3]
    const cases: [string, number[], (v: ops.Value) => ops.Value, Promise<RecordedKernel<'x' | 'dy' | 'dx'>>][] = [
      ['relu', x, ops.relu, kernels.reluGradient(d, { x })],
      ['l2NormalizeRows', x, ops.l2NormalizeRows, kernels.l2NormalizeRowsGradient(d, { x })],
      ['standardizeColumns', x, ops.standardizeColumns, kernels.standardizeColumnsGradient(d, { x })],
      [
        'maxPool2d',
        image,
        (v) => ops.maxPool2d(v, { size: 3, stride: 2, padding: 1 }),
        kernels.maxPool2dGradient(d, { x: image, size: 3, stride: 2, padding: 1 }),
      ],
    ]
    for (const [name, shape, build, kernel] of cases) {
      const { given, dy, gradients } = await byEngine({ x: shape }, (v) => build(v.x))
      expectClose(name, (await run(await kernel, { x: given.x, dy })).dx, gradients.x, 1e-6)
    }
  })

  test('losses, against their formulas', async () => {
    const c = formula('c', [4, 4])
    const { dc } = await run(await kernels.orthogonalityLossGradient(await device(), { c: [4, 4], offDiagonal: 0.1 }), {
      c,
    })
    expectClose(
      'dc',
      dc,
      c.map((v, i) => (i % 5 === 0 ? 2 * (v - 1) : 0.2 * v)),
      1e-6,
    )
    const [logits, labels] = [formula('logits', [3, 4]), Uint32Array.of(2, kernels.MASKED_LABEL, 0)]
    const { dlogits } = await run(await kernels.crossEntropyGradient(await device(), { logits: [3, 4] }), {
      logits,
      labels,
    })
    const expected = logits.map((v, i) => {
      const row = logits.subarray(i - (i % 4), i - (i % 4) + 4)
      const softmax = Math.exp(v) / row.reduce((sum, x) => sum + Math.exp(x), 0)
      return i >= 4 && i < 8 ? 0 : (softmax - Number(labels[Math.floor(i / 4)] === i % 4)) / 3
    })
    expectClose('dlogits', dlogits, expected, 1e-5)
  })
})

describe('recorded kernels', () => {
  test('encoding with the same buffers again creates nothing', async () => {
    const { device: d, made } = await countingDevice()
    const kernel = await kernels.conv2d(d, { x: [1, 4, 4, 3], w: [3, 3, 3, 4], padding: 1 })
    const [x, w, y, other] = [192, 432, 256, 256].map((bytes) => upload(d, bytes))
    const built = made()
    submit(d, kernel, { x, w, y })
    const first = made()
    expect(first).toBeGreaterThan(built)
    submit(d, kernel, { x, w, y })
    expect(made()).toBe(first)
    submit(d, kernel, { x, w, y: other })
    expect(made()).toBeGreaterThan(first)
    const second = made()
    submit(d, kernel, { x, w, y })
    submit(d, kernel, { x, w, y: other })
    expect(made()).toBe(second)
    await (await engine()).idle()
    kernel.destroy()
    for (const buffer of [x, w, y, other]) buffer.destroy()
  })

  test('operands may be parts of larger buffers', async () => {
    const e = await engine()
    const kernel = await kernels.relu(e.device, { x: [4] })
    const both = upload(e.device, 512)
    e.device.queue.writeBuffer(both, 256, Float32Array.of(-1, 2, -3, 4))
    const y = upload(e.device, 272)
    submit(e.device, kernel, { x: { buffer: both, offset: 256 }, y: { buffer: y, offset: 256 } })
    expect([...(await e.readBuffer(y, 256, 16, 'f32'))]).toEqual([0, 2, 0, 4])
    kernel.destroy()
    both.destroy()
    y.destroy()
  })

  test('errors are one line, and name the op and the operand', async () => {
    const d = await device()
    await expect(kernels.matmul(d, { a: [2, 3], b: [4, 5] })).rejects.toThrow(
      'matmul: shapes [2, 3] and [4, 5] do not match',
    )
    await expect(kernels.conv2d(d, { x: [1, 4, 4], w: [1, 1, 4, 4] })).rejects.toThrow(
      'conv2d: x [1, 4, 4] must be [N, H, W, C]',
    )
    await expect(kernels.adam(d, { shape: [0] })).rejects.toThrow('adam: shape [0]')
    const kernel = await kernels.relu(d, { x: [5] })
    const [small, x, y] = [20, 32, 32].map((bytes) => upload(d, bytes))
    const encode = (operands: object) => () => submit(d, kernel, operands as { x: GPUBuffer; y: GPUBuffer })
    expect(encode({ x })).toThrow("relu: buffer 'y' [5] is not given")
    expect(encode({ x: small, y })).toThrow(
      "relu: buffer 'x' [5] needs 32 bytes (whole vec4s), but has 20 from offset 0",
    )
    expect(encode({ x: y, y })).toThrow("relu: 'y' and 'x' share a buffer")
    expect(encode({ x, y, z: y })).toThrow("relu: has no buffer 'z'; it takes x, y")
    expect(encode({ x: { buffer: upload(d, 300), offset: 4 }, y })).toThrow(
      "offset 4 of buffer 'x' is not a multiple of 256",
    )
    kernel.destroy()
  })

  test('a raw kernel: pipeline, packed Params and a bind group', async () => {
    const e = await engine()
    const raw = await kernels.kernel(e.device, 'transpose')
    expect(raw.source).toMatch(/^\/\/ transpose\.wgsl: transposes/)
    const words = raw.packParams({ count: 6, rows: 2, columns: 3 })
    const params = e.device.createBuffer({ size: words.byteLength, usage: 0x40 | 0x08 })
    e.device.queue.writeBuffer(params, 0, words.buffer)
    const x = upload(e.device, 32, Float32Array.of(1, 2, 3, 4, 5, 6))
    const y = upload(e.device, 32)
    const encoder = e.device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(raw.pipeline)
    pass.setBindGroup(0, raw.bindGroup(params, { x, y }))
    pass.dispatchWorkgroups(1)
    pass.end()
    e.device.queue.submit([encoder.finish()])
    expect([...(await e.readBuffer(y, 0, 24, 'f32'))]).toEqual([1, 4, 2, 5, 3, 6])
    for (const buffer of [params, x, y]) buffer.destroy()
    await expect(kernels.kernel(e.device, 'transposed')).rejects.toThrow("no kernel 'transposed.wgsl'")
  })
})
