/** Sums and means over dimensions. elementwise.ts and this file import each other: see there. */
import type { LoweringContext } from '../lowering_context.js'
import { part, type Slice } from '../plan.js'
import { bytesOf, defineOp, sameShape, ShapeError, show, sizeOf, type Value } from '../value.js'
import { affine, expand, multiply, multiplyAffine, scale, square } from './elementwise.js'
import { castTo } from './cast.js'
import { busyWorkgroups, checkActivations, checkFloat, sumRows, vec4Of, type SumTerm } from './common.js'
import { PartialSums, splitsWithin, totalOf } from './partial_sums.js'
import { reshape } from './layout.js'

interface Attributes {
  /** x is reshaped to [outer, length, inner] and summed over `length`. */
  outer: number
  length: number
  inner: number
  factor: number
  shape: readonly number[]
  /** What is added: x by default, (x − minus)² or x · w. */
  of?: 'squares' | 'products'
  minus?: number
}

/** Numbers of a sum that is too short for several threads. */
const SHORT_ROW = 64
/** Numbers of a sum that are enough for a workgroup of a GPU. */
const LONG_ROW = 8192

const reduce = defineOp<Attributes>({
  name: 'sum',
  infer: ([x, w], { shape }) => {
    checkActivations('sum', x)
    if (w) checkFloat('sumProducts', x, w)
    return [{ shape, dtype: 'f32' }]
  },
  gradient: ({ inputs: [x, w], attributes: { outer, length, inner, factor, of, minus = 0 } }, [g]) => {
    if (x.shape.length > 4) {
      const spread = expand(reshape(scale(g!, factor), [outer, 1, inner]), [outer, length, inner])
      return [castTo(reshape(spread, x.shape), x.dtype)]
    }
    const spread = reshape(g!, keptDimensions(x.shape, outer, length))
    const full = (v: Value): Value => castTo(expand(v, x.shape), x.dtype)
    if (of === 'squares') return [multiplyAffine(x, full(spread), 2 * factor, -2 * factor * minus)]
    if (of !== 'products') return [full(scale(spread, factor))]
    const dw = sameShape(w.shape, x.shape)
      ? multiplyAffine(x, spread, factor)
      : scale(reshape(sumProducts(x, expand(spread, x.shape), repeatedAxes(x.shape, w.shape)), w.shape), factor)
    return [full(multiplyAffine(w, spread, factor)), dw]
  },
  scaled: ({ inputs, attributes }, factor): Value =>
    reduce(inputs, { ...attributes, factor: attributes.factor * factor })[0],
  lower: (node, context) => {
    const [x] = node.inputs
    const from = context.of(x)
    const to = context.of(node.outputs[0])
    const { outer, length, inner, factor } = node.attributes
    const bytes = bytesOf[x.dtype]
    const terms = termsOf(node.inputs, node.attributes, context)
    const sums: Sums = { context, inner, dtype: x.dtype, terms }
    if (outer > 1) {
      // Many sums. If x is larger than a binding, it is cut along `outer`.
      for (const { start, count } of context.rows(outer, bytes * length * inner, 4 * inner, ...terms.bytesPerOuter)) {
        const whole = count === outer
        addUp(sums, {
          x: whole ? from : part(from, start * bytes * length * inner, count * bytes * length * inner),
          y: whole ? to : part(to, start * 4 * inner, count * 4 * inner),
          outer: count,
          length,
          factor,
          firstOuter: start,
        })
      }
      return
    }
    lowerLongSum(sums, from, to, length, factor)
  },
})

/** What the dispatches of a sum have in common. */
interface Sums {
  context: LoweringContext
  inner: number
  dtype: Value['dtype']
  terms: Terms
}

interface Run {
  x: Slice
  y: Slice
  outer: number
  length: number
  factor: number
  splits?: number
  firstSplit?: number
  /** The first index in the whole tensor, where the run is a part of it. */
  firstOuter?: number
  firstLength?: number
}

/** One long sum for each element of `inner`. It is split for parallelism, and the splits are added in order. */
function lowerLongSum(sums: Sums, from: Slice, to: Slice, length: number, factor: number): void {
  const { context, inner, dtype, terms } = sums
  const bytes = bytesOf[dtype]
  const gpu = context.target.adapterClass === 'gpu'
  const rows = byRows(sums, length)
  const runs = context.rows(length, bytes * inner, ...terms.bytesPerLength)
  const wanted = rows ? length / LONG_ROW : Math.ceil((busyWorkgroups(context) * 64) / widthOf(sums))
  const [shortest, mostSplits] = rows ? [LONG_ROW, 512] : gpu ? [64, 256] : [16, 1024]
  const cuts = splitsWithin(context.target, inner, (most) =>
    runs.map((run) => {
      const each = Math.max(shortest, Math.ceil(run.count / Math.max(1, Math.min(wanted, mostSplits, most))))
      return { ...run, splits: Math.ceil(run.count / each) }
    }),
  )
  const total = totalOf(cuts)
  if (total === 1) return addUp(sums, { x: from, y: to, outer: 1, length, factor })
  const partials = new PartialSums(context, to, total, inner, factor)
  for (const { start, count, splits } of cuts) {
    const { partial, first } = partials.next(splits)
    const x = runs.length === 1 ? from : part(from, start * bytes * inner, count * bytes * inner)
    const run = { x, y: partial, outer: 1, length: count, factor: 1, splits, firstSplit: first, firstLength: start }
    addUp(sums, run)
  }
  partials.finish()
}

/** Whether the kernel works on whole vec4s. */
const isVector = ({ inner, terms }: Sums): boolean => inner % 4 === 0 && terms.vector
const widthOf = (sums: Sums): number => (isVector(sums) ? sums.inner / 4 : sums.inner)
/** On a GPU the threads of a workgroup share a row, and a few threads share a long column. */
const byRows = ({ context, inner }: Sums, length: number): boolean =>
  context.target.adapterClass === 'gpu' && inner === 1 && length >= SHORT_ROW

/** One dispatch. */
function addUp(sums: Sums, run: Run): void {
  const { context, dtype, terms } = sums
  const { x, y, outer, length, factor, splits = 1, firstSplit = 0 } = run
  const term = terms.of(run)
  if (byRows(sums, length))
    return sumRows(context, x, y, { rows: outer, length, splits, firstSplit, factor, dtype, term })
  const gpu = context.target.adapterClass === 'gpu'
  const [vector, width] = [isVector(sums), widthOf(sums)]
  const each = Math.ceil(length / splits)
  const share = vector && gpu && each >= SHORT_ROW ? 16 : 1
  const { minus, ...strides } = term.params
  const four = vector ? 4 : 1
  context.dispatch({
    kernel: vector ? 'reduce4' : 'reduce',
    constants: {
      In: vector ? vec4Of(dtype) : dtype,
      ...term.constants,
      ...(vector && { SHARE: share, AT_ONCE: gpu ? 4 : 1, total: share > 1 ? 'shared' : 'alone' }),
    },
    params: {
      outer,
      length,
      [vector ? 'inner4' : 'inner']: width,
      splits,
      length_per_split: each,
      first_split: firstSplit,
      factor,
      minus,
      w_outer: strides.w_outer / four,
      w_length: strides.w_length / four,
      w_inner: Math.ceil(strides.w_inner / four),
    },
    buffers: { x, y, w: term.w },
    workgroups: [context.grid(outer * width * splits * share, 64)],
  })
}

/** The terms of a sum, and how its second tensor is cut with x. */
interface Terms {
  of(run: Run): SumTerm
  /** Whether the second tensor can be read in vec4s. */
  vector: boolean
  /** Bytes of the second tensor for each index of `outer` and of `length`, if it does not repeat along it. */
  bytesPerOuter: number[]
  bytesPerLength: number[]
}

function termsOf([x, w]: readonly Value[], attributes: Attributes, context: LoweringContext): Terms {
  const { of, minus = 0, length, outer } = attributes
  if (of !== 'products') {
    const params = { minus, w_outer: 0, w_length: 0, w_inner: 1 }
    // The constant is left out where it says nothing.
    const term = { constants: { TERM: of === 'squares' ? 1 : 0 }, params }
    return { of: () => term, vector: true, bytesPerOuter: [], bytesPerLength: [] }
  }
  const { w_outer, w_length, w_inner } = repetition(w.shape, x.shape, attributes)!
  const slice = context.of(w)
  const cut = (run: Run): Slice => {
    if (run.firstOuter !== undefined && run.outer < outer && w_outer)
      return part(slice, 4 * w_outer * run.firstOuter, 4 * w_outer * run.outer)
    if (run.firstLength !== undefined && run.length < length && w_length)
      return part(slice, 4 * w_length * run.firstLength, 4 * w_length * run.length)
    return slice
  }
  return {
    of: (run) => ({ constants: { TERM: 2 }, params: { minus: 0, w_outer, w_length, w_inner }, w: cut(run) }),
    vector: [w_outer, w_length, w_inner].every((n) => n % 4 === 0),
    bytesPerOuter: w_outer ? [4 * w_outer] : [],
    bytesPerLength: w_length ? [4 * w_length] : [],
  }
}

/**
 * How a tensor of shape `w` is read along the [outer, length, inner] of a larger one: the strides along outer and
 * length, and the period along inner. Undefined where it has no such pattern.
 */
function repetition(
  w: readonly number[],
  x: readonly number[],
  { outer, length }: Pick<Attributes, 'outer' | 'length'>,
) {
  const [first, last] = reducedDimensions(x, outer, length)
  const lead = x.length - w.length
  if (lead < 0) return undefined
  const sizes = x.map((n, i) => ({ n, own: i < lead ? 1 : w[i - lead] }))
  /** The stride along dimensions that are all repeated, or all of them w's own. */
  const strideOf = (dims: typeof sizes, inside: number): number | undefined => {
    const long = dims.filter(({ n }) => n > 1)
    if (long.every(({ own }) => own === 1)) return 0
    return long.every(({ n, own }) => own === n) ? inside : undefined
  }
  const inner = sizes.slice(last)
  const w_inner = sizeOf(inner.map(({ own }) => own))
  const own = inner.findIndex(({ own }) => own > 1)
  if (own >= 0 && inner.slice(own).some(({ n, own }) => n !== own)) return undefined
  const w_length = strideOf(sizes.slice(first, last), w_inner)
  const w_outer = strideOf(sizes.slice(0, first), w_inner * sizeOf(sizes.slice(first, last).map((s) => s.own)))
  return w_length === undefined || w_outer === undefined ? undefined : { w_outer, w_length, w_inner }
}

/** The dimensions of `shape` that are summed, from `first` to before `last`: `outer` numbers come before, `length` are summed. */
function reducedDimensions(shape: readonly number[], outer: number, length: number): [first: number, last: number] {
  const after = (from: number, size: number): number => {
    let at = from
    for (let product = 1; product < size; at++) product *= shape[at]
    return at
  }
  const first = after(0, outer)
  return [first, after(first, length)]
}

/** `shape` with ones for the summed dimensions. */
function keptDimensions(shape: readonly number[], outer: number, length: number): number[] {
  const [first, last] = reducedDimensions(shape, outer, length)
  return shape.map((n, i) => (i >= first && i < last ? 1 : n))
}

/**
 * Sum over `axes`, which count from 0 and are dropped from the shape. By default all are summed, and the result is [1].
 * f32 or f16 → f32.
 */
export const sum = (x: Value, axes?: readonly number[]): Value => over([x], axes, {})
/** Mean over `axes`, as `sum`. */
export const mean = (x: Value, axes?: readonly number[]): Value => over([x], axes, { average: true })
/** Sum of (x − minus)² over `axes`, as `sum`: one pass over x. */
export const sumSquares = (x: Value, axes?: readonly number[], { minus = 0 }: { minus?: number } = {}): Value =>
  x.shape.length > 4 ? sum(square(affine(x, 1, -minus)), axes) : over([x], axes, { of: 'squares', minus })

/**
 * Sum of a·b over `axes`, as `sum`. One of the operands may repeat the other's dimensions, as NumPy's broadcasting does.
 * It is one pass, except where both repeat or the repeated dimensions lie in between.
 */
export function sumProducts(a: Value, b: Value, axes?: readonly number[]): Value {
  const product = multiply(a, b)
  const { shape } = product
  const [x, w] = sameShape(a.shape, shape) ? [a, b] : [b, a]
  const [group] = groupsOf(shape, axes)
  const fits =
    group !== undefined &&
    shape.length <= 4 &&
    sameShape(x.shape, shape) &&
    [x, w].every(({ dtype }) => dtype === 'f32') &&
    repetition(w.shape, shape, group) !== undefined
  return fits ? over([x, w], axes, { of: 'products' }) : sum(product, axes)
}

/** Neighbouring axes, which are summed as one: the last group first. */
function groupsOf(shape: readonly number[], axes: readonly number[] = shape.map((_, i) => i)) {
  const sorted = [...new Set(axes)].sort((a, b) => a - b)
  if (sorted.some((a) => !Number.isInteger(a) || a < 0 || a >= shape.length))
    throw new ShapeError(
      `sum: axes [${axes.join(', ')}] of shape ${show(shape)} must be between 0 and ${shape.length - 1}`,
    )
  const groups: { first: number; last: number; outer: number; length: number; inner: number }[] = []
  while (sorted.length) {
    const last = sorted.pop()!
    let first = last
    while (sorted.at(-1) === first - 1) first = sorted.pop()!
    const [outer, length] = [sizeOf(shape.slice(0, first)), sizeOf(shape.slice(first, last + 1))]
    groups.push({ first, last, outer, length, inner: sizeOf(shape.slice(last + 1)) })
  }
  return groups
}

/** Separate groups of axes are summed one after another. */
function over(
  inputs: readonly Value[],
  axes: readonly number[] | undefined,
  { average = false, of, minus }: { average?: boolean } & Pick<Attributes, 'of' | 'minus'>,
): Value {
  const [x] = inputs
  const groups = groupsOf(x.shape, axes)
  if (!groups.length) return of ? multiplyTerms(inputs, of, minus) : x
  const count = sizeOf(groups.map(({ length }) => length))
  const [{ first, last, outer, length, inner }, ...rest] = groups
  const shape = x.shape.filter((_, i) => i < first || i > last)
  const one = { outer, length, inner, shape: shape.length ? shape : [1], ...(of && { of, minus }) }
  const reduced = reduce(inputs, { ...one, factor: 1 })[0]
  const sums = rest.length
    ? over(
        [reduced],
        rest.flatMap(({ first, last }) => range(first, last)),
        {},
      )
    : reduced
  return average && count > 1 ? scale(sums, 1 / count) : sums
}

const range = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i)

/** The terms themselves, where no dimension is summed. */
const multiplyTerms = ([x, w]: readonly Value[], of: 'squares' | 'products', minus = 0): Value =>
  of === 'squares' ? square(affine(x, 1, -minus)) : multiply(x, w)

/** The dimensions, counted in `of`, along which a tensor of `shape` is repeated. */
export function repeatedAxes(of: readonly number[], shape: readonly number[]): number[] {
  const lead = of.length - shape.length
  return of.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && of[i] !== 1))
}

/** The gradient of broadcasting a tensor of `shape` to the shape of g: the sum over the repeated dimensions. */
export function sumTo(g: Value, shape: readonly number[]): Value {
  if (sameShape(g.shape, shape)) return g
  const axes = repeatedAxes(g.shape, shape)
  return reshape(axes.length ? sum(g, axes) : g, shape)
}
