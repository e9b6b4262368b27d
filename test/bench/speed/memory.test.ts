/** Large steps fit into the memory of large GPUs. Plans need no device. */
import { expect, test } from 'vitest'
import { largeGpu, memoryCases, memoryMarkdown, planMemory } from '../../../bench/speed/memory.js'

test('8 views of 512 images fit: ResNet-18 and -50 in f16 whole, ResNet-50 on large pictures in parts', () => {
  const results = planMemory()
  for (const { within, bytes, ...step } of results)
    if (within) expect(bytes, JSON.stringify(step)).toBeLessThan(within * 1e9)
  const whole = results.filter(({ pixels, viewChunk, accumulate }) => pixels === 32 && !viewChunk && !accumulate)
  expect(whole.filter(({ precision, within }) => precision === 'f16' && within === 80)).toHaveLength(2)
  for (const within of [80, 16])
    expect(results.some((one) => one.arch === 'resnet50' && one.pixels === 224 && one.within === within)).toBe(true)
  expect(memoryMarkdown(results)).toContain('| ResNet-50, f16, 224 px | 16 micro-batches of 32 images |')
})

test('buffers of 4 GiB cost no memory: tensors that are larger are cut', () => {
  const large = memoryCases.filter(({ arch, within }) => arch === 'resnet50' && !within)
  expect(large).toHaveLength(2)
  const [cut, whole] = [largeGpu, { ...largeGpu, maxBufferBytes: 2 ** 40 }].map((target) => planMemory(target, large))
  cut.forEach(({ bytes }, i) => expect(bytes / whole[i].bytes).toBeLessThan(1.02))
})
