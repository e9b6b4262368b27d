/** ResNets against torchvision: features in eval and train mode, gradients, running statistics. */
import { describe, expect, test } from 'vitest'
import { gradients, initialOf, input, multiply, sum, type Assignment, type Value } from '../../engine/index.js'
import { architectures, resnet, type Architecture, type Stem } from '../../models/index.js'
import { toTorch } from '../../models/state_dict.js'
import { expectClose } from '../support/check.js'
import { engine } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'
import { readGoldens, readJson } from '../support/goldens.js'
import { fillByFormula, withZeroChannel } from '../support/networks.js'

interface Case {
  name: string
  arch: Architecture
  stem: Stem
  width: number
  input: number[]
  output: number[]
}

const values = readGoldens('resnets.safetensors')
const golden = (name: string): Float32Array => values.get(name)!.data

describe('torchvision', () => {
  test.each(readJson<Case[]>('resnets.json').map((c) => [c.name, c] as const))(
    '%s',
    async (name, { arch, stem, width, input: shape, output }) => {
      const gpu = await engine()
      const net = resnet({ arch, stem, width })
      fillByFormula(gpu, net.dict)
      const x = input('x', [...shape.slice(0, 3), 4])
      const inputs = { x: withZeroChannel(formulaTensor(`${name}/x`, shape)), r: formulaTensor(`${name}/r`, output) }

      const evaluation = await gpu.compile({ outputs: { y: net.forward(x, { training: false }) } })
      await evaluation.run({ x: inputs.x })
      expectClose('features in eval mode', await evaluation.read('y'), golden(`${name}/eval`), 1e-4)
      evaluation.destroy()

      const updates: Assignment[] = []
      const y = net.forward(x, { training: true, updates })
      expect(y.shape).toEqual(output)
      // The golden file holds the gradients of a few parameters, the first and the last among them.
      const prefix = `${name}/grad/`
      const names = [...values.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length))
      expect(names.length).toBeGreaterThan(3)
      const wanted = names.map((key) => net.dict.entries.get(key)!)
      const outputs: Record<string, Value> = { y }
      gradients(
        sum(multiply(y, input('r', output))),
        wanted.map((e) => e.variable),
      ).forEach((g, i) => (outputs[names[i]] = g))
      const training = await gpu.compile({ outputs, updates })
      await training.run(inputs)
      expectClose('features in train mode', await training.read('y'), golden(`${name}/train`), 1e-4)
      for (const [i, key] of names.entries())
        expectClose(`gradient in ${key}`, toTorch(wanted[i], await training.read(key)), golden(prefix + key), 1e-3)
      training.destroy()

      const after = `${name}/after/`
      for (const key of [...values.keys()].filter((k) => k.startsWith(after)))
        expectClose(key, await gpu.read(net.dict.entries.get(key.slice(after.length))!.variable), golden(key), 1e-4)
      for (const variable of net.dict.variables) gpu.release(variable)
    },
  )
})

describe('resnet', () => {
  test('takes any base width: 6 channels compute the same as 8 channels with two zero ones', async () => {
    const gpu = await engine()
    const x = input('x', [2, 8, 8, 4])
    const [narrow, wide] = [6, 8].map((width) => resnet({ arch: 'resnet18', width }))
    fillByFormula(gpu, narrow.dict)
    for (const [name, { variable }] of wide.dict.entries) {
      const small = narrow.dict.entries.get(name)!.variable
      // Channels grow from 6·2ˢ to 8·2ˢ, except the input of the stem. The added channels are zero and stay zero.
      const data = await gpu.read(small)
      const out = new Float32Array(variable.size)
      const [from, to] = [small.shape, variable.shape]
      data.forEach((value, i) => {
        const o = i % from[from.length - 1]
        const c = from.length === 4 ? Math.floor(i / from[3]) % from[2] : 0
        const tap = from.length === 4 ? Math.floor(i / from[3] / from[2]) : 0
        out[from.length === 4 ? (tap * to[2] + c) * to[3] + o : o] = value
      })
      gpu.write(variable, out)
    }
    const read = async (net: typeof narrow) => {
      const program = await gpu.compile({ outputs: { y: net.forward(x, { training: false }) } })
      await program.run({ x: withZeroChannel(formulaTensor('any width', [2, 8, 8, 3])) })
      const y = await program.read('y')
      program.destroy()
      return y
    }
    const [a, b] = [await read(narrow), await read(wide)]
    const kept = b.filter((_, i) => i % wide.features < narrow.features)
    expect(Math.max(...a.map(Math.abs))).toBeGreaterThan(0.01)
    expectClose('features', a, kept, 1e-5)
    expect(() => resnet({ arch: 'resnet18', width: 0 })).toThrow('width 0 must be a whole number of at least 1')
    for (const net of [narrow, wide]) for (const variable of net.dict.variables) gpu.release(variable)
  })

  test('has as many parameters as in torchvision without the classifier', () => {
    const count = (arch: Architecture) => resnet({ arch, stem: 'imagenet' }).dict.parameterCount
    expect(count('resnet18')).toBe(11_689_512 - 513 * 1000)
    expect(count('resnet34')).toBe(21_797_672 - 513 * 1000)
    expect(count('resnet50')).toBe(25_557_032 - 2049 * 1000)
  })

  test('features are 8 or 32 times the width', () => {
    for (const arch of Object.keys(architectures) as Architecture[])
      expect(resnet({ arch, width: 8 }).features).toBe(arch === 'resnet50' ? 256 : 64)
  })

  test('zeroInitResidual sets only the last scale of every block to 0', () => {
    for (const [arch, last, blocks] of [
      ['resnet18', 'bn2', 8],
      ['resnet50', 'bn3', 16],
    ] as const) {
      const zeros = [...resnet({ arch, width: 8, zeroInitResidual: true }).dict.entries]
        .filter(([name]) => /bn\d\.weight$|downsample\.1\.weight$/.test(name))
        .filter(([, { variable }]) => [...initialOf(variable)].every((v) => v === 0))
        .map(([name]) => name)
      expect(zeros).toHaveLength(blocks)
      for (const name of zeros) expect(name).toMatch(new RegExp(`^layer\\d\\.\\d\\.${last}\\.weight$`))
    }
  })

  test('invalid options are errors in one line', () => {
    expect(() => resnet({ arch: 'resnet18', width: 0 })).toThrow(/width 0/)
    expect(() => resnet({ arch: 'resnet99' as Architecture })).toThrow(/resnet99.*resnet18/)
  })
})
