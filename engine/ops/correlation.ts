/** Correlations of embeddings, and a loss for their distance from orthogonality. */
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat, checkRank, rowSharing, sumSplits } from './common.js'
import { matmul } from './matmul.js'
import { scale } from './elementwise.js'

/**
 * Aᵀ·B / rows: the cross-correlation of the columns of standardised embeddings. a: [B, d], b: [B, e] → [d, e].
 *
 * @throws ShapeError for a single row, since one observation has no correlation
 */
export function crossCorrelation(a: Value, b: Value): Value {
  if (a.shape[0] !== b.shape[0])
    throw new ShapeError(`crossCorrelation: ${show(a.shape)} and ${show(b.shape)} differ in rows`)
  if (a.shape[0] < 2)
    throw new ShapeError(
      `crossCorrelation: ${show(a.shape)} and ${show(b.shape)} need at least 2 rows: use a larger batch`,
    )
  return scale(matmul(a, b, { transposeA: true }), 1 / a.shape[0])
}

/** Z·Zᵀ / divisor: the Gram matrix of the rows. z: [B, d] → [B, B]. */
export const gram = (z: Value, divisor = 1): Value => scale(matmul(z, z, { transposeB: true }), 1 / divisor)

interface Attributes {
  onDiagonal: number
  offDiagonal: number
  target: number
  unit: number
}

const weighted = (a: Attributes, factor: number): Attributes => ({
  ...a,
  onDiagonal: a.onDiagonal * factor,
  offDiagonal: a.offDiagonal * factor,
})

const paramsOf = ({ onDiagonal, offDiagonal, target, unit }: Attributes) => ({
  on: onDiagonal,
  off: offDiagonal,
  goal: target,
  unit,
})

/** Throws unless c is a square matrix, or a batch of square matrices. */
export function checkSquare(op: string, c: Value): void {
  checkRank(op, 'matrix', c, 2, 3)
  const [rows, columns] = c.shape.slice(-2)
  if (rows !== columns)
    throw new ShapeError(`${op}: takes a square matrix, or a batch of square matrices, not ${show(c.shape)}`)
}

const orthogonalityOp = defineOp<Attributes>({
  name: 'orthogonalityLoss',
  infer: ([c]) => {
    checkFloat('orthogonalityLoss', c)
    checkSquare('orthogonalityLoss', c)
    return [{ shape: [1], dtype: 'f32' }]
  },
  gradient: ({ inputs: [c], attributes }, [g]) => [orthogonalityGradientOp([c, g!], attributes)[0]],
  scaled: ({ inputs, attributes }, factor): Value => orthogonalityOp(inputs, weighted(attributes, factor))[0],
  lower: ({ inputs: [c], outputs: [loss], attributes }, context) => {
    const size = c.shape[c.shape.length - 1]
    const count = c.size / size
    const rows = context.temporary(Math.ceil(count / 4) * 16)
    const { constants, workgroups } = rowSharing(context, count, size)
    context.dispatch({
      kernel: 'orthogonality',
      constants,
      params: { count, size, ...paramsOf(attributes) },
      buffers: { c: context.of(c), result: rows },
      workgroups,
    })
    sumSplits(context, rows, context.of(loss), count, 1)
  },
})

const orthogonalityGradientOp = defineOp<Attributes>({
  name: 'orthogonalityLossGradient',
  keepsSymmetry: true,
  scaled: ({ inputs, attributes }, factor): Value => orthogonalityGradientOp(inputs, weighted(attributes, factor))[0],
  infer: ([c]) => [{ shape: c.shape, dtype: 'f32' }],
  lower: ({ inputs: [c, g], outputs: [dc], attributes }, context) => {
    const size = c.shape[c.shape.length - 1]
    context.dispatch({
      kernel: 'orthogonality',
      constants: { GRADIENT: true },
      params: { count: c.size / size, size, ...paramsOf(attributes) },
      buffers: { c: context.of(c), g: context.of(g), result: context.of(dc) },
      workgroups: [context.grid(c.size, 64)],
    })
  },
})

/**
 * onDiagonal · Σₖ (u cₖₖ − target)² + offDiagonal · Σ_{k≠l} (u cₖₗ)² of a square matrix, a scalar [1]; u is `unit`. For a
 * cross-correlation and target 1 it is the Barlow Twins loss (Zbontar et al. 2021). For a batch of matrices it is the
 * sum of their losses.
 *
 * @param c [d, d] or [batch, d, d]
 */
export const orthogonalityLoss = (
  c: Value,
  { onDiagonal = 1, offDiagonal = 1, target = 1, unit = 1 }: Partial<Attributes> = {},
): Value => orthogonalityOp([c], { onDiagonal, offDiagonal, target, unit })[0]
