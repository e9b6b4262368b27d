/** Reading, writing and summing chunks of a Variable, one chunk in each run. */
import { describe, expect, test } from 'vitest'
import {
  accumulate,
  affine,
  Arena,
  input,
  putChunk,
  takeChunk,
  variable,
  type ProgramSpec,
} from '../../../engine/index.js'
import { engine, engineFor } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

const index = () => input('index', [1], 'u32')

describe.each([
  ['at once', {}],
  ['in parts that fit a small binding', { maxBindingBytes: 512 }],
] as const)('chunks %s', (_, limits) => {
  // With 17 columns, chunks start at unaligned offsets. With 64, a binding ends in the middle of a chunk.
  test.each([
    [[6, 17], 2],
    [[6, 5, 3], 3],
    [[12, 64], 3],
    [[4, 1], 4],
    [[40, 8], 20],
  ] as [number[], number][])('of %j by %i rows are taken and put where they belong', async (shape, rows) => {
    const gpu = await engineFor(limits)
    const data = formulaTensor(`chunks/${shape}`, shape)
    const [from, to] = [variable('from', shape, data), variable('to', shape)]
    const y = takeChunk(from, rows, index())
    const program = await gpu.compile({ outputs: { y }, updates: [putChunk(to, affine(y, 2, 1), y.node.inputs[1])] })
    const size = (rows * data.length) / shape[0]
    const expected = new Float32Array(data.length)
    const chunks = Array.from({ length: data.length / size }, (_, i) => i).reverse()
    for (const chunk of chunks) {
      await program.run({ index: Uint32Array.of(chunk) })
      const part = data.subarray(chunk * size, (chunk + 1) * size)
      expect(await program.read('y')).toEqual(part)
      expected.set(
        part.map((v) => 2 * v + 1),
        chunk * size,
      )
      // Earlier chunks stay, and later ones are not written yet.
      expect(await gpu.read(to)).toEqual(expected)
    }
    program.destroy()
    for (const v of [from, to]) gpu.release(v)
  })

  test('index 0 starts a new sum, whatever the total was', async () => {
    const gpu = await engineFor(limits)
    const shapes = [[3, 5], [130], [7, 11, 2]]
    const totals = shapes.map((shape, i) => variable(`total ${i}`, shape))
    new Arena(totals)
    const alone = variable('alone', [9])
    const values = [...totals, alone].map(({ shape }, i) => affine(input(`value ${i}`, shape), 3, 0))
    const program = await gpu.compile({ updates: accumulate([...totals, alone], values, index()) })
    for (const v of [...totals, alone]) gpu.write(v, new Float32Array(v.size).fill(NaN))
    const data = [...totals, alone].map(({ shape }, i) =>
      [0, 1, 2].map((run) => formulaTensor(`sums/${i}/${run}`, shape)),
    )
    for (const round of [1, 2]) {
      for (const run of [0, 1, 2])
        await program.run({
          index: Uint32Array.of(run),
          ...Object.fromEntries(data.map((runs, i) => [`value ${i}`, runs[run].map((v) => round * v)])),
        })
      for (const [i, v] of [...totals, alone].entries()) {
        const [a, b, c] = data[i].map((d) => d.map((n) => Math.fround(3 * Math.fround(round * n))))
        expect(await gpu.read(v)).toEqual(a.map((_, j) => Math.fround(Math.fround(a[j] + b[j]) + c[j])))
      }
    }
    program.destroy()
    for (const v of [totals[0], alone]) gpu.release(v)
  })
})

test('totals of a whole arena take one dispatch; totals of a part of it leave the rest unchanged', async () => {
  const gpu = await engine()
  const totals = [[3, 5], [130], [7]].map((shape, i) => variable(`total ${i}`, shape))
  new Arena(totals)
  const spec = (some: typeof totals): ProgramSpec => ({
    updates: accumulate(
      some,
      some.map(({ shape }, i) => affine(input(`value ${i}`, shape), 1, 0)),
      index(),
    ),
  })
  const kernels = (some: typeof totals) => gpu.plan(spec(some)).dispatches.map((d) => d.kernel)
  expect(kernels(totals).filter((k) => k === 'accumulate')).toHaveLength(1)
  expect(kernels([totals[0], totals[2]]).filter((k) => k === 'accumulate')).toHaveLength(2)
  expect(kernels(totals)).not.toContain('copy')
})

test('shape errors name the op and the shapes', () => {
  const x = variable('x', [6, 4])
  expect(() => takeChunk(x, 4, index())).toThrow(
    'takeChunk: chunks of 4 rows do not divide the first dimension of [6, 4]',
  )
  expect(() => takeChunk(x, 2, input('index', [1]))).toThrow('takeChunk: index [1] f32 must be one u32')
  expect(() => putChunk(x, input('z', [2, 5]), index())).toThrow('putChunk: rows of [2, 5] do not fit into [6, 4]')
  expect(() => putChunk(x, input('z', [4, 4]), index())).toThrow('putChunk: chunks of 4 rows')
  expect(() => accumulate([x], [input('z', [5])], index())).toThrow("accumulate: 'x' [6, 4] cannot add [5]")
  expect(() => accumulate([x], [], index())).toThrow('accumulate: 0 values for 1 totals')
})
