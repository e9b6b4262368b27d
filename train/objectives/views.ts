/** Parts that the objectives share: projections by view, means of the other views, and off-diagonal sums. */
import {
  add,
  constant,
  matmul,
  mean,
  multiply,
  orthogonalityLoss,
  reshape,
  scale,
  ShapeError,
  show,
  stopGradient,
  subtract,
  sumProducts,
  sumSquares,
  sumOfShares,
  type Collective,
  type Value,
} from '../../engine/index.js'

/** What an objective may be given besides its parameters. */
export interface Sharing {
  /** The projections are those of this rank's images, and the loss is that of all ranks' images. */
  across?: Collective
}

/** Collects the parts of a loss by name, each a scalar [1]. They add up to the loss. No gradient flows through them. */
export type LossParts = Record<string, Value>

/**
 * Splits projections by view.
 *
 * @param name of the objective, for error messages
 * @param z [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @param across with it, the images of other ranks count too
 * @returns z as [m, B, d], with B and d
 * @throws ShapeError where the number of rows is not a multiple of m, or there are fewer than 2 views or images
 */
export function byView(
  name: string,
  z: Value,
  views: number,
  across?: Collective,
): { each: Value; batch: number; width: number } {
  if (z.shape.length !== 2)
    throw new ShapeError(`${name}: projections must be [views · batch, width], not ${show(z.shape)}`)
  const [rows, width] = z.shape
  if (!Number.isInteger(views) || views < 2 || rows % views)
    throw new ShapeError(`${name}: ${views} views do not divide the rows of ${show(z.shape)}, or are fewer than 2`)
  const batch = rows / views
  if (batch * (across?.size ?? 1) < 2)
    throw new ShapeError(`${name}: ${views} views of ${show(z.shape)} are of a single image: use a larger batch`)
  return { each: reshape(z, [views, batch, width]), batch, width }
}

/** @throws ShapeError unless there are exactly 2 views */
export function checkTwoViews(name: string, views: number): void {
  if (views !== 2) throw new ShapeError(`${name}: is defined for 2 views, not ${views}`)
}

/** The mean of the other views for each view i, (m z̄ − zᵢ) / (m − 1). each: [m, B, d] → [m, B, d]. */
export function othersMean(each: Value): Value {
  const [views] = each.shape
  return subtract(scale(mean(each, [0]), views / (views - 1)), scale(each, 1 / (views - 1)))
}

/**
 * The pair (zᵢ, mean of the other views) for each view i. With two views both pairs hold the same two tensors, so only
 * one is made.
 *
 * @param each [m, B, d]
 * @returns [pairs, 2, B · d], where pairs is 1 for m = 2, else m
 */
export function pairsWithOthers(each: Value): Value {
  const [views, batch, width] = each.shape
  if (views === 2) return reshape(each, [1, 2, batch * width])
  // One product: row 2i of the weights is the unit vector of view i, row 2i + 1 the mean of the others.
  const weights = Float32Array.from({ length: 2 * views * views }, (_, at) => {
    const [row, view] = [Math.floor(at / views), at % views]
    const own = Math.floor(row / 2) === view ? 1 : 0
    return row % 2 ? (1 - own) / (views - 1) : own
  })
  const pairs = matmul(constant(weights, [2 * views, views]), reshape(each, [views, batch * width]))
  return reshape(pairs, [views, 2, batch * width])
}

/** Σᵢ ‖zᵢ − z̄‖² over the views i: [m, B, d] → [1]. Its gradient through the mean z̄ is zero, so none is computed. */
export const distanceFromMean = (each: Value): Value => sumSquares(subtract(each, stopGradient(mean(each, [0]))))

/**
 * Σ_{k≠l} [(zᵀ z / divisor)ₖₗ]², summed over a batch of z. It uses the smaller of the d×d and the B×B product, because
 * ‖zᵀ z‖² = ‖z zᵀ‖².
 *
 * @param z [B, d] or [n, B, d]; with `across`, zᵀ z is that of all ranks' rows
 * @param columnSquares Σ_b z², if the caller has them: [d] or [n, d]
 * @returns a scalar [1]
 */
export function offDiagonalSquares(
  z: Value,
  divisor: number,
  { across }: Sharing = {},
  columnSquares: Value = sumSquares(z, [z.shape.length - 2]),
): Value {
  const [batch, width] = z.shape.slice(-2)
  const factor = 1 / divisor ** 2
  // A single product of twice the size costs less than the dispatches that the correction of the diagonal needs.
  if (width <= (z.shape.length === 2 ? 2 : 1) * batch || across) {
    const products = sumOfRanks(matmul(z, z, { transposeA: true }), across)
    return orthogonalityLoss(products, { onDiagonal: 0, offDiagonal: factor })
  }
  const all = sumSquares(matmul(z, z, { transposeB: true }))
  const diagonal = sumSquares(columnSquares)
  return subtract(scale(all, factor), scale(diagonal, factor))
}

/**
 * Σₖ (Cₖₖ − 1)² + λ Σ_{k≠l} Cₖₗ² of C = aᵀ b / B, summed over a batch of pairs. Where d > 2B, C is not computed, because
 * ‖aᵀ b‖² = Σ (a aᵀ) ∘ (b bᵀ) needs only two B×B products.
 *
 * @param a standardised embeddings [B, d] or [n, B, d]
 * @param b standardised embeddings of the same shape
 * @param lambda a number, or a scalar [1] of the graph
 * @param parts takes the parts `invariance` and `orthogonality`
 * @param sharing with `across`, C is that of all ranks' rows
 * @returns a scalar [1]
 */
export function correlationLoss(
  a: Value,
  b: Value,
  lambda: number | Value,
  parts: LossParts = {},
  { across }: Sharing = {},
): Value {
  const [batch, width] = a.shape.slice(-2)
  if (width <= 2 * batch || across) {
    const products = sumOfRanks(matmul(a, b, { transposeA: true }), across)
    const unit = 1 / (batch * (across?.size ?? 1))
    const part = (onDiagonal: number): Value =>
      orthogonalityLoss(products, { onDiagonal, offDiagonal: 1 - onDiagonal, target: 1, unit })
    parts.invariance = part(1)
    if (typeof lambda === 'number') {
      const loss = orthogonalityLoss(products, { onDiagonal: 1, offDiagonal: lambda, target: 1, unit })
      parts.orthogonality = subtract(loss, parts.invariance)
      return loss
    }
    parts.orthogonality = multiply(part(0), lambda)
    return add(parts.invariance, parts.orthogonality)
  }
  const diagonal = scale(sumProducts(a, b, [a.shape.length - 2]), 1 / batch)
  const gram = (x: Value): Value => matmul(x, x, { transposeB: true })
  const all = scale(sumProducts(gram(a), gram(b)), 1 / batch ** 2)
  const offDiagonal = subtract(all, sumSquares(diagonal))
  parts.invariance = sumSquares(diagonal, undefined, { minus: 1 })
  parts.orthogonality = weighted(offDiagonal, lambda)
  return add(parts.invariance, parts.orthogonality)
}

/** A sum over this rank's images as that over the images of all ranks. */
const sumOfRanks = (share: Value, across: Collective | undefined): Value =>
  across ? sumOfShares(share, across) : share

/** A mean over this rank's images as that over the images of all ranks. */
export const meanOfRanks = (own: Value, across: Collective | undefined): Value =>
  across ? sumOfShares(scale(own, 1 / across.size), across) : own

/** weight · x, where the weight is a number or a scalar [1] of the graph. */
export const weighted = (x: Value, weight: number | Value): Value =>
  typeof weight === 'number' ? scale(x, weight) : multiply(x, weight)
