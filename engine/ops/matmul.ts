/** Matrix products, plain and batched, in all transpose combinations. */
import { part } from '../lowering.js'
import { defineOp, ShapeError, show, type Value } from '../value.js'
import {
  busyWorkgroups,
  channelTile,
  checkFloat,
  checkRank,
  padded,
  resize,
  sumSplits,
  tileLanes,
  transposed,
  up,
} from './common.js'
import { sum } from './reduce.js'

export interface MatmulOptions {
  /** a is [K, M] (or [batch, K, M]). */
  transposeA?: boolean
  /** b is [N, K] (or [batch, N, K]). */
  transposeB?: boolean
  /** [N], added to every row. */
  bias?: Value
}

interface Attributes {
  transposeA: boolean
  transposeB: boolean
}

/** Sizes of a product, whatever is transposed. */
function sizes(a: Value, b: Value, { transposeA, transposeB }: Attributes) {
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
    checkFloat('matmul', a, b, ...(bias ? [bias] : []))
    checkRank('matmul', 'a', a, 2, 3)
    checkRank('matmul', 'b', b, 2, 3)
    const { M, N, K, L } = sizes(a, b, attributes)
    if (K !== L || a.shape.length !== b.shape.length || (a.shape.length === 3 && a.shape[0] !== b.shape[0]))
      throw new ShapeError(
        `matmul: shapes ${show(a.shape)}${attributes.transposeA ? 'ᵀ' : ''} and ${show(b.shape)}${attributes.transposeB ? 'ᵀ' : ''} do not match`,
      )
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== N))
      throw new ShapeError(`matmul: bias ${show(bias.shape)} does not fit the columns of ${show([M, N])}`)
    return [{ shape: [...a.shape.slice(0, -2), M, N], dtype: 'f32' }]
  },
  gradient: ({ inputs: [a, b, bias], attributes: { transposeA: ta, transposeB: tb } }, [gradient]) => {
    const g = gradient!
    return [
      ta ? matmul(b, g, { transposeA: tb, transposeB: true }) : matmul(g, b, { transposeB: !tb }),
      tb ? matmul(g, a, { transposeA: true, transposeB: ta }) : matmul(a, g, { transposeA: !ta }),
      bias && sum(g, g.shape.map((_, i) => i).slice(0, -1)),
    ]
  },
  lower: (node, emit) => {
    const [a, b, bias] = node.inputs
    const { transposeA, transposeB } = node.attributes
    const { batch, M, N, K } = sizes(a, b, node.attributes)
    // The kernel reads vec4s along the contiguous dimensions; others are padded with zeros once.
    const N4 = up(N, 4)
    const M4 = transposeA ? up(M, 4) : M
    const K4 = transposeA ? K : up(K, 4)
    const left = padded(
      emit,
      emit.of(a),
      [batch, transposeA ? K : M, transposeA ? M : K],
      transposeA ? K : M,
      transposeA ? M4 : K4,
    )
    const straight = transposeB ? transposed(emit, emit.of(b), batch, N, K) : emit.of(b)
    const right = padded(emit, straight, [batch, K, N], K4, N4)
    const addend = bias && padded(emit, emit.of(bias), [1, 1, N], 1, N4)
    const exact = M4 === M && N4 === N
    const target = exact ? emit.of(node.outputs[0]) : emit.temporary(4 * batch * M4 * N4)

    const tile = channelTile(N4 / 4)
    const lanes = tileLanes(emit)
    const blocks = Math.ceil(M4 / 4 / lanes) * Math.ceil(N4 / 4 / tile) * batch
    const splits = Math.max(1, Math.min(Math.ceil(busyWorkgroups(emit) / blocks), Math.floor(K4 / 64)))
    const depthPerSplit = up(Math.ceil(K4 / splits), 4)
    const used = Math.ceil(K4 / depthPerSplit)
    const partial = used === 1 ? target : emit.temporary(4 * used * batch * M4 * N4)
    // A left operand larger than a binding is cut by rows, one product at a time.
    const runs = transposeA || batch > 1 || used > 1 ? [{ start: 0, count: M4 }] : emit.rows(M4, 4 * K4, 4 * N4)
    for (const { start, count } of runs) {
      const whole = count === M4
      emit.dispatch({
        kernel: emit.target.subgroups ? 'matmul' : 'matmul_direct',
        constants: { WORKGROUP_SIZE: lanes, CHANNELS: tile, TRANSPOSE_A: transposeA, HAS_BIAS: !!bias },
        params: {
          rows: count,
          columns4: N4 / 4,
          depth: K4,
          batches: batch,
          splits: used,
          depth_per_split: depthPerSplit,
        },
        buffers: {
          a: whole ? left : part(left, 4 * K4 * start, 4 * K4 * count),
          b: right,
          bias: addend,
          c: whole ? partial : part(partial, 4 * N4 * start, 4 * N4 * count),
        },
        workgroups: [Math.ceil(count / 4 / lanes), Math.ceil(N4 / 4 / tile), batch * used],
      })
    }
    if (used > 1) sumSplits(emit, partial, target, used, batch * M4 * N4)
    if (!exact) resize(emit, target, [batch, M4, N4], emit.of(node.outputs[0]), M, N)
  },
})

/**
 * A·B (+ bias), with either operand transposed.
 *
 * @param a [M, K] or [batch, M, K]
 * @param b [K, N] or [batch, K, N]
 * @returns [M, N] or [batch, M, N]
 */
export function matmul(
  a: Value,
  b: Value,
  { transposeA = false, transposeB = false, bias }: MatmulOptions = {},
): Value {
  return matmulOp(bias ? [a, b, bias] : [a, b], { transposeA, transposeB })[0]
}
