/** Rows, shapes and storage: no arithmetic, so the results are exact. */
import fc from 'fast-check'
import * as b from '../bounded.js'
import {
  constantTensor,
  differentiable,
  draw,
  expect,
  family,
  halves,
  numbers,
  plain,
  shape,
  size,
  toBounded,
  type Case,
  type Family,
} from '../case.js'
import { ops } from '../ops.js'

const rowOf = (dims: readonly number[]): number => dims.slice(1).reduce((p, q) => p * q, 1)

const reshape = family({
  name: 'reshape',
  drawn: fc.record({ dims: shape(1, 5), half: halves, numbers }),
  half: ({ half }) => half,
  make: ({ dims, half, numbers: given }) => {
    const to = [...dims].reverse()
    return differentiable({
      inputs: { x: draw(given, 'x', dims, half) },
      build: ({ x }) => ops.reshape(x, to),
      reference: ({ x }) => b.tensor(to, x.data),
      ...(half && { half: ['x'] }),
      seed: given.seed,
    })
  },
})

/** Shares in 0 … 1 that choose rows. */
const share = fc.double({ min: 0, max: 1, noNaN: true })

const sliceRows = family({
  name: 'sliceRows',
  drawn: fc.record({ dims: shape(1, 4), at: share, count: share, half: halves, numbers }),
  half: ({ half }) => half,
  make: ({ dims, at, count, half, numbers: given }) => {
    const start = Math.floor(at * (dims[0] - 1))
    const rows = 1 + Math.floor(count * (dims[0] - start - 1))
    const row = rowOf(dims)
    return differentiable({
      inputs: { x: draw(given, 'x', dims, half) },
      build: ({ x }) => ops.sliceRows(x, start, rows),
      reference: ({ x }) => b.tensor([rows, ...dims.slice(1)], x.data.slice(start * row, (start + rows) * row)),
      ...(half && { half: ['x'] }),
      seed: given.seed,
    })
  },
})

const placeRows = family({
  name: 'placeRows',
  drawn: fc.record({ dims: shape(1, 4), before: size(9), after: size(9), half: halves, numbers }),
  half: ({ half }) => half,
  make: ({ dims, before, after, half, numbers: given }) => {
    const rows = before - 1 + dims[0] + after - 1
    const row = rowOf(dims)
    const zeros = (n: number): b.Bounded[] => Array.from({ length: n * row }, () => b.exact(0))
    return differentiable({
      inputs: { x: draw(given, 'x', dims, half) },
      build: ({ x }) => ops.placeRows(x, rows, before - 1),
      reference: ({ x }) => b.tensor([rows, ...dims.slice(1)], [...zeros(before - 1), ...x.data, ...zeros(after - 1)]),
      ...(half && { half: ['x'] }),
      seed: given.seed,
    })
  },
})

/** x + stopped(x) · x: only the first and the last x have a gradient. */
const stopGradient = family({
  name: 'stopGradient',
  drawn: fc.record({ dims: shape(1, 4), numbers }),
  make: ({ dims, numbers: given }) =>
    differentiable({
      inputs: { x: draw(given, 'x', dims) },
      build: ({ x }) => ops.add(x, ops.multiply(ops.stopGradient(x), x)),
      reference: ({ x }) => b.map(x, (v) => b.add(v, b.multiply(b.stopped(v), v))),
      seed: given.seed,
    }),
})

const filled = family({
  name: 'filled',
  drawn: fc.record({ dims: shape(1, 4), value: fc.constantFrom(0, 1, -2.5), numbers }),
  make: ({ dims, value, numbers: given }) =>
    plain(
      { x: draw(given, 'x', dims) },
      ({ x }) => ops.add(x, ops.filled(dims, value)),
      ({ x }) => b.map(x, (v) => b.add(v, b.exact(value))),
    ),
})

/** Numbers that f16 does not represent, to f16 and back. */
const cast = family({
  name: 'cast',
  drawn: fc.record({ dims: shape(1, 4), numbers }),
  half: () => true,
  make: ({ dims, numbers: given }) =>
    differentiable({
      inputs: { x: draw(given, 'x', dims) },
      build: ({ x }) => ops.cast(ops.cast(x, 'f16'), 'f32'),
      reference: ({ x }) => b.map(x, (v) => b.stored(b.gradientStored(v))),
      seed: given.seed,
    }),
})

const gather = family({
  name: 'gather',
  drawn: fc.record({
    entries: size(67),
    columns: size(67),
    picks: fc.array(share, { minLength: 1, maxLength: 40 }),
    numbers,
  }),
  make: ({ entries, columns, picks, numbers: given }) => {
    const index = Uint32Array.from(picks, (p) => Math.min(entries - 1, Math.floor(p * entries)))
    return differentiable({
      inputs: { table: draw(given, 'table', [entries, columns]) },
      fixed: { index: { shape: [index.length], data: index } },
      build: (v) => ops.gather(v.table, v.index),
      reference: ({ table }) =>
        b.tensor(
          [index.length, columns],
          [...index].flatMap((k) => table.data.slice(k * columns, (k + 1) * columns)),
        ),
      seed: given.seed,
    })
  },
})

const chunked = fc.record({
  rows: size(9),
  chunks: size(5),
  inner: shape(0, 2, 200),
  at: share,
  numbers,
})

const takeChunk = family({
  name: 'takeChunk',
  drawn: chunked,
  make: ({ rows, chunks, inner, at, numbers: given }) => {
    const index = Math.floor(at * (chunks - 1))
    const row = rowOf([1, ...inner])
    return plain(
      {
        x: draw(given, 'x', [rows * chunks, ...inner]),
        index: { shape: [1], data: Uint32Array.of(index) },
      },
      (v) => ops.takeChunk(v.x, rows, v.index),
      ({ x }) => b.tensor([rows, ...inner], x.data.slice(index * rows * row, (index + 1) * rows * row)),
    )
  },
})

const putChunk = family({
  name: 'putChunk',
  drawn: chunked,
  make: ({ rows, chunks, inner, at, numbers: given }): Case => {
    const index = Math.floor(at * (chunks - 1))
    const row = rowOf([1, ...inner])
    const before = draw(given, 'before', [rows * chunks, ...inner])
    const chunk = draw(given, 'chunk', [rows, ...inner])
    return {
      inputs: { chunk, index: { shape: [1], data: Uint32Array.of(index) } },
      graph: (v) => {
        const target = ops.variable('target', before.shape, before.data)
        return { updates: [ops.putChunk(target, v.chunk, v.index)], variables: { target } }
      },
      expected: () => {
        const data = [...toBounded(before).data]
        data.splice(index * rows * row, chunk.data.length, ...toBounded(chunk).data)
        return { target: expect(b.tensor(before.shape, data)) }
      },
    }
  },
})

/** Totals in an arena, or not, to which a run adds. */
const accumulate = family({
  name: 'accumulate',
  drawn: fc.record({
    shapes: fc.array(shape(1, 3, 400), { minLength: 1, maxLength: 4 }),
    arena: fc.boolean(),
    index: fc.nat(2),
    numbers,
  }),
  make: ({ shapes, arena, index, numbers: given }): Case => {
    const before = shapes.map((dims, i) => draw(given, `total ${i}`, dims))
    const values = shapes.map((dims, i) => draw(given, `value ${i}`, dims))
    return {
      inputs: {
        ...Object.fromEntries(values.map((v, i) => [`value ${i}`, v])),
        index: { shape: [1], data: Uint32Array.of(index) },
      },
      graph: (v) => {
        const totals = before.map(({ shape: dims, data }, i) => ops.variable(`total ${i}`, dims, data))
        if (arena) new ops.Arena(totals)
        // Values that the program computes may be moved beside each other; inputs may not.
        const list = shapes.map((_, i) => (i % 2 ? v[`value ${i}`] : ops.scale(v[`value ${i}`], 1)))
        return {
          updates: ops.accumulate(totals, list, v.index),
          variables: Object.fromEntries(totals.map((t, i) => [`total ${i}`, t])),
        }
      },
      expected: () =>
        Object.fromEntries(
          shapes.map((dims, i) => {
            const value = toBounded(values[i])
            const total = index === 0 ? constantTensor(dims, 0) : toBounded(before[i])
            return [`total ${i}`, expect(b.map(value, (v, k) => (index === 0 ? v : b.add(v, total.data[k]))))]
          }),
        ),
    }
  },
})

export const layout: readonly Family[] = [
  ...[reshape, sliceRows, placeRows, stopGradient, filled, cast, gather],
  ...[takeChunk, putChunk, accumulate],
]
