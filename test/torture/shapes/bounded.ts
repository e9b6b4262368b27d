/**
 * Numbers in f64 that carry a bound on the error of the same computation in f32, and their derivatives.
 *
 * The bound is that of running error analysis (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section
 * 3.3), to first order: each operation adds the rounding of its result to the errors of its operands. A sum of n terms
 * has the bound n · Σ|terms| for any order of the additions. It counts in units of the machine epsilon of f32.
 *
 * The derivatives are computed with the same numbers, so they have bounds, too.
 */

/** The machine epsilon of f32. It is twice the rounding error of one operation. */
export const EPSILON = 2 ** -23
/** The machine epsilon of f16. WGSL lets a conversion to f16 round up or down. */
const EPSILON_F16 = 2 ** -10
/** The distance of the smallest numbers of f16. */
const SMALLEST_F16 = 2 ** -24
const LARGEST_F16 = 65504

type Pull = (g: Bounded) => readonly (Bounded | undefined)[]

let recording = true
let made = 0

export class Bounded {
  readonly id = made++
  readonly parents: readonly Bounded[] | undefined
  readonly pull: Pull | undefined

  /**
   * @param error bound on the error in f32, in units of EPSILON
   * @param pull the gradients of the parents from the gradient of this number
   */
  constructor(
    readonly value: number,
    readonly error: number,
    parents?: readonly Bounded[],
    pull?: Pull,
  ) {
    if (!recording) return
    this.parents = parents
    this.pull = pull
  }
}

/** A number that f32 represents, such as an input. */
export const exact = (value: number): Bounded => new Bounded(value, 0)
/** A constant that is rounded to f32. */
export const rounded = (value: number): Bounded =>
  new Bounded(value, Math.fround(value) === value ? 0 : Math.abs(value))

const ONE = exact(1)

export const add = (a: Bounded, b: Bounded): Bounded => {
  const value = a.value + b.value
  return new Bounded(value, a.error + b.error + Math.abs(value), [a, b], (g) => [g, g])
}

export const negate = (a: Bounded): Bounded => new Bounded(-a.value, a.error, [a], (g) => [negate(g)])
export const subtract = (a: Bounded, b: Bounded): Bounded => add(a, negate(b))

export const multiply = (a: Bounded, b: Bounded): Bounded => {
  const value = a.value * b.value
  // A factor that is exactly 1, 0 or −1 does not round.
  const rounds = [a, b].some((v) => v.error === 0 && (Math.abs(v.value) === 1 || v.value === 0)) ? 0 : Math.abs(value)
  const error = Math.abs(a.value) * b.error + Math.abs(b.value) * a.error + rounds
  return new Bounded(value, error, [a, b], (g) => [multiply(g, b), multiply(g, a)])
}

/** Unbounded where the divisor may be zero. WGSL allows 2.5 units in the last place. */
export const divide = (a: Bounded, b: Bounded): Bounded => {
  const value = a.value / b.value
  const least = Math.abs(b.value) - b.error * EPSILON
  const error = least > 0 ? (a.error + Math.abs(value) * b.error) / least + 3 * Math.abs(value) : Infinity
  return new Bounded(value, error, [a, b], (g) => [divide(g, b), negate(divide(multiply(g, a), multiply(b, b)))])
}

export const square = (a: Bounded): Bounded => multiply(a, a)

/** Unbounded where the argument may be negative. WGSL allows a few units in the last place. */
export const sqrt = (a: Bounded): Bounded => {
  const value = Math.sqrt(a.value)
  const least = a.value - a.error * EPSILON
  const error =
    a.value === 0 && a.error === 0 ? 0 : least > 0 ? a.error / (value + Math.sqrt(least)) + 4 * value : Infinity
  const root: Bounded = new Bounded(value, error, [a], (g) => [multiply(exact(0.5), divide(g, root))])
  return root
}

/** WGSL allows 3 + 2·|x| units in the last place. */
export const exp = (a: Bounded): Bounded => {
  const value = Math.exp(a.value)
  const power: Bounded = new Bounded(value, value * (a.error + 3 + 2 * Math.abs(a.value)), [a], (g) => [
    multiply(g, power),
  ])
  return power
}

/** WGSL allows an absolute error of 2⁻¹¹; beyond π the reduction by whole turns adds the argument's own error. */
const wave = (a: Bounded, value: number, slope: (a: Bounded) => Bounded): Bounded =>
  new Bounded(value, a.error + 2 ** -11 / EPSILON + 2 * Math.abs(a.value), [a], (g) => [multiply(g, slope(a))])
export const sin = (a: Bounded): Bounded => wave(a, Math.sin(a.value), cos)
export const cos = (a: Bounded): Bounded => wave(a, Math.cos(a.value), (x) => negate(sin(x)))

/** Unbounded where the argument may be zero. WGSL allows 3 units in the last place, and 2⁻²¹ near 1. */
export const log = (a: Bounded): Bounded => {
  const value = Math.log(a.value)
  const least = a.value - a.error * EPSILON
  const error = least > 0 ? a.error / least + 3 * Math.abs(value) + 4 : Infinity
  return new Bounded(value, error, [a], (g) => [divide(g, a)])
}

/** Σ terms, added in any order. */
export const sum = (terms: readonly Bounded[]): Bounded => {
  let [value, error, magnitude, count] = [0, 0, 0, 0]
  for (const term of terms) {
    value += term.value
    error += term.error
    magnitude += Math.abs(term.value)
    if (term.value !== 0 || term.error !== 0) count++
  }
  return new Bounded(value, error + Math.max(0, count - 1) * magnitude, terms, (g) => terms.map(() => g))
}

export const mean = (terms: readonly Bounded[]): Bounded => divide(sum(terms), exact(terms.length))

export const dot = (a: readonly Bounded[], b: readonly Bounded[]): Bounded => sum(a.map((v, i) => multiply(v, b[i])))

/** 1 where the number is positive, else 0; unbounded where rounding may decide. */
const positive = (a: Bounded): Bounded =>
  new Bounded(a.value > 0 ? 1 : 0, a.error > 0 && Math.abs(a.value) <= a.error * EPSILON ? 1 / EPSILON : 0)

/** max(a, 0), with the gradient 0 at 0. */
export const relu = (a: Bounded): Bounded =>
  new Bounded(Math.max(0, a.value), a.value > -a.error * EPSILON ? a.error : 0, [a], (g) => [multiply(g, positive(a))])

/** a where b > 0, else 0. It has no gradient in b. */
export const where = (a: Bounded, b: Bounded): Bounded => {
  const mask = positive(b)
  return new Bounded(a.value * mask.value, a.error * mask.value, [a], (g) => [multiply(g, mask)])
}

/** The largest number, the first among equals, which has the whole gradient. Inputs only: they are exact. */
export const largest = (terms: readonly Bounded[]): Bounded => {
  const first = terms.reduce((best, term) => (term.value > best.value ? term : best))
  return new Bounded(first.value, first.error, [first], (g) => [g])
}

/** The error of a number with this error after it is stored as f16 up to `times` times; unbounded if it may overflow. */
export function errorInHalf(value: number, error: number, times: number): number {
  const total = error + (times * (EPSILON_F16 * Math.abs(value) + SMALLEST_F16)) / EPSILON
  return Math.abs(value) + total * EPSILON < LARGEST_F16 ? total : Infinity
}

/** A number stored as f16 up to `times` times on the way. Its gradient is not. */
export const stored = (a: Bounded, times = 1): Bounded =>
  new Bounded(a.value, errorInHalf(a.value, a.error, times), [a], (g) => [g])

/** A number that f16 represents, whose gradient is stored as f16 up to `times` times on the way. */
export const gradientStored = (a: Bounded, times = 1): Bounded =>
  new Bounded(a.value, a.error, [a], (g) => [stored(g, times)])

/** The same number with a larger bound, for an algorithm that does not compute it by its definition. */
export const looser = (a: Bounded, error: number): Bounded => new Bounded(a.value, a.error + error, [a], (g) => [g])

/** The same number without a gradient. */
export const stopped = (a: Bounded): Bounded => new Bounded(a.value, a.error)

export interface BoundedTensor {
  readonly shape: readonly number[]
  readonly data: readonly Bounded[]
}

export const tensor = (shape: readonly number[], data: readonly Bounded[]): BoundedTensor => ({ shape, data })
export const map = (x: BoundedTensor, f: (v: Bounded, i: number) => Bounded): BoundedTensor =>
  tensor(x.shape, x.data.map(f))
/** An input of the graph. */
export const leaf = (shape: readonly number[], data: ArrayLike<number>): BoundedTensor =>
  tensor(shape, Array.from(data, exact))

/** The gradients of Σ y · r in each of the targets. */
export function gradientsOf(
  y: readonly Bounded[],
  r: ArrayLike<number>,
  targets: readonly BoundedTensor[],
): BoundedTensor[] {
  const terms = new Map<Bounded, Bounded[]>()
  const give = (to: Bounded, g: Bounded): void => {
    const before = terms.get(to)
    if (before) before.push(g)
    else terms.set(to, [g])
  }
  recording = false
  try {
    const order = reachable(y)
    y.forEach((v, i) => give(v, r[i] === 1 ? ONE : exact(r[i])))
    const total = new Map<Bounded, Bounded>()
    for (const node of order) {
      const list = terms.get(node)
      if (!list) continue
      terms.delete(node)
      const g = list.length === 1 ? list[0] : sum(list)
      if (!node.pull) total.set(node, g)
      else node.pull(g).forEach((part, i) => part && give(node.parents![i], part))
    }
    return targets.map((target) => map(target, (v) => total.get(v) ?? exact(0)))
  } finally {
    recording = true
  }
}

/** All numbers that `roots` depend on, each before those that it depends on. */
function reachable(roots: readonly Bounded[]): Bounded[] {
  const seen = new Set<Bounded>(roots)
  const stack = [...seen]
  while (stack.length)
    for (const parent of stack.pop()!.parents ?? [])
      if (!seen.has(parent)) {
        seen.add(parent)
        stack.push(parent)
      }
  return [...seen].sort((a, b) => b.id - a.id)
}
