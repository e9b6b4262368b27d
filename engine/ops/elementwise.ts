/**
 * Elementwise functions of one tensor, and of two with NumPy's broadcasting.
 *
 * This file and reduce.ts import each other, the only such cycle in engine/: the gradient of a broadcast is a sum, and
 * the gradient of a sum is a broadcast. Neither uses the other while it loads, so the cycle is harmless.
 */
import type { LoweringContext } from '../lowering_context.js'
import { part, type Slice } from '../plan.js'
import { bytesOf, defineOp, sameShape, ShapeError, show, sizeOf, type Value } from '../value.js'
import { checkActivations, checkFloat, vec4Of } from './common.js'
import { reshape } from './layout.js'
import { repeatedAxes, sumProducts, sumTo } from './reduce.js'

interface UnaryAttributes {
  operation: 'affine' | 'relu' | 'square' | 'sqrt' | 'exp' | 'log' | 'sin' | 'cos'
  a: number
  b: number
}

const unaryCodes = { affine: 0, relu: 1, square: 2, sqrt: 3, exp: 4, log: 5, sin: 6, cos: 7 }

const unaryOp = defineOp<UnaryAttributes>({
  name: 'elementwise',
  keepsSymmetry: true,
  infer: ([x], { operation }) => {
    checkActivations(operation, x)
    return [{ shape: x.shape, dtype: x.dtype }]
  },
  gradient: ({ inputs: [x], outputs: [y], attributes: { operation, a } }, [g]) => {
    switch (operation) {
      case 'affine':
        return [a === 1 ? g : scale(g!, a)]
      case 'relu':
        return [multiplyWhere(g!, y)]
      case 'square':
        return [multiplyAffine(x, g!, 2)]
      case 'sqrt':
        return [scale(divide(g!, y), 0.5)]
      case 'exp':
        return [multiply(g!, y)]
      case 'log':
        return [divide(g!, x)]
      case 'sin':
        return [multiply(g!, cos(x))]
      case 'cos':
        return [multiply(g!, scale(sin(x), -1))]
    }
  },
  scaled: ({ inputs: [x], attributes: { operation, a, b } }, factor) =>
    operation === 'affine' ? affine(x, a * factor, b * factor) : undefined,
  lower: ({ inputs: [x], outputs: [y], attributes: { operation, a, b } }, context) => {
    const from = context.of(x)
    const to = context.of(y)
    const bytes = 4 * bytesOf[x.dtype]
    for (const { start, count } of context.rows(Math.ceil(x.size / 4), bytes))
      context.dispatch({
        kernel: 'unary',
        constants: { OPERATION: unaryCodes[operation], In: vec4Of(x.dtype), Out: vec4Of(x.dtype), store: x.dtype },
        params: { count4: count, a, b },
        buffers: { x: part(from, bytes * start, bytes * count), y: part(to, bytes * start, bytes * count) },
        workgroups: [context.grid(count, 256)],
      })
  },
})

const applyUnary = (x: Value, operation: UnaryAttributes['operation'], a = 0, b = 0): Value =>
  unaryOp([x], { operation, a, b })[0]

/** a·x + b, elementwise. a and b are fixed when the graph is built. */
export const affine = (x: Value, a: number, b: number): Value => applyUnary(x, 'affine', a, b)
/** factor · x, elementwise. Where the op that computes x can take the factor up, no kernel runs for it. */
export const scale = (x: Value, factor: number): Value =>
  (x.dtype === 'f32' && factor !== 1 ? x.node.op.scaled?.(x.node, factor) : undefined) ??
  applyUnary(x, 'affine', factor)
/** max(x, 0), elementwise. The gradient at 0 is 0. */
export const relu = (x: Value): Value => applyUnary(x, 'relu')
/** x², elementwise. */
export const square = (x: Value): Value => applyUnary(x, 'square')
/** √x, elementwise. */
export const sqrt = (x: Value): Value => applyUnary(x, 'sqrt')
/** eˣ, elementwise. */
export const exp = (x: Value): Value => applyUnary(x, 'exp')
/** ln x, elementwise. */
export const log = (x: Value): Value => applyUnary(x, 'log')
/** sin x, elementwise. WGSL allows an absolute error of 2⁻¹¹; drivers are closer. */
export const sin = (x: Value): Value => applyUnary(x, 'sin')
/** cos x, elementwise, with the error of `sin`. */
export const cos = (x: Value): Value => applyUnary(x, 'cos')

interface BinaryAttributes {
  operation: 'add' | 'subtract' | 'multiply' | 'divide' | 'expand' | 'multiplyWhere' | 'multiplyAffine'
  /** The shape of the result, for 'expand'. */
  shape?: readonly number[]
  /** 'multiplyAffine' is (p·a + q) · b. */
  p?: number
  q?: number
}

const binaryCodes = { add: 0, subtract: 1, multiply: 2, divide: 3, expand: 4, multiplyWhere: 5, multiplyAffine: 6 }

const binaryOp = defineOp<BinaryAttributes>({
  name: 'elementwise',
  keepsSymmetry: true,
  infer: ([a, b], { operation, shape }) => {
    const result = broadcastShapes(operation, a.shape, shape ?? b.shape)
    // Only activations are stored as f16. They are added and masked, but never broadcast.
    if (sameShape(a.shape, result) && sameShape(b.shape, result)) checkActivations(operation, a, b)
    else checkFloat(`${operation} with broadcasting`, a, b)
    if (a.dtype !== b.dtype)
      throw new ShapeError(`${operation}: operands are ${a.dtype} and ${b.dtype}: cast one to the other`)
    return [{ shape: result, dtype: a.dtype }]
  },
  gradient: ({ inputs: [a, b], attributes: { operation, p = 1, q = 0 } }, [g]) => {
    switch (operation) {
      case 'add':
        return [sumTo(g!, a.shape), sumTo(g!, b.shape)]
      case 'subtract':
        return [sumTo(g!, a.shape), scale(sumTo(g!, b.shape), -1)]
      case 'multiply':
        return [productTo(g!, b, a.shape), productTo(g!, a, b.shape)]
      case 'multiplyAffine':
        return [scale(productTo(g!, b, a.shape), p), sumTo(multiplyAffine(a, g!, p, q), b.shape)]
      case 'divide':
        return [sumTo(divide(g!, b), a.shape), scale(sumTo(divide(multiply(g!, a), square(b)), b.shape), -1)]
      case 'expand':
        return [sumTo(g!, a.shape), undefined]
      case 'multiplyWhere':
        return [sumTo(applyBinary('multiplyWhere', g!, b), a.shape), undefined]
    }
  },
  scaled: ({ inputs: [a, b], attributes: { operation, shape, p = 1, q = 0 } }, factor) => {
    if (operation === 'multiply' || operation === 'multiplyAffine') return multiplyAffine(a, b, p * factor, q * factor)
    if (operation === 'add' || operation === 'subtract') {
      const [x, y] = [a, b].map((v) => v.node.op.scaled?.(v.node, factor))
      return x && y && (operation === 'add' ? add(x, y) : subtract(x, y))
    }
    return operation === 'expand' ? expand(scale(a, factor), shape!) : undefined
  },
  lower: ({ inputs: [a, b], outputs: [y], attributes: { operation, p = 1, q = 0 } }, context) => {
    const slices = { a: context.of(a), b: context.of(b), y: context.of(y) }
    if (operation !== 'expand' && sameShape(a.shape, y.shape) && sameShape(b.shape, y.shape)) {
      const four = 4 * bytesOf[y.dtype]
      for (const { start, count } of context.rows(Math.ceil(y.size / 4), four)) {
        const [offset, bytes] = [four * start, four * count]
        context.dispatch({
          kernel: 'binary',
          constants: { OPERATION: binaryCodes[operation], T: vec4Of(y.dtype), store: y.dtype },
          params: { count4: count, p, q },
          buffers: {
            a: part(slices.a, offset, bytes),
            b: part(slices.b, offset, bytes),
            y: part(slices.y, offset, bytes),
          },
          workgroups: [context.grid(count, 256)],
        })
      }
      return
    }
    // Broadcasting. A result larger than a binding is cut along the outermost dimension.
    const shape = [...Array<number>(4 - y.shape.length).fill(1), ...y.shape]
    const strides = { a: stridesIn(a.shape, shape), b: stridesIn(b.shape, shape) }
    const outer = shape.findIndex((n) => n > 1) < 0 ? 0 : shape.findIndex((n) => n > 1)
    const rowOf = (stride: number): number => 4 * stride
    const rowBytes = (4 * y.size) / shape[outer]
    const split = [rowBytes, rowOf(strides.a[outer]), rowOf(strides.b[outer])].filter((n) => n > 0)
    for (const { start, count } of context.rows(shape[outer], ...split)) {
      const cut = (slice: typeof slices.a, stride: number) =>
        stride === 0 || count === shape[outer] ? slice : part(slice, start * rowOf(stride), count * rowOf(stride))
      const run = shape.map((n, i) => (i === outer ? count : n))
      const buffers = {
        a: cut(slices.a, strides.a[outer]),
        b: cut(slices.b, strides.b[outer]),
        y: count === shape[outer] ? slices.y : part(slices.y, start * rowBytes, count * rowBytes),
      }
      broadcast(context, { operation, p, q }, run, strides, buffers)
    }
  },
})

/** One dispatch over a shape of four dimensions: by rows of vec4s if the innermost dimension has whole ones. */
function broadcast(
  context: LoweringContext,
  { operation, p, q }: { operation: BinaryAttributes['operation']; p: number; q: number },
  shape: readonly number[],
  strides: { a: number[]; b: number[] },
  buffers: { a: Slice; b: Slice; y: Slice },
): void {
  const [, s1, s2, s3] = shape
  const merged = mergeDimensions(shape, strides.a, strides.b)
  const [, m1, m2, columns] = merged.shape
  if (columns % 4) {
    const [a0, a1, a2, a3] = strides.a
    const [b0, b1, b2, b3] = strides.b
    const count = sizeOf(shape)
    context.dispatch({
      kernel: 'binary_broadcast',
      constants: { OPERATION: binaryCodes[operation] },
      params: { count, s1, s2, s3, a0, a1, a2, a3, b0, b1, b2, b3, p, q },
      buffers,
      workgroups: [context.grid(count, 256)],
    })
    return
  }
  const columns4 = columns / 4
  const rows = sizeOf(merged.shape) / columns
  const [a0, a1, a2, a3] = merged.a
  const [b0, b1, b2, b3] = merged.b
  const lanes = Math.max(8, Math.min(64, 2 ** Math.ceil(Math.log2(columns4))))
  const across = context.grid(columns4, lanes)
  context.dispatch({
    kernel: 'binary_rows',
    constants: { WORKGROUP_SIZE: lanes, OPERATION: binaryCodes[operation], A_REPEATS: a3 === 0, B_REPEATS: b3 === 0 },
    params: { rows, columns4, s1: m1, s2: m2, a0, a1, a2, b0, b1, b2, p, q },
    buffers,
    workgroups: [across, Math.min(rows, Math.ceil(16384 / across))],
  })
}

/**
 * Merges neighbouring dimensions that are contiguous in both operands. The result has four dimensions again, with ones
 * in front.
 */
function mergeDimensions(shape: readonly number[], strideA: readonly number[], strideB: readonly number[]) {
  const dims = shape.map((size, i) => ({ size, a: strideA[i], b: strideB[i] })).filter(({ size }) => size > 1)
  const merged: typeof dims = []
  for (const dim of dims) {
    const before = merged.at(-1)
    if (before && before.a === dim.a * dim.size && before.b === dim.b * dim.size)
      merged[merged.length - 1] = { ...dim, size: before.size * dim.size }
    else merged.push(dim)
  }
  while (merged.length < 4) merged.unshift({ size: 1, a: 0, b: 0 })
  return { shape: merged.map(({ size }) => size), a: merged.map(({ a }) => a), b: merged.map(({ b }) => b) }
}

function broadcastShapes(op: string, a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  const fail = (why: string): never => {
    throw new ShapeError(`${op}: shapes ${show(a)} and ${show(b)} ${why}`)
  }
  if (rank > 4 && !sameShape(a, b)) fail('have more than 4 dimensions to broadcast')
  return Array.from({ length: rank }, (_, i) => {
    const m = a[a.length - rank + i] ?? 1
    const n = b[b.length - rank + i] ?? 1
    return m === n || n === 1 ? m : m === 1 ? n : fail('do not broadcast')
  })
}

/** The strides, in elements, of a tensor that is broadcast to a larger shape: 0 along repeated dimensions. */
function stridesIn(of: readonly number[], shape: readonly number[]): number[] {
  let stride = 1
  return shape
    .map((_, i) => of[of.length - shape.length + i] ?? 1)
    .reduceRight<number[]>((strides, n) => {
      strides.unshift(n === 1 ? 0 : stride)
      stride *= n
      return strides
    }, [])
}

function applyBinary(
  operation: BinaryAttributes['operation'],
  a: Value,
  b: Value,
  line: { p?: number; q?: number } = {},
): Value {
  const [x, y] = withoutExpansion(operation, a, b)
  return binaryOp([x, y], { operation, ...line })[0]
}

/**
 * The operands, each without its `expand` where the other operand gives the result its shape: the kernels read a
 * repeated operand in place.
 */
function withoutExpansion(operation: string, a: Value, b: Value): [Value, Value] {
  const shape = broadcastShapes(operation, a.shape, b.shape)
  const small = (x: Value): Value => {
    const { op, attributes, inputs } = x.node
    return op === binaryOp.op && (attributes as BinaryAttributes).operation === 'expand' ? inputs[0] : x
  }
  const fits = (x: Value, y: Value): boolean =>
    shape.length <= 4 && sameShape(broadcastShapes('', x.shape, y.shape), shape)
  const [x, y] = [small(a), small(b)]
  if (fits(x, y)) return [x, y]
  if (fits(x, b)) return [x, b]
  return fits(a, y) ? [a, y] : [a, b]
}

/** The sum of a·b over the dimensions that `shape` repeats: the gradient of a product in the operand of that shape. */
function productTo(a: Value, b: Value, shape: readonly number[]): Value {
  const product = broadcastShapes('multiply', a.shape, b.shape)
  if (sameShape(product, shape)) return multiply(a, b)
  return reshape(sumProducts(a, b, repeatedAxes(product, shape)), shape)
}

/** a + b, with NumPy's broadcasting (at most 4 dimensions if the shapes differ). */
export const add = (a: Value, b: Value): Value => applyBinary('add', a, b)
/** a − b, with NumPy's broadcasting. */
export const subtract = (a: Value, b: Value): Value => applyBinary('subtract', a, b)
/** a · b, elementwise, with NumPy's broadcasting. */
export const multiply = (a: Value, b: Value): Value => applyBinary('multiply', a, b)
/** (p·a + q) · b, elementwise, with NumPy's broadcasting. p and q are fixed when the graph is built. */
export const multiplyAffine = (a: Value, b: Value, p: number, q = 0): Value =>
  applyBinary('multiplyAffine', a, b, { p, q })
/** a / b, elementwise, with NumPy's broadcasting. */
export const divide = (a: Value, b: Value): Value => applyBinary('divide', a, b)
/** a where b > 0, else 0, for equal shapes. Differentiable in a only. */
export function multiplyWhere(a: Value, b: Value): Value {
  if (!sameShape(a.shape, b.shape))
    throw new ShapeError(`multiplyWhere: shapes ${show(a.shape)} and ${show(b.shape)} differ`)
  return applyBinary('multiplyWhere', a, b)
}
/** x repeated to `shape`, as NumPy's broadcast_to. */
export function expand(x: Value, shape: readonly number[]): Value {
  if (sameShape(x.shape, shape)) return x
  return binaryOp([x, x], { operation: 'expand', shape })[0]
}
