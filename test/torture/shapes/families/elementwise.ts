/** Elementwise functions, broadcasting, and sums and means over axes. */
import fc from 'fast-check'
import type { Value } from '../../../../engine/index.js'
import * as b from '../bounded.js'
import {
  differentiable,
  draw,
  drawPositive,
  family,
  halves,
  numbers,
  shape,
  type Family,
  type Given,
  type Numbers,
} from '../case.js'
import { ops } from '../ops.js'

type Unary = 'affine' | 'scale' | 'relu' | 'square' | 'sqrt' | 'exp' | 'log' | 'sin' | 'cos'

const unaryReference: Record<Unary, (x: b.Bounded, factor: number, offset: number) => b.Bounded> = {
  affine: (x, factor, offset) => b.add(b.multiply(b.rounded(factor), x), b.rounded(offset)),
  scale: (x, factor) => b.multiply(b.rounded(factor), x),
  relu: b.relu,
  square: b.square,
  sqrt: b.sqrt,
  exp: b.exp,
  log: b.log,
  sin: b.sin,
  cos: b.cos,
}

/** Results of f16 and their gradients are stored after each of a few operations. */
const STORES = 4

const unary = (name: Unary): Family =>
  family({
    name,
    drawn: fc.record({ dims: shape(1, 5), half: halves, factor: fc.constantFrom(1, -1, 0.1, 3), numbers }),
    half: ({ half }) => half,
    make: ({ dims, half, factor, numbers: given }) => {
      const positive = name === 'sqrt' || name === 'log'
      // eˣ of about 20 is too large for f16.
      const kind = name === 'exp' && given.kind === 'offset' ? 'normal' : given.kind
      const x = (positive ? drawPositive : draw)({ ...given, kind }, 'x', dims, half)
      const bounded =
        name === 'exp' ? { ...x, data: (x.data as Float32Array).map((v) => (Math.abs(v) > 8 ? v / 16 : v)) } : x
      return differentiable({
        inputs: { x: bounded },
        build: ({ x: v }) =>
          name === 'affine' ? ops.affine(v, factor, 0.3) : name === 'scale' ? ops.scale(v, factor) : ops[name](v),
        reference: ({ x: v }) => b.map(v, (t) => unaryReference[name](t, factor, 0.3)),
        ...(half && { half: ['x'], times: STORES }),
        seed: given.seed,
      })
    },
  })

type Binary = 'add' | 'subtract' | 'multiply' | 'divide' | 'multiplyWhere'

const binaryReference: Record<Binary, (x: b.Bounded, y: b.Bounded) => b.Bounded> = {
  add: b.add,
  subtract: b.subtract,
  multiply: b.multiply,
  divide: b.divide,
  multiplyWhere: b.where,
}

/** The element of `of` that NumPy's broadcasting to `to` puts at `index`. */
function broadcastAt(of: readonly number[], to: readonly number[], index: number): number {
  let [at, stride, rest] = [0, 1, index]
  for (let axis = to.length - 1; axis >= 0; axis--) {
    const n = of[of.length - to.length + axis] ?? 1
    if (n > 1) at += (rest % to[axis]) * stride
    stride *= n
    rest = Math.floor(rest / to[axis])
  }
  return at
}

const binaryInputs = (
  name: Binary,
  given: Numbers,
  a: number[],
  other: number[],
  half: boolean,
): Record<string, Given> => ({
  a: draw(given, 'a', a, half),
  b: (name === 'divide' ? drawPositive : draw)({ ...given, seed: given.seed + 1 }, 'b', other, half),
})

/** Operands of equal shapes, stored as f32 or f16. */
const binary = (name: Binary): Family =>
  family({
    name,
    drawn: fc.record({ dims: shape(1, 5), half: halves, numbers }),
    half: ({ half }) => half,
    make: ({ dims, half, numbers: given }) => {
      const inputs = binaryInputs(name, given, dims, dims, half)
      const masks = name === 'multiplyWhere'
      return differentiable({
        inputs: masks ? { a: inputs.a } : inputs,
        ...(masks && { fixed: { b: inputs.b } }),
        build: (v) => {
          const other: Value = masks && half ? ops.cast(v.b, 'f16') : v.b
          return ops[name](v.a, other)
        },
        reference: (t) =>
          b.map(t.a, (v, i) => binaryReference[name](v, masks ? b.exact(inputs.b.data[i]) : t.b.data[i])),
        ...(half && { half: masks ? ['a'] : ['a', 'b'], times: STORES }),
        seed: given.seed,
      })
    },
  })

/** The dimensions of an operand: those of the result, some of them 1, the first ones left out. */
const operandOf = (dims: readonly number[], ones: number, left: number): number[] =>
  dims.map((n, i) => (ones & (1 << i) ? 1 : n)).slice(Math.min(left, dims.length - 1))

const broadcasting = (name: Exclude<Binary, 'multiplyWhere'>): Family =>
  family({
    name: `${name} with broadcasting`,
    drawn: fc.record({
      dims: shape(1, 4),
      ones: fc.tuple(fc.nat(15), fc.nat(15)),
      left: fc.tuple(fc.nat(3), fc.nat(3)),
      numbers,
    }),
    make: ({ dims, ones, left, numbers: given }) => {
      // One operand has each dimension whole, so that the result has the drawn shape.
      const inputs = binaryInputs(
        name,
        given,
        operandOf(dims, ones[0] & ~ones[1], left[0] && 0),
        operandOf(dims, ones[1], left[1]),
        false,
      )
      return differentiable({
        inputs,
        build: (v) => ops[name](v.a, v.b),
        reference: (t) => {
          const rank = Math.max(t.a.shape.length, t.b.shape.length)
          const full = Array.from({ length: rank }, (_, i) =>
            Math.max(t.a.shape[t.a.shape.length - rank + i] ?? 1, t.b.shape[t.b.shape.length - rank + i] ?? 1),
          )
          const data = Array.from({ length: full.reduce((p, q) => p * q, 1) }, (_, i) =>
            binaryReference[name](t.a.data[broadcastAt(t.a.shape, full, i)], t.b.data[broadcastAt(t.b.shape, full, i)]),
          )
          return b.tensor(full, data)
        },
        seed: given.seed,
      })
    },
  })

const expand = family({
  name: 'expand',
  drawn: fc.record({ dims: shape(1, 4), ones: fc.nat(15), left: fc.nat(3), numbers }),
  make: ({ dims, ones, left, numbers: given }) =>
    differentiable({
      inputs: { x: draw(given, 'x', operandOf(dims, ones, left)) },
      build: ({ x }) => ops.expand(x, dims),
      reference: ({ x }) =>
        b.tensor(
          dims,
          Array.from({ length: dims.reduce((p, q) => p * q, 1) }, (_, i) => x.data[broadcastAt(x.shape, dims, i)]),
        ),
      seed: given.seed,
    }),
})

/** The sums of `terms`, of shape `dims`, over some dimensions, or over all of them. */
function totals(
  dims: readonly number[],
  axes: readonly number[] | undefined,
  terms: readonly b.Bounded[],
  combine: (terms: readonly b.Bounded[]) => b.Bounded,
) {
  const kept = dims.map((n, i) => (axes === undefined || axes.includes(i) ? 1 : n))
  const groups = new Map<number, b.Bounded[]>()
  terms.forEach((v, i) => {
    const at = positionIn(kept, dims, i)
    groups.set(at, [...(groups.get(at) ?? []), v])
  })
  const data = [...groups].sort(([p], [q]) => p - q).map(([, group]) => combine(group))
  const left = dims.filter((_, i) => axes !== undefined && !axes.includes(i))
  return b.tensor(left.length ? left : [1], data)
}

const over = (name: 'sum' | 'mean'): Family =>
  family({
    name,
    drawn: fc.record({ dims: shape(1, 5), axes: fc.nat(31), all: fc.boolean(), half: halves, numbers }),
    half: ({ half }) => half,
    make: ({ dims, axes, all, half, numbers: given }) => {
      const some = all ? undefined : dims.map((_, i) => i).filter((i) => axes & (1 << i))
      // A sum over no axis is x itself, in f16 if x is.
      const list = some?.length === 0 ? [0] : some
      return differentiable({
        inputs: { x: draw(given, 'x', dims, half) },
        build: ({ x }) => ops[name](x, list),
        reference: ({ x }) => totals(dims, list, x.data, b[name]),
        ...(half && { half: ['x'], single: true }),
        seed: given.seed,
      })
    },
  })

const axesOf = (dims: readonly number[], bits: number, all: boolean): number[] | undefined =>
  all ? undefined : dims.map((_, i) => i).filter((i) => bits & (1 << i))

const sumSquares = family({
  name: 'sumSquares',
  drawn: fc.record({
    dims: shape(1, 5),
    axes: fc.nat(31),
    all: fc.boolean(),
    minus: fc.constantFrom(0, 1, -0.3),
    numbers,
  }),
  make: ({ dims, axes, all, minus, numbers: given }) => {
    const list = axesOf(dims, axes, all)
    return differentiable({
      inputs: { x: draw(given, 'x', dims) },
      build: ({ x }) => ops.sumSquares(x, list, { minus }),
      reference: ({ x }) => {
        const terms = x.data.map((v) => b.square(b.subtract(v, b.rounded(minus))))
        return list?.length === 0 ? b.tensor(dims, terms) : totals(dims, list, terms, b.sum)
      },
      seed: given.seed,
    })
  },
})

/** The second operand may repeat dimensions of the first. */
const sumProducts = family({
  name: 'sumProducts',
  drawn: fc.record({ dims: shape(1, 4), ones: fc.nat(15), axes: fc.nat(15), all: fc.boolean(), numbers }),
  make: ({ dims, ones, axes, all, numbers: given }) => {
    const list = axesOf(dims, axes, all)
    return differentiable({
      inputs: binaryInputs('multiply', given, [...dims], operandOf(dims, ones, 0), false),
      build: (v) => ops.sumProducts(v.a, v.b, list),
      reference: (t) => {
        const terms = t.a.data.map((v, i) => b.multiply(v, t.b.data[broadcastAt(t.b.shape, dims, i)]))
        return list?.length === 0 ? b.tensor(dims, terms) : totals(dims, list, terms, b.sum)
      },
      seed: given.seed,
    })
  },
})

const multiplyAffine = family({
  name: 'multiplyAffine',
  drawn: fc.record({
    dims: shape(1, 4),
    ones: fc.nat(15),
    p: fc.constantFrom(1, -2, 0.1),
    q: fc.constantFrom(0, 3),
    numbers,
  }),
  make: ({ dims, ones, p, q, numbers: given }) =>
    differentiable({
      inputs: binaryInputs('multiply', given, [...dims], operandOf(dims, ones, 0), false),
      build: (v) => ops.multiplyAffine(v.a, v.b, p, q),
      reference: (t) =>
        b.map(t.a, (v, i) =>
          b.multiply(b.add(b.multiply(b.rounded(p), v), b.rounded(q)), t.b.data[broadcastAt(t.b.shape, dims, i)]),
        ),
      seed: given.seed,
    }),
})

/** Where element `index` of a tensor of shape `dims` goes if the dimensions that are 1 in `kept` are summed. */
const positionIn = (kept: readonly number[], dims: readonly number[], index: number): number =>
  broadcastAt(kept, dims, index)

export const elementwise: readonly Family[] = [
  ...(['affine', 'scale', 'relu', 'square', 'sqrt', 'exp', 'log', 'sin', 'cos'] as const).map(unary),
  ...(['add', 'subtract', 'multiply', 'divide', 'multiplyWhere'] as const).map(binary),
  ...(['add', 'subtract', 'multiply', 'divide'] as const).map(broadcasting),
  expand,
  multiplyAffine,
  ...(['sum', 'mean'] as const).map(over),
  sumSquares,
  sumProducts,
]
