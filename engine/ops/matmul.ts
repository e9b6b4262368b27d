/** Matrix products, plain and batched, in all transpose combinations. */
import { part } from '../plan.js'
import { bytesOf, defineOp, ShapeError, show, type DType, type Value } from '../value.js'
import { checkActivations, checkFloat, checkRank, padded, resize, transposed, up } from './common.js'
import { matmulVariants } from './products/matmul_variants.js'
import { registerMatmul } from './products/register_matmul.js'
import { compute } from './products/work.js'
import { scale } from './elementwise.js'
import { sum } from './reduce.js'

export interface MatmulOptions {
  /** a is [K, M] (or [batch, K, M]). */
  transposeA?: boolean
  /** b is [N, K] (or [batch, N, K]). */
  transposeB?: boolean
  /** [N], added to each row. */
  bias?: Value
}

interface Attributes {
  transposeA: boolean
  transposeB: boolean
  /** The dtype of the result, where it is not that of a. */
  dtype?: DType
}

/** The sizes of a product: a is M×K and b is L×N after transposition, with K = L if they match. */
function sizes(a: Value, b: Value, { transposeA, transposeB }: Pick<Attributes, 'transposeA' | 'transposeB'>) {
  const [rowsA, columnsA] = a.shape.slice(-2)
  const [rowsB, columnsB] = b.shape.slice(-2)
  const batch = a.shape.length === 3 ? a.shape[0] : 1
  const [M, K] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA]
  const [N, L] = transposeB ? [rowsB, columnsB] : [columnsB, rowsB]
  return { batch, M, N, K, L }
}

const matmulOp = defineOp<Attributes>({
  name: 'matmul',
  infer: ([a, b, bias], attributes) => {
    checkActivations('matmul', a, b)
    if (bias) checkFloat('matmul', bias)
    checkRank('matmul', 'a', a, 2, 3)
    checkRank('matmul', 'b', b, 2, 3)
    const { M, N, K, L } = sizes(a, b, attributes)
    if (K !== L || a.shape.length !== b.shape.length || (a.shape.length === 3 && a.shape[0] !== b.shape[0]))
      throw new ShapeError(
        `matmul: shapes ${show(a.shape)}${attributes.transposeA ? 'ᵀ' : ''} and ${show(b.shape)}${attributes.transposeB ? 'ᵀ' : ''} do not match`,
      )
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== N))
      throw new ShapeError(`matmul: bias ${show(bias.shape)} does not fit the columns of ${show([M, N])}`)
    return [{ shape: [...a.shape.slice(0, -2), M, N], dtype: attributes.dtype ?? a.dtype }]
  },
  gradient: (
    { inputs: [a, b, bias], attributes: { transposeA: ta, transposeB: tb } },
    [gradient],
  ): (Value | undefined)[] => {
    const g = gradient!
    if (isSymmetric(g) && a === b && ta !== tb) {
      const twice = scale(g, 2)
      return [ta ? matmulOp([a, twice], plain)[0] : matmulOp([twice, a], plain)[0], undefined]
    }
    return [
      ta ? productAs(a.dtype, b, g, tb, true) : productAs(a.dtype, g, b, false, !tb),
      tb ? productAs(b.dtype, g, a, true, ta) : productAs(b.dtype, a, g, !ta, false),
      bias && sum(g, g.shape.map((_, i) => i).slice(0, -1)),
    ]
  },
  lower: (node, context) => {
    const [a, b, bias] = node.inputs
    const [c] = node.outputs
    const { transposeA, transposeB } = node.attributes
    const { batch, M, N, K } = sizes(a, b, node.attributes)
    // The kernels read vec4s along the contiguous dimensions, so other sizes are padded with zeros.
    const N4 = up(N, 4)
    const M4 = transposeA ? up(M, 4) : M
    const K4 = transposeA ? K : up(K, 4)
    const left = padded(
      context,
      context.of(a),
      [batch, transposeA ? K : M, transposeA ? M : K],
      transposeA ? K : M,
      transposeA ? M4 : K4,
      a.dtype,
    )
    const addend = bias && padded(context, context.of(bias), [1, 1, N], 1, N4)
    const exact = M4 === M && N4 === N
    const target = exact ? context.of(c) : context.temporary(up(bytesOf[c.dtype] * batch * M4 * N4, 16))
    const dtypes = { a: a.dtype, b: b.dtype, c: c.dtype }
    const work = { a: left, bias: addend, c: target, batch, M: M4, K: K4, transposeA, dtypes }
    const rowBytes = bytesOf[b.dtype] * K
    if (transposeB && batch === 1 && N * rowBytes > context.target.maxBindingBytes) {
      // b is [N, K] here and too large to bind. Its rows are columns of the product, which is computed in blocks.
      if (N % 4 || K % 4)
        throw new Error(
          `matmul: a transposed right operand of ${show(b.shape)} is over the adapter's binding limit: use sizes that are multiples of 4`,
        )
      // A block's part of the bias must begin at an aligned offset, too.
      for (const run of context.rows(N / 4, 4 * rowBytes, ...(addend ? [16] : []))) {
        const [first, count] = [4 * run.start, 4 * run.count]
        const block = transposed(context, part(context.of(b), rowBytes * first, rowBytes * count), 1, count, K, b.dtype)
        const some = addend && part(addend, 4 * first, 4 * count)
        registerMatmul.lower({ ...work, b: block, bias: some, N: count, columns: { first, of: N } }, context)
      }
    } else {
      const straight = transposeB ? transposed(context, context.of(b), batch, N, K, b.dtype) : context.of(b)
      compute({ ...work, b: padded(context, straight, [batch, K, N], K4, N4, b.dtype), N: N4 }, matmulVariants, context)
    }
    if (!exact) resize(context, target, [batch, M4, N4], context.of(c), M, N, c.dtype)
  },
})

const plain: Attributes = { transposeA: false, transposeB: false }

/**
 * Whether a matrix is known to be symmetric: aᵀ·a, a·aᵀ, and what ops that keep the symmetry make of it. The two terms of
 * the gradient in a are then equal.
 */
function isSymmetric({ dtype, node: { op, inputs, attributes } }: Value): boolean {
  if (dtype !== 'f32') return false
  if (op.keepsSymmetry) {
    const matrices = inputs.filter(({ shape }) => shape.slice(-2).some((n) => n > 1))
    return matrices.length > 0 && matrices.every(isSymmetric)
  }
  const { transposeA, transposeB } = attributes as Attributes
  return op === matmulOp.op && inputs.length === 2 && inputs[0] === inputs[1] && transposeA !== transposeB
}

/** A product with a result of `dtype`. The attribute is left out where it says nothing, since variant tables name it. */
const productAs = (dtype: DType, a: Value, b: Value, transposeA: boolean, transposeB: boolean): Value =>
  matmulOp([a, b], { transposeA, transposeB, ...(dtype !== a.dtype && { dtype }) })[0]

/**
 * A·B (+ bias), with either operand transposed.
 *
 * @param a [M, K] or [batch, M, K]
 * @param b [K, N] or [batch, K, N]
 * @returns [M, N] or [batch, M, N], of a's dtype. The gradients have the dtypes of a and b.
 */
export function matmul(
  a: Value,
  b: Value,
  { transposeA = false, transposeB = false, bias }: MatmulOptions = {},
): Value {
  return matmulOp(bias ? [a, b, bias] : [a, b], { transposeA, transposeB })[0]
}
