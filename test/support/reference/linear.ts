import { tensor64, type Tensor64 } from './tensor.js'

/** y = op(a) op(b) + bias, rank 2 or 3 (leading batch axis); op transposes the last two axes. */
export function matmul(
  a: Tensor64,
  b: Tensor64,
  {
    transposeA = false,
    transposeB = false,
    bias,
  }: { transposeA?: boolean; transposeB?: boolean; bias?: Tensor64 } = {},
): Tensor64 {
  const batch = a.shape.length === 3 ? a.shape[0] : 1
  const [ar, ac] = a.shape.slice(-2) as [number, number]
  const [br, bc] = b.shape.slice(-2) as [number, number]
  const [m, k] = transposeA ? [ac, ar] : [ar, ac]
  const n = transposeB ? br : bc
  const y = tensor64(a.shape.length === 3 ? [batch, m, n] : [m, n])
  for (let s = 0; s < batch; s++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = bias ? bias.data[j] : 0
        for (let p = 0; p < k; p++)
          sum +=
            a.data[s * ar * ac + (transposeA ? p * ac + i : i * ac + p)] *
            b.data[s * br * bc + (transposeB ? j * bc + p : p * bc + j)]
        y.data[(s * m + i) * n + j] = sum
      }
  return y
}

/** Cross-correlation of x[N,H,W,C] with w[KH,KW,C,O], zero padding, + bias[O]. */
export function conv2d(
  x: Tensor64,
  w: Tensor64,
  { stride = 1, padding = 0, bias }: { stride?: number; padding?: number; bias?: Tensor64 } = {},
): Tensor64 {
  const [n, h, wd, c] = x.shape as [number, number, number, number]
  const [kh, kw, , o] = w.shape as [number, number, number, number]
  const oh = Math.floor((h + 2 * padding - kh) / stride) + 1
  const ow = Math.floor((wd + 2 * padding - kw) / stride) + 1
  const y = tensor64([n, oh, ow, o])
  for (let b = 0; b < n; b++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++)
        for (let f = 0; f < o; f++) {
          let sum = bias ? bias.data[f] : 0
          for (let u = 0; u < kh; u++)
            for (let v = 0; v < kw; v++) {
              const row = i * stride + u - padding
              const column = j * stride + v - padding
              if (row < 0 || row >= h || column < 0 || column >= wd) continue
              for (let k = 0; k < c; k++)
                sum += x.data[((b * h + row) * wd + column) * c + k] * w.data[((u * kw + v) * c + k) * o + f]
            }
          y.data[((b * oh + i) * ow + j) * o + f] = sum
        }
  return y
}
