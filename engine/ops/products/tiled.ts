/**
 * Staged variants without matrix units, for GPUs; software drivers are slow at workgroup memory. For f32 and f16
 * storage.
 */
import { ratesOf } from './cost.js'
import { stagedConvs, stagedMatmuls, stagedWeightGradients } from './staged.js'
import type { Family, Tile } from './staged_cost.js'

/**
 * Each invocation computes 4·rows4 × 4·columns4 results. For 16·rows4·columns4 multiplications it reads rows4 +
 * columns4 vec4s of workgroup memory. The expected speed follows from this ratio.
 */
const tile = (threadsX: number, threadsY: number, rows4: number, columns4: number): Tile => ({
  rows: 4 * rows4 * threadsY,
  columns: 4 * columns4 * threadsX,
  constants: { THREADS_X: threadsX, THREADS_Y: threadsY, ROWS4: rows4, COLUMNS4: columns4 },
  bytes: 4 * 16 * (4 * rows4 * threadsY + 4 * columns4 * threadsX),
  speed: [0.6, 0.8, 1][rows4 + columns4 - 2],
  fill: (threadsX * threadsY) / 256,
})

export const tiledFamily: Family = {
  name: 'tiled',
  conv: 'conv2d_tiled',
  weightGradient: 'conv2d_weight_gradient_tiled',
  tiles: [
    tile(16, 16, 2, 2), // 128×128
    tile(8, 32, 2, 2), // 256×64
    tile(8, 16, 2, 2), // 128×64
    tile(16, 16, 1, 1), // 64×64
    tile(8, 16, 2, 1), // 128×32
    tile(4, 16, 2, 1), // 128×16
    tile(16, 8, 1, 1), // 32×64
  ],
  rate: (target) => ratesOf(target).tiled,
  blockDepth: 16,
  offered: (target) => target.adapterClass === 'gpu' && target.maxInvocations >= 256,
}

export const tiledConvs = stagedConvs(tiledFamily)
export const tiledWeightGradients = stagedWeightGradients(tiledFamily)
export const tiledMatmuls = stagedMatmuls(tiledFamily)
