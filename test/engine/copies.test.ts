/** Large arrays are copied to and from the device in pieces. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { add, constant, input, variable, type Engine } from '../../engine/index.js'
import { engine } from '../support/engine.js'

let gpu: Engine
let usual: number
beforeAll(async () => {
  gpu = await engine()
  usual = gpu.copyBytes
  gpu.copyBytes = 256
})
afterAll(() => {
  gpu.copyBytes = usual
})

const numbers = (length: number, first: number): Float32Array => Float32Array.from({ length }, (_, i) => first + i)

test.each([1, 63, 64, 65, 1000])('%i numbers are written and read whole', async (length) => {
  const values = variable('values', [length], numbers(length, 1))
  expect(await gpu.read(values)).toEqual(numbers(length, 1))
  gpu.write(values, numbers(length, 7))
  expect(await gpu.read(values)).toEqual(numbers(length, 7))
  gpu.release(values)
})

test('inputs, constants and outputs of programs are whole, and later runs do not change what is read', async () => {
  const sums = add(input('x', [300]), constant(numbers(300, 1000)))
  const program = await gpu.compile({ outputs: { sums } })
  const read = []
  for (const first of [0, 5000]) {
    await program.run({ x: numbers(300, first) })
    read.push(program.read('sums'))
  }
  const expected = (first: number) => numbers(300, 0).map((i) => first + 1000 + 2 * i)
  expect(await Promise.all(read)).toEqual([expected(0), expected(5000)])
  program.destroy()
})
