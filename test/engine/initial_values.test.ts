/** Initial values are drawn when a program needs them, and the event loop turns meanwhile. */
import { expect, test } from 'vitest'
import { Arena, add, sum, variable } from '../../engine/index.js'
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
