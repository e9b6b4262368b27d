/** Moving averages of Variables, against the closed form. */
import { describe, expect, test } from 'vitest'
import { Arena, ema, input, sgd, variable, type Variable } from '../../../engine/index.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

const shapes = { a: [3, 5], b: [130], c: [1], d: [3, 3, 5, 17] }
const names = Object.keys(shapes) as (keyof typeof shapes)[]
const make = (what: string): Variable[] =>
  names.map((name) => variable(`${what}.${name}`, shapes[name], formulaTensor(`ema/${what}/${name}`, shapes[name])))
const start = (what: string, name: keyof typeof shapes): Float64Array =>
  Float64Array.from(formulaTensor(`ema/${what}/${name}`, shapes[name]))

describe.each([
  ['in arenas', true],
  ['apart', false],
] as const)('%s', (_, arena) => {
  test('of Variables, at changing rates', async () => {
    const gpu = await engine()
    const [averages, values] = [make('average'), make('value')]
    if (arena) for (const list of [averages, values]) new Arena(list)
    const program = await gpu.compile({ updates: ema(averages, values, input('rate', [1])) })
    expect(program.dispatches).toBe(arena ? 1 : names.length)
    const rates = [0.9, 0.99, 1]
    for (const rate of rates) await program.run({ rate: Float32Array.of(rate) })
    for (const [i, name] of names.entries()) {
      const value = start('value', name)
      const expected = start('average', name).map((a, j) =>
        rates.map(Math.fround).reduce((average, r) => r * average + (1 - r) * value[j], a),
      )
      expectClose(name, await gpu.read(averages[i]), expected, 1e-6)
      expect(await gpu.read(values[i]), 'what is averaged stays').toEqual(Float32Array.from(value))
    }
    await program.run({ rate: Float32Array.of(0) })
    for (const [i] of names.entries()) expect(await gpu.read(averages[i])).toEqual(await gpu.read(values[i]))
    program.destroy()
    for (const v of [...averages, ...values]) gpu.release(v)
  })

  test('of weights that the same program updates', async () => {
    const gpu = await engine()
    const [averages, weights] = [make('average'), make('value')]
    if (arena) for (const list of [averages, weights]) new Arena(list)
    const optimizer = sgd(weights)
    const gradients = names.map((name) => input(`gradient ${name}`, shapes[name]))
    const steps = optimizer.updates(gradients, input('rate', [1]))
    const after = steps.slice(0, names.length).map(({ value }) => value)
    const program = await gpu.compile({ updates: [...steps, ...ema(averages, after, input('ema rate', [1]))] })
    const gradient = (name: keyof typeof shapes) => formulaTensor(`ema/gradient/${name}`, shapes[name])
    for (let step = 0; step < 2; step++)
      await program.run({
        rate: Float32Array.of(0.5),
        'ema rate': Float32Array.of(0.75),
        ...Object.fromEntries(names.map((name) => [`gradient ${name}`, gradient(name)])),
      })
    for (const [i, name] of names.entries()) {
      const g = gradient(name)
      const average = start('average', name)
      const weight = start('value', name)
      for (let step = 0; step < 2; step++)
        for (let j = 0; j < g.length; j++) {
          weight[j] -= 0.5 * g[j]
          average[j] = 0.75 * average[j] + 0.25 * weight[j]
        }
      expectClose(`weight ${name}`, await gpu.read(weights[i]), weight, 1e-6)
      expectClose(`average ${name}`, await gpu.read(averages[i]), average, 1e-6)
    }
    program.destroy()
    for (const v of [...averages, ...weights, ...optimizer.state]) gpu.release(v)
  })
})

test('errors name the average and the sizes', () => {
  const [a, b] = [variable('a', [3]), variable('b', [4])]
  expect(() => ema([a], [b], input('rate', [1]))).toThrow("ema: 'a' [3] cannot average [4]")
  expect(() => ema([a], [], input('rate', [1]))).toThrow('ema: 0 values for 1 averages')
  expect(() => ema([a], [a], input('rate', [2]))).toThrow(/ema: the rate must be a scalar, not \[2\]/)
})
