import { tensor64, type Tensor64 } from './tensor.js'

/** Maximum over size x size windows of x[N,H,W,C]; padding is never the maximum. */
export function maxPool2d(
  x: Tensor64,
  { size, stride, padding = 0 }: { size: number; stride: number; padding?: number },
): Tensor64 {
  const [n, h, w, c] = x.shape as [number, number, number, number]
  const oh = Math.floor((h + 2 * padding - size) / stride) + 1
  const ow = Math.floor((w + 2 * padding - size) / stride) + 1
  const y = tensor64([n, oh, ow, c])
  y.data.fill(-Infinity)
  for (let b = 0; b < n; b++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++)
        for (let u = 0; u < size; u++)
          for (let v = 0; v < size; v++) {
            const row = i * stride + u - padding
            const column = j * stride + v - padding
            if (row < 0 || row >= h || column < 0 || column >= w) continue
            for (let k = 0; k < c; k++) {
              const at = ((b * oh + i) * ow + j) * c + k
              y.data[at] = Math.max(y.data[at], x.data[((b * h + row) * w + column) * c + k])
            }
          }
  return y
}

/** Mean over the spatial axes: [N,H,W,C] -> [N,C]. */
export function globalAveragePool(x: Tensor64): Tensor64 {
  const [n, h, w, c] = x.shape as [number, number, number, number]
  const y = tensor64([n, c])
  for (let b = 0; b < n; b++)
    for (let p = 0; p < h * w; p++)
      for (let k = 0; k < c; k++) y.data[b * c + k] = y.data[b * c + k] + x.data[(b * h * w + p) * c + k] / (h * w)
  return y
}
