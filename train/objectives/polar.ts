/** The orthogonal polar factor of matrices, by products alone. */
import { add, affine, divide, matmul, reshape, scale, sqrt, sumSquares, type Value } from '../../engine/index.js'

/** x ← a x + b x (xᵀx) + c x (xᵀx)²: multiplies small singular values by 3.44 (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/). */
const FAST = { steps: 8, a: 3.4445, b: -4.775, c: 2.0315 }
/** x ← 1.5 x − .5 x (xᵀx), Newton–Schulz: converges quadratically to singular values of 1. */
const EXACT = { steps: 6, a: 1.5, b: -0.5 }

/**
 * U Vᵀ of x = U Σ Vᵀ, for [n, rows, columns]. Singular values of at least 10⁻⁴ ‖x‖ become 1 within 10⁻⁵, smaller ones
 * become a number between 0 and 1, and 0 stays 0.
 */
export function polarFactor(x: Value): Value {
  const [n, rows, columns] = x.shape
  const tall = rows >= columns
  const gramOf = (y: Value): Value => matmul(y, y, tall ? { transposeA: true } : { transposeB: true })
  const times = (y: Value, g: Value): Value => (tall ? matmul(y, g) : matmul(g, y))
  // A matrix of zeros stays one.
  const norm = sqrt(affine(sumSquares(x, [1, 2]), 1, 1e-30))
  let y = divide(x, reshape(norm, [n, 1, 1]))
  for (let i = 0; i < FAST.steps; i++) {
    const g = gramOf(y)
    y = add(scale(y, FAST.a), times(y, add(scale(g, FAST.b), scale(matmul(g, g), FAST.c))))
  }
  for (let i = 0; i < EXACT.steps; i++) y = add(scale(y, EXACT.a), times(y, scale(gramOf(y), EXACT.b)))
  return y
}
