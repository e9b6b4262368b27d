import { asRows, map, tensor64, type Tensor64 } from './tensor.js'

/** Mean and biased variance of each column over each of `groups` equal, contiguous chunks of rows: [groups, C]. */
function moments(x: Tensor64, groups: number): { mean: Tensor64; variance: Tensor64; rowsPerGroup: number } {
  const { rows, columns } = asRows(x)
  const rowsPerGroup = rows / groups
  const mean = tensor64([groups, columns])
  const variance = tensor64([groups, columns])
  for (let g = 0; g < groups; g++)
    for (let c = 0; c < columns; c++) {
      let sum = 0
      for (let r = 0; r < rowsPerGroup; r++) sum += x.data[(g * rowsPerGroup + r) * columns + c]
      const center = sum / rowsPerGroup
      let squares = 0
      for (let r = 0; r < rowsPerGroup; r++) squares += (x.data[(g * rowsPerGroup + r) * columns + c] - center) ** 2
      mean.data[g * columns + c] = center
      variance.data[g * columns + c] = squares / rowsPerGroup
    }
  return { mean, variance, rowsPerGroup }
}

interface BatchNormOptions {
  groups?: number
  epsilon?: number
  relu?: boolean
  residual?: Tensor64
}

/**
 * Training batch-norm over all axes except the last: y = scale (x - mean) / sqrt(variance + epsilon) + shift, with the
 * statistics of each chunk of the first axis; then + residual, then ReLU.
 */
export function batchNorm(
  x: Tensor64,
  scale: Tensor64,
  shift: Tensor64,
  { groups = 1, epsilon = 1e-5, relu = false, residual }: BatchNormOptions = {},
): { y: Tensor64; mean: Tensor64; variance: Tensor64 } {
  const { columns } = asRows(x)
  const { mean, variance, rowsPerGroup } = moments(x, groups)
  const y = map(x, (value, i) => {
    const c = i % columns
    const s = Math.floor(i / columns / rowsPerGroup) * columns + c
    const normal = (value - mean.data[s]) / Math.sqrt(variance.data[s] + epsilon)
    const sum = scale.data[c] * normal + shift.data[c] + (residual ? residual.data[i] : 0)
    return relu ? Math.max(0, sum) : sum
  })
  return { y, mean, variance }
}

/** Evaluation batch-norm: with given statistics [C] instead of the batch's. */
export function batchNormInference(
  x: Tensor64,
  scale: Tensor64,
  shift: Tensor64,
  mean: Tensor64,
  variance: Tensor64,
  { epsilon = 1e-5, relu = false, residual }: Omit<BatchNormOptions, 'groups'> = {},
): Tensor64 {
  const { columns } = asRows(x)
  return map(x, (value, i) => {
    const c = i % columns
    const normal = (value - mean.data[c]) / Math.sqrt(variance.data[c] + epsilon)
    const sum = scale.data[c] * normal + shift.data[c] + (residual ? residual.data[i] : 0)
    return relu ? Math.max(0, sum) : sum
  })
}

/** Each row of x[N, D] divided by max(its Euclidean norm, epsilon). */
export function l2NormalizeRows(x: Tensor64, epsilon = 1e-12): Tensor64 {
  const { rows, columns } = asRows(x)
  const norms = Array.from({ length: rows }, (_, r) =>
    Math.max(Math.sqrt(x.data.subarray(r * columns, (r + 1) * columns).reduce((sum, v) => sum + v * v, 0)), epsilon),
  )
  return map(x, (value, i) => value / norms[Math.floor(i / columns)])
}

/**
 * (x - mean) / sqrt(variance + epsilon) of each column of each chunk of rows. The divisor of the variance is
 * rows - correction.
 */
export function standardizeColumns(
  x: Tensor64,
  { groups = 1, correction = 1, epsilon = 0 }: { groups?: number; correction?: number; epsilon?: number } = {},
): Tensor64 {
  const { columns } = asRows(x)
  const { mean, variance, rowsPerGroup } = moments(x, groups)
  return map(x, (value, i) => {
    const s = Math.floor(i / columns / rowsPerGroup) * columns + (i % columns)
    const corrected = (variance.data[s] * rowsPerGroup) / (rowsPerGroup - correction)
    return (value - mean.data[s]) / Math.sqrt(corrected + epsilon)
  })
}
