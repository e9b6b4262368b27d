/**
 * Staged variants on matrix units (subgroup matrices of 16×16×16): f16 factors, f32 sums. For operands stored as f16.
 */
import type { Target } from '../../plan.js'
import { ratesOf } from './cost.js'
import { stagedConvs, stagedMatmuls, stagedWeightGradients } from './staged.js'
import type { Family, Tile } from './staged_cost.js'

const LANES = 32
const alwaysLanes = ({ subgroupSize }: Target): boolean => subgroupSize.every((size) => size === LANES)
const asksLanes = ({ subgroupSize: [min, max], subgroupSizeControl }: Target): boolean =>
  subgroupSizeControl && min <= LANES && LANES <= max

/**
 * Four subgroups, two by two, with rows × columns matrices each. Results are stored through workgroup memory, `atOnce`
 * matrices of a row at a time.
 */
const tile = (rows: number, columns: number, atOnce: number, speed: number): Tile => ({
  rows: 32 * rows,
  columns: 32 * columns,
  constants: { LANES, ROWS: rows, COLUMNS: columns, AT_ONCE: atOnce },
  // The factors in f16, with rows padded by 8 numbers; the results before they are stored; the rows' addresses.
  bytes: 2 * (32 * rows * 40 + 32 * (32 * columns + 8)) + 4 * 64 * (16 * atOnce + 8) + 4 * 32 * rows,
  speed,
  fill: 0.5,
})

const family: Family = {
  name: 'matrix',
  conv: 'conv2d_matrix',
  weightGradient: 'conv2d_weight_gradient_matrix',
  // Workgroup memory is the bottleneck, and a smaller tile reads more of it for each multiplication.
  tiles: [tile(4, 4, 4, 1), tile(4, 2, 2, 0.75), tile(2, 2, 1, 0.5), tile(1, 2, 1, 0.35)],
  rate: (target) => ratesOf(target).matrix,
  blockDepth: 32,
  // The kernels assume subgroups of 32 lanes. An adapter that may choose another size must let them ask for it.
  offered: (target, left) =>
    left === 'f16' &&
    target.subgroupMatrix &&
    target.maxInvocations >= 128 &&
    (alwaysLanes(target) || asksLanes(target)),
  // Adapters with several sizes are AMD's. Their registers do not hold the sums of the largest tile.
  suits: ({ constants }, target) => alwaysLanes(target) || constants.ROWS !== 4 || constants.COLUMNS !== 4,
  constants: (target) => ({ lanes: alwaysLanes(target) ? 'given' : 'requested' }),
}

export const matrixConvs = stagedConvs(family)
export const matrixWeightGradients = stagedWeightGradients(family)
export const matrixMatmuls = stagedMatmuls(family)
