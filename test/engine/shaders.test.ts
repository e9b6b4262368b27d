import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { Kernel, kernelTexts } from '../../engine/index.js'
import { engine } from '../support/engine.js'

const folder = new URL('../../shaders/', import.meta.url)
const files = readdirSync(folder).filter((file) => file.endsWith('.wgsl'))
const text = (file: string): string => readFileSync(new URL(file, folder), 'utf8')

test('kernelTexts holds the text of every file in shaders/', () => {
  expect(kernelTexts).toEqual(Object.fromEntries(files.map((file) => [file.slice(0, -'.wgsl'.length), text(file)])))
})

describe.each(files)('%s', (file) => {
  test('compiles as shipped', async ({ skip }) => {
    const { device } = await engine()
    const needed = /^enable ([\w, ]+);$/m.exec(text(file))?.[1].split(/, */) ?? []
    const names: Record<string, GPUFeatureName> = {
      subgroups: 'subgroups',
      f16: 'shader-f16',
      chromium_experimental_subgroup_matrix: 'chromium-experimental-subgroup-matrix' as GPUFeatureName,
    }
    const missing = needed.filter((feature) => !device.features.has(names[feature]))
    skip(missing.length > 0, `the adapter has no ${missing.join(', ')}`)
    device.pushErrorScope('validation')
    const module = device.createShaderModule({ code: text(file), label: file })
    const { messages } = await module.getCompilationInfo()
    expect(
      messages.filter(({ type }) => type === 'error').map(({ lineNum, message }) => `${lineNum}: ${message}`),
    ).toEqual([])
    device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } })
    expect((await device.popErrorScope())?.message).toBeUndefined()
  })

  test('begins with its name, what it computes, and the shapes', () => {
    const comment = /^(\/\/[^\n]*\n)+/.exec(text(file))?.[0] ?? ''
    const [first] = comment.split('\n')
    expect(first.startsWith(`// ${file}: `), first).toBe(true)
    expect(first.length).toBeGreaterThan(`// ${file}: `.length + 15)
    // There is a formula, or an assignment in place.
    expect(comment).toMatch(/=|←/)
    const { storageBindings } = new Kernel(file, text(file))
    const spoken = comment.match(/\w+/g)
    expect(spoken, 'names a buffer').toEqual(
      expect.arrayContaining([
        expect.stringMatching(new RegExp(`^(${storageBindings.map(({ name }) => name).join('|')})$`)),
      ]),
    )
  })
})
