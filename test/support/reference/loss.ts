import { l2NormalizeRows, standardizeColumns } from './norm.js'
import type { Tensor64 } from './tensor.js'

export interface OrthogonalityOptions {
  onDiagonal: number
  target: number
  offDiagonal: number
}

/** onDiagonal sum_k (c_kk - target)^2 + offDiagonal sum_{k != l} c_kl^2 of a square matrix c. */
export function orthogonalityLoss(c: Tensor64, { onDiagonal, target, offDiagonal }: OrthogonalityOptions): number {
  const d = c.shape[0]
  let loss = 0
  for (let k = 0; k < d; k++)
    for (let l = 0; l < d; l++) {
      const value = c.data[k * d + l]
      loss += k === l ? onDiagonal * (value - target) ** 2 : offDiagonal * value ** 2
    }
  return loss
}

/** Mean over rows of -sum_c q_c log softmax(logits)_c, q = (1 - s) onehot(label) + s / C. */
export function crossEntropy(logits: Tensor64, labels: ArrayLike<number>, { labelSmoothing = 0 } = {}): number {
  const [n, c] = logits.shape as [number, number]
  let loss = 0
  for (let i = 0; i < n; i++) {
    const row = logits.data.subarray(i * c, (i + 1) * c)
    const top = Math.max(...row)
    const logSum = top + Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0))
    for (let k = 0; k < c; k++) {
      const q = labelSmoothing / c + (k === labels[i] ? 1 - labelSmoothing : 0)
      loss += (q * (logSum - row[k])) / n
    }
  }
  return loss
}

/**
 * Multi-view Barlow Twins of projections z[m * B, d] with rows in view-major order (row = view * B + image). Rows are
 * L2-normalised, and columns are standardised jointly over all rows. For two views it uses their cross-correlation. For
 * more, it uses that of each view with the mean view on the diagonal, and that of the mean view with itself off the
 * diagonal (arXiv 2312.10725).
 */
export function barlowTwins(z: Tensor64, views: number, penalty: number): number {
  const s = standardizeColumns(l2NormalizeRows(z))
  const [rows, d] = z.shape as [number, number]
  const batch = rows / views
  const at = (view: number, image: number, k: number) => s.data[(view * batch + image) * d + k]
  const meanView = (image: number, k: number) => {
    let total = 0
    for (let view = 0; view < views; view++) total += at(view, image, k)
    return total / views
  }
  let loss = 0
  for (let k = 0; k < d; k++)
    for (let l = 0; l < d; l++) {
      if (views === 2) {
        let c = 0
        for (let b = 0; b < batch; b++) c += (at(0, b, k) * at(1, b, l)) / batch
        loss += k === l ? (c - 1) ** 2 : penalty * c ** 2
      } else if (k === l) {
        for (let view = 0; view < views; view++) {
          let c = 0
          for (let b = 0; b < batch; b++) c += (at(view, b, k) * meanView(b, k)) / batch
          loss += (c - 1) ** 2 / views
        }
      } else {
        let c = 0
        for (let b = 0; b < batch; b++) c += (meanView(b, k) * meanView(b, l)) / batch
        loss += penalty * c ** 2
      }
    }
  return loss
}
