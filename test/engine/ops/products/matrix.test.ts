/**
 * Variants on matrix units. Dawn's null backend validates every text and pipeline that lowering can produce. Their
 * results are compared with f64, with the matrices emulated.
 */
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { cast, conv2d, gradients, input, matmul, sum, type Target, type Value } from '../../../../engine/index.js'
import { KernelLibrary } from '../../../../engine/kernel.js'
import { lower } from '../../../../engine/lower.js'
import { kernelTexts } from '../../../../engine/kernel_texts.js'
import { matrixConvs, matrixMatmuls, matrixWeightGradients } from '../../../../engine/ops/products/matrix.js'
import { pipelineKey } from '../../../../engine/pipelines.js'
import type { Dispatch } from '../../../../engine/plan.js'
import type { MatmulWork } from '../../../../engine/ops/products/work.js'
import { engine } from '../../../support/engine.js'
import { checkConv, checkMatmul, only, type ConvCase, type MatmulCase } from './variants.js'

afterEach(() => vi.restoreAllMocks())

const names = matrixConvs.map(({ name }) => name)
/** The target of an adapter with matrix units. */
const offering: Partial<Target> = {
  adapterClass: 'gpu',
  f16: true,
  subgroups: true,
  subgroupMatrix: true,
  subgroupSize: [32, 32],
  subgroupSizeControl: false,
  maxInvocations: 1024,
  maxWorkgroupBytes: 48 * 1024,
}

const half = (name: string, shape: number[]): Value => cast(input(name, shape), 'f16')

/** A product for which the largest tiles are best. */
const large: MatmulWork = {
  ...({} as Pick<MatmulWork, 'a' | 'b' | 'c'>),
  ...{ batch: 1, M: 4096, N: 4096, K: 4096, transposeA: false, dtypes: { a: 'f16', b: 'f16', c: 'f16' } },
}

/** The dispatches of matrix kernels in a graph's plan, by pipeline. */
async function matrixDispatches(outputs: Record<string, Value>): Promise<Map<string, Dispatch>> {
  const target = { ...(await engine()).target, ...offering }
  const { dispatches } = lower({ outputs }, { target, library: new KernelLibrary(kernelTexts) })
  return new Map(
    dispatches
      .filter(({ kernel }) => kernel.endsWith('_matrix'))
      .map((d) => [pipelineKey(d.kernel, d.constants), d] as const),
  )
}

/** Every combination of dtypes, biases and transposes that the ops can use for one tile. */
async function everySpecialisation(): Promise<Map<string, Dispatch>> {
  const [x, w, bias] = [half('x', [2, 8, 8, 16]), input('w', [3, 3, 16, 16]), input('bias', [16])]
  const conv = sum(cast(conv2d(x, w, { stride: 2, padding: 1, bias }), 'f32'))
  const outputs: Record<string, Value> = {}
  gradients(conv, [x, w]).forEach((g, i) => (outputs[`conv ${i}`] = cast(g, 'f32')))
  outputs.conv = conv
  const [a, at, b] = [half('a', [64, 32]), half('at', [32, 64]), half('b', [32, 16])]
  outputs.matmul = cast(matmul(a, b), 'f32')
  outputs.bias = cast(matmul(a, b, { bias }), 'f32')
  outputs.transposed = cast(matmul(at, b, { transposeA: true }), 'f32')
  outputs.weights = cast(matmul(a, input('b32', [32, 16]), { bias }), 'f32')
  outputs.plain = cast(matmul(a, input('b32 too', [32, 16])), 'f32')
  outputs['transposed, weights'] = cast(matmul(at, input('c32', [32, 16]), { transposeA: true }), 'f32')
  return matrixDispatches(outputs)
}

describe('on the null backend', () => {
  /** The instance must stay referenced, because the objects of a collected instance crash the process. */
  let gpu: GPU
  let device: GPUDevice

  beforeAll(async () => {
    await engine()
    const { create } = await import('webgpu')
    gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis'])
    const adapter = (await gpu.requestAdapter())!
    const features = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[]
    device = await adapter.requestDevice({ requiredFeatures: features })
    return () => device.destroy()
  })

  /** Dawn's messages about a text and its pipeline. */
  async function verdict(code: string): Promise<string> {
    device.pushErrorScope('validation')
    const module = device.createShaderModule({ code })
    await device.popErrorScope()
    const { messages } = await module.getCompilationInfo()
    const errors = messages.filter(({ type }) => type === 'error').map((m) => `${m.lineNum}: ${m.message}`)
    if (errors.length) return errors.join('; ')
    try {
      await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } })
      return 'accepted'
    } catch (error) {
      return (error as Error).message
    }
  }

  test.each(names)(
    '%s: every specialisation is accepted, or is too large for the backend by what the tile says',
    async (name) => {
      const target = { ...(await engine()).target, ...offering }
      only(name, matrixConvs, matrixWeightGradients, matrixMatmuls)
      const all = await everySpecialisation()
      const kernels = [...all.values()].map(({ kernel }) => kernel)
      expect(kernels.filter((k) => k === 'conv2d_matrix').length).toBe(4)
      expect(kernels.filter((k) => k === 'conv2d_weight_gradient_matrix').length).toBe(3)
      const library = new KernelLibrary(kernelTexts)
      const limit = device.limits.maxComputeWorkgroupStorageSize
      for (const { kernel, constants } of all.values()) {
        const found = await verdict(library.get(kernel).specialize(constants))
        const bytes = Number(/total use of workgroup storage \((\d+) bytes\) is larger/.exec(found)?.[1])
        if (bytes > limit && kernel === 'conv2d_matrix') {
          vi.restoreAllMocks()
          const serves = (maxWorkgroupBytes: number): boolean =>
            matrixMatmuls.find((variant) => variant.name === name)!.serves(large, { ...target, maxWorkgroupBytes })
          expect([serves(bytes), serves(bytes - 1)]).toEqual([true, false])
        } else if (!(bytes > limit)) expect(found, `${kernel} ${JSON.stringify(constants)}`).toBe('accepted')
      }
    },
  )

  test('the check finds errors', async () => {
    const text = kernelTexts['conv2d_matrix']
    expect(await verdict(text)).toBe('accepted')
    expect(await verdict(text.replace('&left, (sub_row', '&left, (local'))).toMatch(
      /must be.* uniform|requires.*uniform/,
    )
    expect(
      await verdict(text.replace('alias Sum = subgroup_matrix_result<f32', 'alias Sum = subgroup_matrix_result<u32')),
    ).not.toBe('accepted')
  })
})

const convs: ConvCase[] = [
  { x: [3, 7, 5, 12], w: [3, 3, 12, 20], stride: 1, padding: 1 },
  { x: [3, 1, 1, 68], w: [1, 1, 68, 20], stride: 1, padding: 0 },
  { x: [1, 6, 7, 20], w: [3, 3, 20, 68], stride: 2, padding: 1, bias: true },
  { x: [2, 5, 5, 8], w: [1, 1, 8, 12], stride: 2, padding: 0 },
  { x: [1, 9, 6, 4], w: [7, 7, 4, 12], stride: 2, padding: 3 },
]
const cut: ConvCase = { x: [64, 8, 8, 16], w: [3, 3, 16, 16], stride: 1, padding: 1 }
const matmuls: MatmulCase[] = [
  { a: [67, 33], b: [33, 35], bias: true },
  { a: [3, 70, 9], b: [3, 70, 17], transposeA: true },
  { a: [140, 72], b: [132, 72], transposeB: true },
]

describe.each(names)('%s, emulated where the adapter has no matrix units', (name) => {
  test('convolutions and products', async ({ skip }) => {
    const { f16, subgroupMatrix, maxWorkgroupBytes } = (await engine()).target
    skip(!f16, 'the adapter has no f16')
    skip(name === 'matrix 128×128' && maxWorkgroupBytes < 40_000, 'the adapter has too little workgroup memory')
    const target: Partial<Target> = subgroupMatrix ? {} : { subgroupMatrix: true, subgroupSize: [32, 32] }
    only(name, matrixConvs, matrixWeightGradients, matrixMatmuls)
    // One tile has all cases, and the others those that depend on the tile: each kernel takes seconds to compile.
    const some =
      name === 'matrix 64×64' ? ([convs, matmuls] as const) : ([convs.slice(0, 1), matmuls.slice(1, 2)] as const)
    for (const given of some[0]) await checkConv(given, 'f16', target)
    for (const given of some[1]) await checkMatmul(given, 'f16', target)
    // The partial sums of dw take several dispatches, each with several splits.
    if (name === 'matrix 64×64') await checkConv(cut, 'f16', { ...target, maxBindingBytes: 64 * 1024 })
  })
})

describe('which adapters and operands it serves', () => {
  const serving = (target: Partial<Target>, x: Value): Promise<boolean> => {
    const y = conv2d(x, input('w', [1, 1, 64, 64]))
    return engine().then(({ target: own }) => {
      const options = { target: { ...own, ...offering, ...target }, library: new KernelLibrary(kernelTexts) }
      const { dispatches } = lower({ outputs: { y: cast(y, 'f32') } }, options)
      return dispatches.some(({ kernel }) => kernel === 'conv2d_matrix')
    })
  }

  test('f16 on matrix units of 32 lanes, and nothing else', async () => {
    const shape = [64, 16, 16, 64]
    expect(await serving({}, half('x', shape))).toBe(true)
    expect(await serving({}, input('x', shape))).toBe(false)
    expect(await serving({ subgroupMatrix: false }, half('x', shape))).toBe(false)
    expect(await serving({ subgroupSize: [32, 64] }, half('x', shape))).toBe(false)
    expect(await serving({ subgroupSize: [32, 64], subgroupSizeControl: true }, half('x', shape))).toBe(true)
    expect(await serving({ subgroupSize: [64, 64], subgroupSizeControl: true }, half('x', shape))).toBe(false)
    expect(await serving({ maxWorkgroupBytes: 16 * 1024 }, half('x', shape))).toBe(true)
    expect(await serving({ maxWorkgroupBytes: 8 * 1024 }, half('x', shape))).toBe(false)
  })
})
