/** Initial values are drawn when a program needs them, and the event loop turns meanwhile. */
import { expect, test } from 'vitest'
import { Arena, add, initialOf, sum, variable } from '../../engine/index.js'
import { engine } from '../support/engine.js'

const SIZE = 70_000

test.each([false, true])(
  'timers run between the initial values of two large Variables; in one arena: %s',
  async (one) => {
    const gpu = await engine()
    const seen: string[] = []
    const drawn = (name: string, value: number) => () => {
      seen.push(name)
      setTimeout(() => seen.push('timer'), 0)
      return new Float32Array(SIZE).fill(value)
    }
    const [a, b] = [variable('a', [SIZE], drawn('a', 1)), variable('b', [SIZE], drawn('b', 2))]
    if (one) new Arena([a, b])
    const program = await gpu.compile({ outputs: { total: sum(add(a, b)) } })
    await program.run()
    expect((await program.read('total'))[0]).toBe(3 * SIZE)
    expect(seen.slice(0, 3)).toEqual(['a', 'timer', 'b'])
    program.destroy()
    for (const v of [a, b]) gpu.release(v)
  },
)

test('values that are drawn in parts: timers run between the parts, and progress counts all Variables', async () => {
  const gpu = await engine()
  const seen: string[] = []
  const drawn = (value: number) =>
    function* () {
      const data = new Float32Array(4)
      for (let i = 0; i < 4; i++) {
        data[i] = value + i
        if (i === 1) {
          setTimeout(() => seen.push('timer'), 0)
          yield 2
        }
      }
      return data
    }
  const [a, b, alone] = [1, 10, 100].map((value, i) => variable(`drawn ${i}`, [4], drawn(value)))
  new Arena([a, b])
  const outputs = { total: add(add(a, b), alone) }
  const program = await gpu.compile({ outputs }, (done, total, of) => {
    if (of === 'initial values') seen.push(`${done}/${total}`)
  })
  expect(seen).toEqual(['2/12', 'timer', '6/12', 'timer', '8/12', 'timer'])
  await program.run()
  expect([...(await program.read('total'))]).toEqual([111, 114, 117, 120])
  expect([...initialOf(b)]).toEqual([10, 11, 12, 13])
  program.destroy()
  for (const v of [a, b, alone]) gpu.release(v)
})
