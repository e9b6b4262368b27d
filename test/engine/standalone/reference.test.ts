/** The reference page of `webgpu-ssl/kernels` is complete, true and up to date. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import * as kernels from '../../../engine/standalone/index.js'
import type { RawKernel, RecordedKernel } from '../../../engine/standalone/index.js'
import { documentedKernels, page, referencePage, runExample } from '../../package/reference.js'
import { classify } from '../../package/reference_example.js'
import { engine } from '../../support/engine.js'

const documented = documentedKernels()
const text = readFileSync(page, 'utf8')

test('every function that the entry exports is on the page', () => {
  const functions = Object.entries(kernels).filter(
    ([, value]) => typeof value === 'function' && !/^class/.test(`${value}`),
  )
  const others = ['fetchKernels', 'useKernelTexts']
  const names = functions.map(([name]) => name).filter((name) => !others.includes(name))
  expect(names.length).toBeGreaterThan(20)
  expect(documented.map(({ name }) => name).sort()).toEqual(names.sort())
  for (const name of names) expect(text).toMatch(new RegExp(`^### ${name}$|\`${name}\\(`, 'm'))
})

test('the page is what the docstrings say now', async () => {
  const { device } = await engine()
  expect(text, 'out of date: run `npm run reference`').toBe(await referencePage(device))
})

describe.each(documented)('$name', ({ name, text: described, example, options }) => {
  test('has a description, options with a meaning, and an example that runs', async () => {
    expect(described).not.toBe('')
    for (const option of options) expect(option.text, option.name).not.toBe('')
    expect(example.startsWith(`${name}(device, `), example).toBe(true)
    const { device } = await engine()
    const made = await runExample<RecordedKernel<string> | RawKernel>(example, device)
    if (!('operands' in made)) return expect(made.source).toContain('@compute')
    device.pushErrorScope('validation')
    const buffers = Object.entries(made.operands).map(([operand, { bytes }]) => {
      return [operand, device.createBuffer({ size: bytes, usage: GPUBufferUsage.STORAGE })] as const
    })
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    made.encode(pass, Object.fromEntries(buffers))
    pass.end()
    device.queue.submit([encoder.finish()])
    expect((await device.popErrorScope())?.message).toBeUndefined()
    for (const [, buffer] of buffers) buffer.destroy()
    made.destroy()
  })
})

test('the long example gives the loss and the gradient of the closed form', async () => {
  const { device } = await engine()
  const { loss, gradient } = await classify(device)
  // The weights are 0, so every class has probability 1/3; the sixth row is left out of the sum.
  expect(loss).toBeCloseTo((5 * Math.log(3)) / 6, 5)
  const labels = [0, 1, 2, 0, 1]
  for (let feature = 0; feature < 5; feature++)
    for (let k = 0; k < 3; k++) {
      const terms = labels.map((label, row) => Math.sin(row * 5 + feature) * (1 / 3 - Number(label === k)))
      expect(gradient[feature * 3 + k]).toBeCloseTo(terms.reduce((a, b) => a + b) / 6, 5)
    }
})
