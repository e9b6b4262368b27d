/** What is larger than a binding is cut: partial sums with the same result, and whole training steps as plans. */
import { describe, expect, test } from 'vitest'
import { conv2d, globalAveragePool, gradients, input, multiply, sum, type Target } from '../../engine/index.js'
import { KernelLibrary } from '../../engine/kernel.js'
import { lower } from '../../engine/lower.js'
import { kernelTexts } from '../../engine/kernel_texts.js'
import { deviceImages } from '../../train/augment/views.js'
import { resolveConfig, type PretrainConfig } from '../../train/config/config.js'
import { buildNetwork } from '../../train/step/network.js'
import { describeStep } from '../../train/step/whole.js'
import { expectClose } from '../support/check.js'
import { engineFor } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'

test('rows that can only be bound together are named with their number', async () => {
  const small = await engineFor({ maxBindingBytes: 8192 })
  const planned = (shape: number[]) => () => small.plan({ outputs: { y: globalAveragePool(input('x', shape)) } })
  // Rows of 1300 bytes begin at a multiple of 256 bytes again after 64 of them.
  expect(planned([20, 5, 5, 13])).toThrow(/^sum: 64 rows of 1300 bytes, bound together, are over .* of 8192 bytes: use/)
  expect(planned([3, 32, 5, 16])).toThrow(/^sum: a row of 10240 bytes is over .* of 8192 bytes: use/)
})

describe('partial sums over a binding', () => {
  const [images, size, c, o] = [64, 8, 16, 16]
  const x = formulaTensor('binding_limit/x', [images, size, size, c])
  const dy = formulaTensor('binding_limit/dy', [images, size, size, o])

  /** dw of a 3×3 convolution of padding 1, in f64 by its definition. */
  function reference(): Float64Array {
    const dw = new Float64Array(9 * c * o)
    const at = (n: number, i: number, j: number, channels: number) => ((n * size + i) * size + j) * channels
    for (let n = 0; n < images; n++)
      for (let i = 0; i < size; i++)
        for (let j = 0; j < size; j++)
          for (let tap = 0; tap < 9; tap++) {
            const [y, z] = [i + Math.floor(tap / 3) - 1, j + (tap % 3) - 1]
            if (Math.min(y, z) < 0 || Math.max(y, z) >= size) continue
            for (let k = 0; k < c; k++)
              for (let l = 0; l < o; l++) dw[(tap * c + k) * o + l] += x[at(n, y, z, c) + k] * dy[at(n, i, j, o) + l]
          }
    return dw
  }

  async function weightGradient(target: Partial<Target>, variant: string) {
    const gpu = await engineFor(target)
    Object.defineProperty(gpu, 'variants', { value: { get: () => variant, has: () => true } })
    const w = input('w', [3, 3, c, o])
    const y = conv2d(input('x', [images, size, size, c]), w, { padding: 1 })
    const [dw] = gradients(sum(multiply(y, input('dy', y.shape))), [w])
    const program = await gpu.compile({ outputs: { dw } })
    await program.run({ x, dy })
    const numbers = await program.read('dw')
    const kernels = program.plan.dispatches.filter((d) => d.op === 'conv2dWeightGradient').map((d) => d.kernel)
    program.destroy()
    return { numbers, kernels }
  }

  // dw takes 9 KiB, or 36 KiB in the tiles of Winograd. The first limit holds several of them, the second one or two.
  test.each([
    ['register', 'conv2d_weight_gradient', 64, 'reduce4'],
    ['register', 'conv2d_weight_gradient', 16, 'binary'],
    ['tiled 64×64', 'conv2d_weight_gradient_tiled', 32, 'reduce4'],
    ['winograd', 'winograd_weights', 128, 'reduce4'],
    ['winograd', 'winograd_weights', 64, 'binary'],
  ])('%s (%s), bindings of %i KiB', async (variant, kernel, kibibytes, adding) => {
    const limit = kibibytes * 1024
    const { numbers, kernels } = await weightGradient({ adapterClass: 'gpu', maxBindingBytes: limit }, variant)
    expect(kernels).toContain(kernel)
    expect(kernels.filter((k) => k === adding).length).toBeGreaterThan(1)
    expectClose('dw', numbers, reference(), 1e-5)
  })

  test('the order of a cut sum is the order of the whole one: the bits are equal', async () => {
    // 6400 rows of 1 KiB are 100 splits of 64 rows, and 64 KiB hold 64 of the partial sums.
    const total = async (target: Partial<Target>) => {
      const gpu = await engineFor({ adapterClass: 'gpu', ...target })
      const program = await gpu.compile({ outputs: { y: sum(input('a', [6400, 256]), [0]) } })
      await program.run({ a: formulaTensor('binding_limit/a', [6400, 256]) })
      const y = await program.read('y')
      const { dispatches } = program
      program.destroy()
      return { y, dispatches }
    }
    const whole = await total({})
    const cut = await total({ maxBindingBytes: 64 * 1024 })
    expect(whole.dispatches).toBe(2)
    expect(cut.dispatches).toBe(100 + 2)
    expect(cut.y).toEqual(whole.y)
  })
})

describe('training steps at the sizes of ImageNet, with bindings of 128 MiB and buffers of 4 GiB', () => {
  const library = new KernelLibrary(kernelTexts)
  const cpu: Target = {
    adapterClass: 'cpu',
    maxBindingBytes: 128 * 2 ** 20,
    maxBufferBytes: 2 ** 32,
    maxWorkgroupsPerDimension: 65535,
    subgroups: true,
    f16: false,
    subgroupMatrix: false,
    subgroupSize: [8, 8],
    subgroupSizeControl: false,
    maxInvocations: 1024,
    maxWorkgroupBytes: 32768,
  }
  const gpu: Target = { ...cpu, adapterClass: 'gpu', f16: true, subgroupMatrix: true, subgroupSize: [32, 32] }

  const plan = (target: Target, options: Partial<PretrainConfig>, variant?: string) => {
    const config = resolveConfig({ stem: 'imagenet', batch: 64, views: 4, augmentation: { size: 224 }, ...options })
    const { batch } = config
    const data = { count: batch, height: 224, width: 224, images: new Uint8Array(batch * 224 * 224 * 3) }
    const { spec } = describeStep(deviceImages(data, target.maxBindingBytes), buildNetwork(config), config)
    return lower(spec, { target, library, ...(variant && { variants: { get: () => variant } }) })
  }

  const options: Record<string, Partial<PretrainConfig>> = {
    'ResNet-50, 64 images × 4 views': { arch: 'resnet50' },
    'ResNet-18, 256 images × 4 views': { arch: 'resnet18', batch: 256 },
    'ResNet-18 of width 128': { arch: 'resnet18', width: 128 },
    'ResNet-18 with the stem for small images': { arch: 'resnet18', stem: 'cifar' },
  }
  const plans: [Target, string?][] = [[cpu], [cpu, 'register'], [gpu], [gpu, 'register'], [gpu, 'tiled 128×128']]

  test.each(Object.keys(options))('%s', (name) => {
    for (const [target, variant] of plans) {
      const { dispatches, memory } = plan(target, options[name], variant)
      const largest = Math.max(...dispatches.flatMap((d) => d.bindings.map(({ bytes }) => bytes)))
      expect(largest).toBeLessThanOrEqual(target.maxBindingBytes)
      expect(memory.pool[0]).toBeLessThanOrEqual(target.maxBufferBytes)
    }
  })

  test('in f16, on matrix units', () => {
    expect(plan(gpu, { arch: 'resnet50', precision: 'f16' }).memory.peakBytes).toBeLessThan(12 * 2 ** 30)
  })

  test('an activation that is larger than the largest buffer lies in several', () => {
    // The output of a convolution, [256, 224, 224, 256], takes 12544 MiB.
    const { memory } = plan(cpu, { arch: 'resnet50', stem: 'cifar' })
    expect(Math.max(...memory.pool)).toBeLessThanOrEqual(cpu.maxBufferBytes)
  })

  test('what cannot be cut is named, with the remedy', () => {
    const wide = conv2d(input('y', [1, 64, 64, 4096]), input('w', [3, 3, 4096, 4096]), { padding: 1 })
    expect(() => lower({ outputs: { wide } }, { target: cpu, library })).toThrow(
      /^conv2d \(conv2d_row\): 'w', the input 'w', binds 576 MiB, over the adapter's limit of 128 MiB for a binding: use .* narrower network$/,
    )
  })
})
