/** What a case is, and how its shapes and numbers are drawn. */
import fc from 'fast-check'
import type { Assignment, Value, Variable } from '../../../engine/index.js'
import { normalish, uniform } from '../../support/formula.js'
import { exact, gradientsOf, gradientStored, leaf, stored, tensor, type BoundedTensor } from './bounded.js'
import { ops } from './ops.js'

/** The numbers of an input, and its shape. */
export interface Given {
  readonly shape: readonly number[]
  readonly data: Float32Array | Uint32Array
}

/** Numbers with bounds on their errors, in units of the machine epsilon of f32. */
export interface Expected {
  readonly shape: readonly number[]
  readonly value: ArrayLike<number>
  readonly error: ArrayLike<number>
}

/** One graph with its inputs and what it must compute. */
export interface Case {
  readonly inputs: Readonly<Record<string, Given>>
  /** Outputs and Variables are named as in `expected`. */
  graph(values: Readonly<Record<string, Value>>): {
    outputs?: Record<string, Value>
    updates?: readonly Assignment[]
    variables?: Record<string, Variable>
  }
  expected(): Record<string, Expected>
}

/** Cases of one op, or of a product by one variant. */
export interface Family<Drawn = unknown> {
  /** The exported function, and after ` by ` the variant. */
  readonly name: string
  readonly variant?: string
  /** What decides a case, as plain data. */
  readonly drawn: fc.Arbitrary<Drawn>
  /** Whether the case needs an adapter with f16. */
  half?(drawn: Drawn): boolean
  make(drawn: Drawn): Case
}

/** A family as a list of families can hold it. */
export const family = <Drawn>(given: Family<Drawn>): Family => given as unknown as Family

/** 1, primes, and numbers beside and at the multiples that kernels prefer. Failures shrink to the first ones. */
const SIZES = [
  1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 19, 23, 29, 31, 32, 33, 36, 48, 61, 63, 64, 65, 67, 97, 127, 128, 130,
]

/** A size from 1 to `most`. */
export const size = (most = 130): fc.Arbitrary<number> => fc.constantFrom(...SIZES.filter((n) => n <= most))

/** `n` or, if the product with `others` is over `most`, the largest number that is not. */
export const within = (most: number, n: number, ...others: number[]): number =>
  Math.max(1, Math.min(n, Math.floor(most / others.reduce((a, b) => a * b, 1))))

/** A shape of `least` to `longest` dimensions, with `most` elements at most. */
export const shape = (least: number, longest: number, most = 2000): fc.Arbitrary<number[]> =>
  fc
    .array(size(), { minLength: least, maxLength: longest })
    .map((dims) => dims.reduce<number[]>((kept, n) => [...kept, within(most, n, ...kept)], []))

/** How the numbers of an input look. `seed` chooses them. */
export interface Numbers {
  seed: number
  /** normal: about 0; offset: about 20, or 3 in f16; sparse: half of them are 0; wide: of many magnitudes. */
  kind: 'normal' | 'offset' | 'sparse' | 'wide'
}

export const numbers: fc.Arbitrary<Numbers> = fc.record({
  seed: fc.integer({ min: 0, max: 999 }),
  kind: fc.constantFrom('normal', 'offset', 'sparse', 'wide'),
})

export const halves = fc.boolean()

/** The nearest number that is exact in f16. */
function toHalf(v: number): number {
  const step = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(v) || 1))) - 10)
  return Math.round(v / step) * step
}

/** The numbers of an input by its name. */
export function draw({ seed, kind }: Numbers, name: string, dims: readonly number[], half = false): Given {
  const count = dims.reduce((a, b) => a * b, 1)
  const data = normalish(`${seed}/${name}`, count)
  const choice = uniform(`${seed}/${name}/kind`, count)
  const shaped = data.map((v, i) => {
    // In f16, the sums of large numbers overflow.
    if (kind === 'offset') return v + (half ? 3 : 20)
    if (kind === 'sparse') return choice[i] > 0 ? v : 0
    return kind === 'wide' ? v * 2 ** Math.round(4 * choice[i]) : v
  })
  return { shape: [...dims], data: Float32Array.from(half ? shaped.map(toHalf) : shaped) }
}

/** Numbers above 0, for logarithms, square roots and divisors: not so near 0 that a gradient leaves f16. */
export function drawPositive(given: Numbers, name: string, dims: readonly number[], half = false): Given {
  const { shape, data } = draw(given, name, dims, half)
  return { shape, data: (data as Float32Array).map((v) => Math.max(Math.abs(v), half ? 2 ** -3 : 2 ** -10)) }
}

export const toBounded = ({ shape, data }: Given): BoundedTensor => leaf(shape, data)

export const expect = ({ shape, data }: BoundedTensor): Expected => ({
  shape,
  value: data.map(({ value }) => value),
  error: data.map(({ error }) => error),
})

export interface Differentiable {
  inputs: Record<string, Given>
  /** Inputs without a gradient, such as labels. */
  fixed?: Record<string, Given>
  build(values: Record<string, Value>): Value
  reference(tensors: Record<string, BoundedTensor>): BoundedTensor
  /** The result is stored as f16, and so are the named inputs. */
  half?: readonly string[]
  /** Whether the result is f32 although inputs are f16. */
  single?: boolean
  /** How often a result, or a gradient, is stored as f16 on the way. */
  times?: number
  /** The gradient of the result, by the numbers `r`. */
  seed: number
}

/** A case that compares the value of an op and its gradients in all inputs. */
export function differentiable(given: Differentiable): Case {
  const { inputs, fixed = {}, build, reference, half = [], single = false, times = 1, seed } = given
  const names = Object.keys(inputs)
  const stores = half.length > 0 && !single
  const forward = (): { y: BoundedTensor; leaves: BoundedTensor[] } => {
    const leaves = names.map((name) => toBounded(inputs[name]))
    const seen = Object.fromEntries(
      names.map((name, i) => [
        name,
        half.includes(name)
          ? tensor(
              leaves[i].shape,
              leaves[i].data.map((v) => gradientStored(v, times)),
            )
          : leaves[i],
      ]),
    )
    const y = reference(seen)
    return {
      y: stores
        ? tensor(
            y.shape,
            y.data.map((v) => stored(v, times)),
          )
        : y,
      leaves,
    }
  }
  const r = (dims: readonly number[]): Given => draw({ seed, kind: 'normal' }, 'r', dims, half.length > 0)
  return {
    // The shape of the result is known only when the graph is built, so `r` is a constant of the graph.
    inputs: { ...inputs, ...fixed },
    graph: (values) => {
      const cast = Object.fromEntries(
        Object.entries(values).map(([name, v]) => [name, half.includes(name) ? ops.cast(v, 'f16') : v]),
      )
      const result = build(cast)
      const y = stores ? ops.cast(result, 'f32') : result
      const seedValue = ops.constant(r(y.shape).data as Float32Array, y.shape)
      const found = ops.backward(
        [[y, seedValue]],
        names.map((name) => values[name]),
      )
      return { outputs: { y, ...Object.fromEntries(names.map((name, i) => [`gradient in ${name}`, found[i]])) } }
    },
    expected: () => {
      const { y, leaves } = forward()
      const dims = y.shape.length ? y.shape : [1]
      const found = gradientsOf(y.data, r(dims).data, leaves)
      return {
        y: { ...expect(y), shape: dims },
        ...Object.fromEntries(names.map((name, i) => [`gradient in ${name}`, expect(found[i])])),
      }
    },
  }
}

/** A case without gradients. */
export const plain = (
  inputs: Record<string, Given>,
  build: (values: Record<string, Value>) => Value,
  reference: (tensors: Record<string, BoundedTensor>) => BoundedTensor,
): Case => ({
  inputs,
  graph: (values) => ({ outputs: { y: build({ ...values }) } }),
  expected: () => ({
    y: expect(reference(Object.fromEntries(Object.entries(inputs).map(([name, v]) => [name, toBounded(v)])))),
  }),
})

/** A tensor that is `value` everywhere, as the reference sees it. */
export const constantTensor = (dims: readonly number[], value: number): BoundedTensor =>
  tensor(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => exact(value)),
  )
