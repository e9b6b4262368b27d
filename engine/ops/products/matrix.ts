/** Tiles on matrix units (subgroup matrices of 16×16×16): f16 factors, f32 sums. Serves what is stored in f16. */
import { ratesOf } from './cost.js'
import { stagedConvs, stagedMatmuls, stagedWeightGradients } from './staged.js'
import type { Family, Tile } from './staged_cost.js'

/** Four subgroups, two by two, of rows × columns matrices each; `atOnce` of a row leave through workgroup memory. */
const tile = (rows: number, columns: number, atOnce: number, speed: number): Tile => ({
  rows: 32 * rows,
  columns: 32 * columns,
  constants: { LANES: 32, ROWS: rows, COLUMNS: columns, AT_ONCE: atOnce },
  // Factors in f16, with rows 8 numbers longer; the results on their way out; where the rows of the tile go.
  bytes: 2 * (32 * rows * 40 + 32 * (32 * columns + 8)) + 4 * 64 * (16 * atOnce + 8) + 4 * 32 * rows,
  speed,
  fill: 0.5,
})

const family: Family = {
  name: 'matrix',
  conv: 'conv2d_matrix',
  weightGradient: 'conv2d_weight_gradient_matrix',
  // A small tile reads as much workgroup memory for fewer multiplications, and workgroup memory is what limits.
  tiles: [tile(4, 4, 4, 1), tile(4, 2, 2, 0.75), tile(2, 2, 1, 0.5), tile(1, 2, 1, 0.35)],
  rate: (target) => ratesOf(target).matrix,
  blockDepth: 32,
  // The kernels know their subgroups by 32 lanes: an adapter that may choose another size cannot run them.
  offered: ({ subgroupMatrix, subgroupSize, maxInvocations }, left) =>
    left === 'f16' && subgroupMatrix && subgroupSize.every((size) => size === 32) && maxInvocations >= 128,
}

export const matrixConvs = stagedConvs(family)
export const matrixWeightGradients = stagedWeightGradients(family)
export const matrixMatmuls = stagedMatmuls(family)
