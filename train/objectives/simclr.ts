/** SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709), for any number of views. */
import { l2NormalizeRows, matmul, mean, ntXentRows, reshape, scale, type Value } from '../../engine/index.js'
import { byView, pairsWithOthers } from './views.js'

/**
 * Every row is L2-normalised. For each view i, xᵢ: [2B, d] has the rows of zᵢ, then the rows of the mean of the other
 * views (not normalised again). Rows b and B + b are partners; τ is the temperature.
 *
 *   s = xᵢ xᵢᵀ / τ,  loss = mean over i and the 2B rows r of  log Σ_{c≠r} exp s_{r,c} − s_{r,partner(r)}
 *
 * One batched product computes all xᵢ xᵢᵀ. Two views need only one xᵢ xᵢᵀ, because both have the same pairs.
 *
 * @param z projections [m·B, d], view-major: row a·B + b is view a of image b
 * @param views m, at least 2
 * @returns the loss, a scalar [1]
 */
export function simclr(z: Value, { views, temperature }: { views: number; temperature: number }): Value {
  const { batch: B, width: d } = byView('simclr', z, views)
  const pairs = pairsWithOthers(reshape(l2NormalizeRows(z), [views, B, d]))
  const x = reshape(pairs, [pairs.shape[0], 2 * B, d])
  return mean(ntXentRows(scale(matmul(x, x, { transposeB: true }), 1 / temperature)))
}
