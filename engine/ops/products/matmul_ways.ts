/** The ways to compute a matrix product, in the order that the shipped table prefers. */
import { registerMatmul } from './register.js'
import { tiledMatmuls } from './tiled.js'
import type { MatmulWork, Way } from './work.js'

export const matmulWays: readonly Way<MatmulWork>[] = [...tiledMatmuls, registerMatmul]
