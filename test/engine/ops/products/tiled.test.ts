/** Tiles in workgroup memory: every tile on odd shapes, forward and both gradients, against f64. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { conv2d, input, matmul, type Target, type Value } from '../../../../engine/index.js'
import { tiledConvs, tiledMatmuls, tiledWeightGradients } from '../../../../engine/ops/products/tiled.js'
import { engine } from '../../../support/engine.js'
import { checkConv, checkMatmul, gpuEngine, only, type ConvCase, type MatmulCase } from './variants.js'

afterEach(() => vi.restoreAllMocks())

const names = tiledConvs.map(({ name }) => name)

/** Kernels, strides and paddings of a ResNet on odd sizes; the last has several tiles and split sums. */
const convs: ConvCase[] = [
  { x: [3, 7, 5, 12], w: [3, 3, 12, 20], stride: 1, padding: 1 },
  { x: [3, 9, 6, 4], w: [7, 7, 4, 12], stride: 2, padding: 3 },
  { x: [3, 1, 1, 68], w: [1, 1, 68, 20], stride: 1, padding: 0 },
  { x: [3, 1, 1, 12], w: [3, 3, 12, 4], stride: 1, padding: 1 },
  { x: [1, 6, 7, 20], w: [3, 3, 20, 68], stride: 2, padding: 1, bias: true },
  // 33 output pixels: one more than whole blocks have.
  { x: [1, 5, 21, 8], w: [1, 1, 8, 12], stride: 2, padding: 0 },
  { x: [2, 12, 12, 36], w: [3, 3, 36, 132], stride: 1, padding: 1, bias: true },
]

const matmuls: MatmulCase[] = [
  { a: [67, 33], b: [33, 35], bias: true },
  { a: [140, 300], b: [132, 300], transposeB: true },
  { a: [130, 5], b: [130, 68], transposeA: true },
  { a: [3, 9, 6], b: [3, 6, 17] },
  { a: [3, 300, 9], b: [3, 300, 17], transposeA: true },
]

const label = (given: ConvCase | MatmulCase): string => JSON.stringify(given).replace(/"/g, '')

describe.each(names)('%s', (name) => {
  test.each(convs.map((given) => [label(given), given] as const))('convolution %s', async (_, given) => {
    only(name, tiledConvs, tiledWeightGradients)
    await checkConv(given)
  })
  test.each(matmuls.map((given) => [label(given), given] as const))('product %s', async (_, given) => {
    only(name, tiledMatmuls)
    await checkMatmul(given)
  })
})

test('stored f16: convolution and product', async ({ skip }) => {
  skip(!(await engine()).target.f16, 'the adapter has no f16')
  only('tiled 64×64', tiledConvs, tiledWeightGradients, tiledMatmuls)
  await checkConv(convs[4], 'f16')
  await checkMatmul(matmuls[0], 'f16')
})

test('more tiles than one dimension allows use two dimensions', async () => {
  only('tiled 64×64', tiledConvs, tiledWeightGradients)
  const given: ConvCase = { x: [1, 50, 51, 4], w: [1, 1, 4, 4], stride: 1, padding: 0 }
  const target = { maxWorkgroupsPerDimension: 16 }
  const y = conv2d(input('x', given.x), input('w', given.w))
  const [{ workgroups }] = (await gpuEngine(target)).plan({ outputs: { y } }).dispatches
  expect(workgroups).toEqual([14, 3, 1])
  await checkConv(given, 'f32', target)
})

describe('which tiles serve', () => {
  const work = (M: number, N: number, K: number) => {
    const slice = undefined as never
    const dtypes = { a: 'f32', b: 'f32', c: 'f32' } as const
    return { a: slice, b: slice, c: slice, batch: 1, M, N, K, transposeA: false, dtypes }
  }
  const serving = (target: Target, M: number, N: number, K: number): string[] =>
    tiledMatmuls
      .filter((variant) => variant.serves(work(M, N, K), target))
      .sort((a, b) => a.cost(work(M, N, K), target) - b.cost(work(M, N, K), target))
      .map((variant) => variant.name)

  test('large ones for large products, small ones for small or narrow products, at most two', async () => {
    const { target } = await gpuEngine()
    expect(serving(target, 4096, 4096, 4096)[0]).toBe('tiled 128×128')
    expect(serving(target, 32, 8192, 512)[0]).toBe('tiled 32×64')
    expect(serving(target, 524288, 64, 576)[0]).toBe('tiled 256×64')
    expect(serving(target, 524288, 16, 144)[0]).toBe('tiled 128×16')
    for (const size of [4, 68, 256, 1000, 4096]) {
      const count = serving(target, size, size, size).length
      expect(count).toBeGreaterThanOrEqual(1)
      expect(count).toBeLessThanOrEqual(2)
    }
  })

  test('none that exceeds the workgroup memory, and none on a software driver', async () => {
    const { target } = await gpuEngine()
    expect(serving({ ...target, maxWorkgroupBytes: 16383 }, 4096, 4096, 4096)[0]).toBe('tiled 128×64')
    expect(serving({ ...target, adapterClass: 'cpu' }, 4096, 4096, 4096)).toEqual([])
  })

  test('the ops use them on a GPU', async () => {
    const gpu = await gpuEngine()
    const kernels = (y: Value): string[] => gpu.plan({ outputs: { y } }).dispatches.map((d) => d.kernel)
    expect(kernels(matmul(input('a', [1024, 512]), input('b', [512, 1024])))).toContain('conv2d_tiled')
    expect(kernels(conv2d(input('x', [64, 16, 16, 64]), input('w', [1, 1, 64, 64])))).toContain('conv2d_tiled')
  })
})
